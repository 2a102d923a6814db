"""The verbs about disposition lists up to their grace: make, look, approve, refuse, rescue. None of them destroys.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.app import DEFAULTS, Common, terminal
from flows.disposition_app import disposition_app
from flows.signing import As, Signature, say, signature_of
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from fwd2bot_core.retention.disposition import ListState
    from infra.installation import Installation


@disposition_app.command
def make(policy: str, *, person: As, common: Common = DEFAULTS) -> int:
    """List what may go now by the policy in force: one list a collection, fixed from then on. Nothing is destroyed.

    Lists that are too old to be carried out expire first. Exit code 4 if the policy forbids it, as by its limits.

    Example: fwd2bot disposition make line-1-originals --as Oda
    """
    from infra.installation import opened
    from tasks import disposition, review

    with opened(common.settings()) as house:
        review.expire(house.ledger)
        made = disposition.make(house, policy, person)
    if common.json:
        print(json.dumps([asdict(one) for one in made], sort_keys=True, default=_plain))
        return ExitCode.OK
    for one in made:
        say(f"{one.id}: {one.objects:,} photos of {one.collection}, {one.bytes:,} bytes; sha256 {one.sha256}")
        ends = (
            f"its grace ends {one.grace_until:%Y-%m-%d %H:%M}Z"
            if one.grace_until
            else "it waits for approvals"
        )
        say(f"  {ends}: fwd2bot disposition show {one.id}")
    if not made:
        say("nothing may go now that is not listed already; `fwd2bot policy simulate` says why")
    return ExitCode.OK


@disposition_app.command
def lists(*, common: Common = DEFAULTS) -> int:
    """Every list, newest first, with its state and approvals.

    Example: fwd2bot disposition lists
    """
    from flows.disposition_screens import show_lists
    from infra.installation import opened
    from tasks.disposition_view import overviews

    with opened(common.settings()) as house, house.ledger.read() as connection:
        found = overviews(connection)
    if common.json:
        print(json.dumps([asdict(one) for one in found], sort_keys=True, default=_plain))
    else:
        show_lists(terminal(), found)
    return ExitCode.OK


@disposition_app.command
def show(
    list_id: str,
    *,
    as_csv: Annotated[bool, Parameter("--csv", help="Every photo of the list, as CSV.", negative="")] = False,
    common: Common = DEFAULTS,
) -> int:
    """What a list holds: counts, bytes, the rules that let it go, some photos, and who signed what about it.

    Example: fwd2bot disposition show 20350601-1a2b3c4d --csv > list.csv
    """
    from flows.disposition_screens import show_list, shown_as_json
    from infra.installation import opened
    from tasks.disposition_view import COLUMNS, lines
    from tasks.disposition_view import show as look
    from tasks.units import cell

    with opened(common.settings()) as house:
        if as_csv:
            writer = csv.DictWriter(sys.stdout, COLUMNS)
            writer.writeheader()
            for line in lines(house, list_id):
                writer.writerow({name: cell(line[name]) for name in COLUMNS})
            return ExitCode.OK
        found = look(house, list_id)
    if common.json:
        print(json.dumps(shown_as_json(found), sort_keys=True, default=_plain, ensure_ascii=False))
    else:
        show_list(terminal(), found)
    return ExitCode.OK


@disposition_app.command
def approve(
    list_id: str, *, person: As, reason: str, signature: Signature = None, common: Common = DEFAULTS
) -> int:
    """Approve a list by your signature; the last approval that is needed starts its grace period.

    Without --signature it writes down what is to be signed. Exit code 4 if you may not.

    Example: fwd2bot disposition approve 20350601-1a2b3c4d --as Ann --reason "checked the samples"
    """
    from tasks import review

    return _decide(review.approve, list_id, person, reason, signature, common, approved=True)


@disposition_app.command
def refuse(
    list_id: str, *, person: As, reason: str, signature: Signature = None, common: Common = DEFAULTS
) -> int:
    """Refuse a list by your signature: that ends it, also within its grace period.

    Without --signature it writes down what is to be signed.

    Example: fwd2bot disposition refuse 20350601-1a2b3c4d --as Nika --reason "claim 88 is open"
    """
    from tasks import review

    return _decide(review.refuse, list_id, person, reason, signature, common, approved=False)


@disposition_app.command
def rescue(list_id: str, *images: str, person: As, common: Common = DEFAULTS) -> int:
    """Take photos off a list, at once: every version of a key that is on it. Anybody who is registered may.

    Exit code 4 if one is not there any more, or already meant to go.

    Example: fwd2bot disposition rescue 20350601-1a2b3c4d 2026/11/24/0001.jpg --as Dee
    """
    from infra.installation import opened
    from tasks import members
    from tasks.rescue import rescue as keep

    with opened(common.settings()) as house:
        with house.ledger.read() as connection:
            meant = members.named(connection, images)
        done = keep(house, list_id, person, list(meant))
    saved = {meant[number] for number in done.done}
    left = {meant[n]: why for n, why in done.refused.items() if meant[n] not in saved or why == "intent"}
    if common.json:
        print(json.dumps({"rescued": sorted(saved), "not": left}, sort_keys=True, ensure_ascii=False))
    else:
        say(
            f"{len(done.done):,} taken off list {list_id}",
            *(f"  {image}: {why}" for image, why in left.items()),
        )
    return ExitCode.BLOCKED_BY_POLICY if left else ExitCode.OK


def _decide(
    decide: Callable[[Installation, str, str, str, str], ListState],
    list_id: str,
    person: str,
    reason: str,
    signature: Path | None,
    common: Common,
    *,
    approved: bool,
) -> int:
    from infra.installation import opened
    from tasks import review

    with opened(common.settings()) as house:
        with house.ledger.read() as connection:
            said = review.statement(connection, list_id, person, approved=approved, reason=reason)
        signed = signature_of(said, f"{'approve' if approved else 'refuse'}-{list_id}", signature)
        if signed is None:
            return ExitCode.OK
        state = decide(house, list_id, person, reason, signed)
    if common.json:
        print(json.dumps({"list": list_id, "state": str(state)}))
    else:
        say(f"list {list_id} is {state}")
    return ExitCode.OK


def _plain(value: Any) -> str:
    return str(value.isoformat())
