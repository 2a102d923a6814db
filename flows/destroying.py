"""The verbs that destroy originals, and that show what became of one: a dry run first, always.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.app import DEFAULTS, Common, app, terminal
from flows.disposition_app import disposition_app
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from tasks.certificates import Certificate
    from tasks.destroy import Outcome

SHOWN = 20  # items; --json tells all


@disposition_app.command
def run(
    list_id: str,
    *,
    yes: str | None = None,
    person: Annotated[str | None, Parameter("--as", help="A registered person with that role.")] = None,
    role: str = "operator",
    common: Common = DEFAULTS,
) -> int:
    """Carry out an approved disposition list. Without --yes nothing is destroyed and nothing written: it shows what
    would go, measured now, and gives a token for exactly that.

    Exit code 4 if the list as a whole, or any item, is kept; 3 if a store did not say.

    Example: fwd2bot disposition run line-1-2035-06 --yes 6f1a0b4c9d3e5f70812233445566778a

    Parameters
    ----------
    list_id: as `fwd2bot disposition lists` names it.
    yes: the token of a dry run; refused if anything that it showed is different by now.
    role: in which you act; the events say so. Another one than operator needs --as.
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks import people
    from tasks.destroy import execute

    console = terminal()
    with opened(common.settings()) as house, counting(console, "originals", common.json) as progress:
        role = people.acting(house.ledger, person, role, f"list {list_id}")
        done = execute(house, list_id, role=role, token=yes, dry_run=yes is None, progress=progress)
    if common.json:
        print(json.dumps(_plain(done), sort_keys=True))
    else:
        _tell(done)
    return _code(done)


@app.command
def certificate(image: str, *, collection: str | None = None, common: Common = DEFAULTS) -> int:
    """The certificate of a destroyed original: when it went, under what, and the proofs of both events.

    Example: fwd2bot certificate 2026/11/24/0001.jpg --json

    Parameters
    ----------
    image: a key, or at least 12 digits of the file's sha256.
    """
    from infra.installation import opened
    from tasks.certificates import certificates_of

    with opened(common.settings()) as house:
        found = certificates_of(house, image, collection)
    if common.json:
        print(json.dumps([one.as_json() for one in found], sort_keys=True))
    else:
        for one in found:
            _certify(one)
    return ExitCode.OK


def _code(done: Outcome) -> ExitCode:
    if done.kept or (done.dry_run and not all(line.goes for line in done.lines)):
        return ExitCode.BLOCKED_BY_POLICY
    return ExitCode.PARTLY_FAILED if done.unknown or done.waiting else ExitCode.OK


def _plain(done: Outcome) -> dict[str, Any]:
    said = asdict(done)
    return said | {"waiting": {str(number): why for number, why in done.waiting.items()}}


def _tell(done: Outcome) -> None:
    goes = [line for line in done.lines if line.goes]
    size = sum(line.bytes for line in goes)
    if done.dry_run:
        _say(
            f"dry run of {done.list_id}: {len(goes):,} originals would go, {size:,} bytes; nothing was written"
        )
        for line in done.lines[:SHOWN]:
            fidelity = "" if line.fidelity is None else f", fidelity {line.fidelity / 1_000_000:.6f} now"
            said = f"would go{fidelity}" if line.goes else f"stays: {line.reason} {line.detail}".rstrip()
            _say(f"  {line.key}: {said}")
        if len(done.lines) > SHOWN:
            _say(f"  and {len(done.lines) - SHOWN:,} more; --json tells all")
        _say(f"to destroy exactly these: fwd2bot disposition run {done.list_id} --yes {done.token}")
        return
    _say(f"{done.list_id}: {done.destroyed:,} destroyed and confirmed by the store, {done.kept:,} kept")
    if done.unknown or done.waiting:
        _say(f"{done.unknown + len(done.waiting):,} are not decided, as a store did not answer: run it again")
    if done.done:
        _say("nothing more becomes of this list")


def _certify(one: Certificate) -> None:
    _say(f"{one.key} in {one.collection}, version {one.identity}: destroyed {one.deleted_at.isoformat()}")
    _say(f"  sha256 {one.sha256}, {one.bytes:,} bytes; list {one.list_id}")
    policy, after = one.intended["policy"], one.intended["after"]
    _say(f"  policy {policy['id']} version {policy['version']}, sha256 {policy['sha256']}")
    _say(
        f"  fidelity {after['fidelity_millionths'] / 1_000_000:.6f}, measured against the original before it went"
    )
    _say(f"  intended by event {one.intended['seq']}, confirmed by event {one.confirmed['seq']}")
    if one.proofs:
        _say(f"  proven by a checkpoint that {len(one.anchors)} anchors keep: {', '.join(one.anchors)}")
    else:
        _say("  no checkpoint covers the confirmation yet: fwd2bot audit checkpoint")
    _say(f"  provider's own copies: {_purged(one.purge_not_before)}")
    if not one.bytes_are_gone:
        versions = sum(not other["marker"] for other in one.others)
        _say(f"  THE BYTES MAY STILL EXIST: {versions} other versions of the key, {one.copies} known copies")


def _purged(at: datetime | None) -> str:
    if at is None:
        return "not known when they end (collections.NAME.purge_days)"
    return f"may exist until {at:%Y-%m-%d %H:%M}Z, by what the settings said"


def _say(text: str) -> None:
    from tasks.units import visible

    terminal().print(visible(text), highlight=False, markup=False, soft_wrap=True)
