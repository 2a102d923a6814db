"""The verbs that erase a person's photos from everywhere: planned, signed by somebody else, a dry run first.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.app import DEFAULTS, Common, app, terminal
from flows.signing import As, Signature, say, signature_of
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from tasks.erase import Outcome
    from tasks.erasure import Erasure

SHOWN = 20  # photos; --json tells all
erasure_app = App(name="erasure", help="Erase a person's photos: originals, tokens, and all that names them.")
app.command(erasure_app)


@erasure_app.command
def plan(
    *images: str,
    person: As,
    reason: Annotated[str, Parameter(help="The request's number; no name, it stays in the log.")],
    list_file: Annotated[
        Path | None, Parameter(name="--list", help="A file with a key or sha256 a line.")
    ] = None,
    keys: Annotated[
        str | None, Parameter(help="A pattern of whole keys, where * and ? stand for any.")
    ] = None,
    collection: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Write down which photos are to be erased, with every other one that holds the same bytes. Nothing is erased.

    Example: fwd2bot erasure plan 2026/11/24/0001.jpg --reason "request 17" --as Nika
    """
    from infra.installation import opened
    from tasks import erasure

    named = [*images, *_lines(list_file)]
    with opened(common.settings()) as house:
        made = erasure.plan(house, person, reason, named, keys=keys, collection=collection)
    return _show(
        common, made, f"somebody else signs it: fwd2bot erasure approve {made.id} --as NAME --reason REASON"
    )


@erasure_app.command
def approve(
    erasure_id: str, *, person: As, reason: str, signature: Signature = None, common: Common = DEFAULTS
) -> int:
    """Approve an erasure by your signature. Without --signature it writes down what is to be signed.

    Exit code 4 if you may not, as when you planned it.

    Example: fwd2bot erasure approve 20261124-1a2b3c4d --as Ann --reason "checked the request"
    """
    from fwd2bot_core.retention.erasure import statement
    from infra.installation import opened
    from tasks import erasure

    with opened(common.settings()) as house:
        with house.ledger.read() as connection:
            row = erasure.row_of(connection, erasure_id)
        said = statement(row.id, row.sha256, person, reason)
        signed = signature_of(said, f"erase-{erasure_id}", signature)
        if signed is None:
            return ExitCode.OK
        made = erasure.approve(house, erasure_id, person, reason, signed)
    return _show(common, made, f"look at it: fwd2bot erasure run {made.id}")


@erasure_app.command
def refuse(erasure_id: str, *, person: As, reason: str, common: Common = DEFAULTS) -> int:
    """End an erasure of which nothing is erased yet.

    Example: fwd2bot erasure refuse 20261124-1a2b3c4d --as Nika --reason "withdrawn"
    """
    from infra.installation import opened
    from tasks import erasure

    with opened(common.settings()) as house:
        made = erasure.refuse(house, erasure_id, person, reason)
    return _show(common, made)


@erasure_app.command
def run(
    erasure_id: str,
    *,
    yes: str | None = None,
    person: Annotated[str | None, Parameter("--as", help="A registered person with that role.")] = None,
    role: str = "operator",
    common: Common = DEFAULTS,
) -> int:
    """Carry out an approved erasure. Without --yes nothing is erased and nothing written: it shows what would be, and
    gives a token for exactly that. Of a request all is erased, or nothing.

    Exit code 4 while a hold, a legal duty, a list or a run forbids it; 3 if something is still there, which is named.

    Example: fwd2bot erasure run 20261124-1a2b3c4d --yes 6f1a0b4c9d3e5f70812233445566778a

    Parameters
    ----------
    yes: the token of a dry run; refused if anything that it showed is different by now.
    role: in which you act; the events say so. Another one than operator needs --as.
    """
    from flows.screens import counting
    from infra.installation import opened
    from tasks import people
    from tasks.erase import erase

    console = terminal()
    with opened(common.settings()) as house, counting(console, "photos", common.json) as progress:
        role = people.acting(house.ledger, person, role, f"erasure {erasure_id}")
        done = erase(house, erasure_id, role=role, token=yes, dry_run=yes is None, progress=progress)
    if common.json:
        print(json.dumps(asdict(done), sort_keys=True, ensure_ascii=False))
    else:
        _tell(done)
    if any(line.reasons for line in done.lines) and not done.done:
        return ExitCode.BLOCKED_BY_POLICY
    return ExitCode.PARTLY_FAILED if done.left else ExitCode.OK


