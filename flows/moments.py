"""The verbs about when photos were taken, and about events and tags that retention policies ask for.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.app import DEFAULTS, Common, app
from flows.signing import As, say
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from tasks.moments_load import Loaded

SHOWN = 10  # of those that were not written down; --json tells all
Overrule = Annotated[
    bool,
    Parameter(
        help="Also where it lets photos go earlier than what is recorded; for compliance.", negative=""
    ),
]

moments_app = App(name="moments", help="When photos were taken, and events and tags that policies ask for.")
app.command(moments_app)


@moments_app.command
def load(
    collection: str,
    file: Path,
    *,
    person: As,
    overrule: Overrule = False,
    reason: str = "",
    common: Common = DEFAULTS,
) -> int:
    """Write down what a file says of photos: key, captured_at, tags, untags and event:NAME, as CSV, .jsonl or .parquet.

    All lines are read first; a line that cannot be read stops it before anything is written. Exit code 3 if some photos
    are not known, or their lines were refused.

    Example: fwd2bot moments load line-1 mes-export.csv --as Dee
    """
    from infra.installation import opened
    from tasks.moments_load import load as bring

    with opened(common.settings()) as house:
        done = bring(house, collection, file, person, overrule=overrule, reason=reason)
    return _answer(common, done)


@moments_app.command
def record(
    collection: str,
    *,
    person: As,
    event: Annotated[str | None, Parameter(help="What happened, as policies name it.")] = None,
    at: Annotated[str | None, Parameter(help="When: a day, or a time with its zone.")] = None,
    tag: Annotated[tuple[str, ...], Parameter(help="A tag that photos get.", negative="")] = (),
    untag: Annotated[tuple[str, ...], Parameter(help="A tag that they lose.", negative="")] = (),
    prefix: Annotated[str | None, Parameter(help="Photos whose keys begin so.")] = None,
    keys: Annotated[str | None, Parameter(help="Photos whose keys match, with * and ?.")] = None,
    overrule: Overrule = False,
    reason: str = "",
    common: Common = DEFAULTS,
) -> int:
    """Write down that something happened to many photos at once, such as the end of production of what they show.

    Example: fwd2bot moments record line-1 --event end-of-production --at 2026-11-30 --prefix 2026/ --as Dee
    """
    from infra.installation import opened
    from tasks.moments_file import moment, named
    from tasks.moments_load import mark

    if (event is None) != (at is None):
        raise UsageError("an event has a name and a date: give --event and --at")
    settings = common.settings()
    _, source = settings.collection(collection)
    dates = {named(event, "an event"): moment(at, source.capture.zone)} if event and at else {}
    tags, untags = ({named(one, "a tag") for one in some} for some in (tag, untag))
    with opened(settings) as house:
        done = mark(
            house,
            collection,
            _pattern(prefix, keys),
            person,
            dates=dates,
            tags=frozenset(tags),
            untags=frozenset(untags),
            overrule=overrule,
            reason=reason,
        )
    return _answer(common, done)


@moments_app.command
def read(collection: str, *, person: As, common: Common = DEFAULTS) -> int:
    """Read again what keys and files say of when photos were taken, by [collections.NAME.capture] as it is now.

    Nights do so by themselves for new photos; this is for photos that are compressed already.

    Example: fwd2bot moments read line-1 --as Dee
    """
    from infra.installation import opened
    from tasks.moments_load import look_again

    with opened(common.settings()) as house:
        done = look_again(house, collection, person)
    return _answer(common, done)


def _pattern(prefix: str | None, keys: str | None) -> str:
    if (prefix is None) == (keys is None):
        raise UsageError("say which photos: --prefix or --keys, and --keys '*' for all")
    if prefix is not None and set(prefix) & set("*?"):
        raise UsageError(f"{prefix!r} is a pattern: give it as --keys")
    return keys if keys is not None else f"{prefix}*"


def _answer(common: Common, done: Loaded) -> ExitCode:
    found = done.recorded
    if common.json:
        said = asdict(found) | {"refused": {str(n): why for n, why in found.refused.items()}}
        print(json.dumps(said | {"unknown": done.unknown}, sort_keys=True, ensure_ascii=False))
    else:
        say(
            f"{found.changed:,} written down, {found.same:,} were so already; {len(found.refused):,} refused, "
            f"{len(done.unknown):,} keys not known"
        )
        if found.conflicts:
            say(f"{found.conflicts:,} have contradictory capture dates: theirs is not known, so they stay")
        for number, why in list(found.refused.items())[:SHOWN]:
            say(f"  object version {number}: {why}")
        for key in done.unknown[:SHOWN]:
            say(f"  not known: {key}")
    return ExitCode.PARTLY_FAILED if found.refused or done.unknown else ExitCode.OK
