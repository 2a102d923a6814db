"""The verbs about legal holds: placed at once, released by a signature only.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.app import DEFAULTS, Common, app, terminal
from flows.signing import As, Signature, say, signature_of
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from infra.installation import Installation
    from tasks.holds import Mirrored

hold_app = App(name="hold", help="Legal holds: what must stay, whatever a policy or a list says.")
app.command(hold_app)


@hold_app.command
def place(
    *images: str,
    case: str,
    reason: str,
    person: As,
    keys: Annotated[
        str | None, Parameter(help="A pattern of whole keys, where * and ? stand for any.")
    ] = None,
    collection: str | None = None,
    confidential: Annotated[
        bool, Parameter(help="Only compliance sees case and reason.", negative="")
    ] = False,
    common: Common = DEFAULTS,
) -> int:
    """Hold every version of these images, by their keys or sha256, or of all keys that match a pattern. At once.

    What comes later and matches the pattern is held, too, and so is whatever holds the same bytes under another key.

    Exit code 3 if a store could not be told; the hold is in force all the same, and `hold mirror` tells it again.

    Example: fwd2bot hold place --case recall-7 --reason "recalled" --as Nika --keys "2026/03/*" --collection line-1
    """
    from infra.installation import opened
    from tasks import holds

    with opened(common.settings()) as house:
        members = _members(house, images, keys, collection)
        patterns = [(collection, keys)] if collection is not None and keys is not None else []
        number, told = holds.place(
            house, person, case, reason, members, confidential=confidential, patterns=patterns
        )
    return _answer(
        common, {"hold": number, "objects": len(members)}, told, f"hold {number}: {len(members):,} held"
    )


@hold_app.command
def release(
    number: int, *, person: As, reason: str, signature: Signature = None, common: Common = DEFAULTS
) -> int:
    """End a hold; what no other hold keeps is free. Without --signature it writes down what is to be signed.

    Example: fwd2bot hold release 3 --as Nika --reason settled --signature hold-3.statement.sig
    """
    from infra.installation import opened
    from tasks import holds

    signed = signature_of(holds.statement(number, person, reason), f"release-hold-{number}", signature)
    if signed is None:
        return ExitCode.OK
    with opened(common.settings()) as house:
        told = holds.release(house, number, person, reason, signed)
    return _answer(common, {"hold": number}, told, f"hold {number} is released")


@hold_app.command
def mirror(number: int, *, common: Common = DEFAULTS) -> int:
    """Make the stores' own legal-hold flags say what the ledger says of a hold's members; harmless when they do.

    Example: fwd2bot hold mirror 3
    """
    from infra.installation import opened
    from tasks import holds
    from tasks.hold_list import members_of

    with opened(common.settings()) as house:
        told = holds.mirror(house, members_of(house.ledger, number))
    return _answer(common, {"hold": number}, told, f"hold {number}")


@hold_app.command(name="list")
def show_holds(
    *,
    person: Annotated[
        str | None, Parameter("--as", help="Somebody of compliance, to see confidential ones.")
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """All holds, also those that are released. Confidential ones are shown to compliance only.

    Example: fwd2bot hold list --as Nika
    """
    from flows.render import table
    from infra.installation import opened
    from tasks.hold_list import holds

    with opened(common.settings()) as house:
        found = holds(house.ledger, person)
    if common.json:
        print(json.dumps([asdict(one) for one in found], sort_keys=True, default=lambda at: at.isoformat()))
        return ExitCode.OK
    rows = [
        (
            str(one.number),
            one.case + (" (confidential)" if one.confidential else ""),
            one.reason,
            one.author,
            one.objects,
            f"{one.placed_at:%Y-%m-%d}",
            f"{one.released_at:%Y-%m-%d}" if one.released_at else "in force",
        )
        for one in found
    ]
    columns = ("hold", "case", "reason", "placed by", "objects", "placed", "released")
    terminal().print(table("legal holds", columns, rows))
    return ExitCode.OK


def _members(
    house: Installation, images: tuple[str, ...], keys: str | None, collection: str | None
) -> list[int]:
    from tasks.members import matching, named

    if keys is not None and collection is None:
        raise UsageError("--keys needs --collection: a pattern is about the keys of one collection")
    with house.ledger.read() as connection:
        found = set(named(connection, images, collection))
        if keys is not None and collection is not None:
            found |= set(matching(connection, keys, collection))
    return sorted(found)


def _answer(common: Common, about: dict[str, int], told: Mirrored, said: str) -> ExitCode:
    failed = told.failed or {}
    if common.json:
        more = {"store_told": told.done, "store_without_flags": told.without}
        print(json.dumps(about | more | {"store_failed": {str(n): why for n, why in failed.items()}}))
    else:
        say(
            f"{said}; {told.done:,} flags in stores say the same, {told.without:,} are in stores without flags"
        )
        for number, why in failed.items():
            say(f"  the store of object version {number} was not told: {why}")
    return ExitCode.PARTLY_FAILED if failed else ExitCode.OK