@erasure_app.command(name="list")
def show_all(*, common: Common = DEFAULTS) -> int:
    """Every erasure, newest first.

    Example: fwd2bot erasure list
    """
    from flows.render import table
    from infra.installation import opened
    from tasks.erasure import listed

    with opened(common.settings()) as house, house.ledger.read() as connection:
        found = listed(connection)
    if common.json:
        print(json.dumps([_plain(one) for one in found], sort_keys=True))
        return ExitCode.OK
    rows = [
        (one.id, str(one.state), one.objects, one.reason, f"{one.made_at:%Y-%m-%d %H:%M}Z",
         f"{one.done_at:%Y-%m-%d %H:%M}Z" if one.done_at else "")
        for one in found
    ]  # fmt: skip
    terminal().print(table("erasures", ("erasure", "state", "photos", "reason", "planned", "done"), rows))
    return ExitCode.OK


@erasure_app.command
def certificate(erasure_id: str, *, common: Common = DEFAULTS) -> int:
    """That it was done: when, by which events, and their proofs. It names no photo, since nothing does any more.

    Example: fwd2bot erasure certificate 20261124-1a2b3c4d --json
    """
    from infra.installation import opened
    from tasks.erasure_certificate import certificate_of

    with opened(common.settings()) as house:
        found = certificate_of(house, erasure_id)
    if common.json:
        print(json.dumps(found.as_json(), sort_keys=True, ensure_ascii=False))
        return ExitCode.OK
    say(f"erasure {found.id}: {found.objects:,} photos erased {found.done_at.isoformat()}; {found.reason}")
    say(f"  approved by a signature over sha256 {found.sha256}")
    say(f"  intended by events {found.first_intent} to {found.last_intent}, done by event {found.done_seq}")
    say(
        f"  {found.shards:,} shards were written again without their tokens; every store was asked again: nothing left"
    )
    if found.proofs:
        say(f"  proven by a checkpoint that {len(found.anchors)} anchors keep: {', '.join(found.anchors)}")
    else:
        say("  no checkpoint covers it yet: fwd2bot audit checkpoint")
    say("  backups of ledger and archive from before keep what they hold until they are rotated out")
    return ExitCode.OK


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None


def _show(common: Common, made: Erasure, then: str = "") -> ExitCode:
    if common.json:
        print(json.dumps(_plain(made), sort_keys=True))
    else:
        say(f"erasure {made.id} is {made.state}: {made.objects:,} photos; sha256 {made.sha256}")
        if then:
            say(f"  {then}")
    return ExitCode.OK


def _plain(one: Erasure) -> dict[str, object]:
    done = one.done_at.isoformat() if one.done_at else None
    return asdict(one) | {"made_at": one.made_at.isoformat(), "done_at": done}


def _tell(done: Outcome) -> None:
    if done.done:
        say(f"{done.erasure_id}: nothing is left in any store, and nothing names them any more")
        say(f"  fwd2bot erasure certificate {done.erasure_id}")
    elif done.dry_run:
        free = sum(not line.reasons for line in done.lines)
        say(
            f"dry run of {done.erasure_id}: {free:,} of {len(done.lines):,} photos may be erased; nothing was written"
        )
        for line in done.lines[:SHOWN]:
            why = f"must stay: {', '.join(line.reasons)}" if line.reasons else "would be erased"
            say(f"  {line.collection} {line.key}: {why}")
        if len(done.lines) > SHOWN:
            say(f"  and {len(done.lines) - SHOWN:,} more; --json tells all")
        say(f"to erase exactly these: fwd2bot erasure run {done.erasure_id} --yes {done.token}")
    else:
        say(f"{done.erasure_id}: not done, since something is still there:")
        for one in done.left:
            say(f"  {one.what}")
