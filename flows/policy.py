"""The verbs about retention policies that change nothing: template, check, schema, diff, simulate, explain, list.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from fwd2bot_core.retention.policy_file import Document

policy_app = App(
    name="policy", help="Which originals may go, when and why: policies checked, tried out, explained."
)
app.command(policy_app)

AsOf = Annotated[
    str | None,
    Parameter(help="Decide as at this day in the policy's zone, or this time with its zone [default: now]."),
]


@policy_app.command
def check(file: Path, *, common: Common = DEFAULTS) -> int:
    """Read a policy file strictly and say in sentences what it means. Needs no archive.

    Example: fwd2bot policy check line-1.yaml
    """
    from datetime import UTC

    from flows.policy_screens import show_policy
    from fwd2bot_core.retention.wording import sentences

    document = _document(file)
    said = sentences(document.policy, datetime.now(UTC))
    if common.json:
        print(json.dumps({"policy": document.reference(), "says": said}, sort_keys=True, ensure_ascii=False))
    else:
        show_policy(terminal(), document, said)
    return ExitCode.OK


@policy_app.command
def template(collection: str | None = None, *, common: Common = DEFAULTS) -> int:
    """Print a first policy for a collection, to be edited: it only observes. Loads the compressor for its questions.

    Example: fwd2bot policy template line-1 > line-1.yaml
    """
    from infra.installation import opened
    from tasks.policy_template import template as text_of

    settings = common.settings()
    name, _ = settings.collection(collection)
    with opened(settings) as house:
        text = text_of(house, name)
    print(
        json.dumps({"collection": name, "yaml": text}) if common.json else text,
        end="\n" if common.json else "",
    )
    return ExitCode.OK


@policy_app.command
def schema(*, common: Common = DEFAULTS) -> int:
    """Print the JSON Schema of a policy file, for an editor that checks YAML while you write.

    Example: fwd2bot policy schema > policy.schema.json
    """
    from fwd2bot_core.retention.policy import json_schema

    print(json.dumps(json_schema(), indent=None if common.json else 2, ensure_ascii=False))
    return ExitCode.OK


@policy_app.command
def diff(old: Path, new: Path, *, common: Common = DEFAULTS) -> int:
    """What two versions say differently, and what of that lets more go. Needs no archive.

    Example: fwd2bot policy diff line-1-v1.yaml line-1-v2.yaml
    """
    from flows.policy_screens import show_differences
    from fwd2bot_core.retention.comparison import loosened
    from fwd2bot_core.retention.differences import differences

    before, after = _document(old).policy, _document(new).policy
    if before.id != after.id:
        raise UsageError(
            f"{old} is about policy {before.id!r}, {new} about {after.id!r}; name versions of one policy"
        )
    found, looser = differences(before, after), loosened(before, after)
    if common.json:
        said = {
            "differences": [asdict(one) for one in found],
            "lets_more_go": [asdict(one) for one in looser],
        }
        print(json.dumps(said, sort_keys=True, ensure_ascii=False))
    else:
        show_differences(terminal(), found, looser)
    return ExitCode.OK


@policy_app.command
def simulate(
    file: Path,
    *,
    as_of: AsOf = None,
    against: Annotated[
        Path | None, Parameter(help="Compare with this file instead of the version that is in force.")
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """What a policy would let go: photos, bytes, and what keeps the others. Deletes nothing.

    Of a draft with exactly these bytes the log then says that it was tried out; else nothing is written.

    Holds, tags and fidelity count as they are today; only the clock is another one.

    Example: fwd2bot policy simulate line-1.yaml --as-of 2034-01-01
    """
    from flows.policy_screens import show_simulation, simulation_as_json
    from infra.installation import opened
    from tasks.policies import note_simulated
    from tasks.simulation import simulate as decide_all

    document = _document(file)
    with opened(common.settings()) as house:
        found = decide_all(
            house, document, against=_document(against) if against else None, as_of=_moment(as_of, document)
        )
        seen = {"due": asdict(found.due.now), "may_go": asdict(found.may_go.now)}
        note_simulated(house.ledger, document, seen)
    if common.json:
        print(json.dumps(simulation_as_json(found), sort_keys=True))
    else:
        show_simulation(terminal(), found)
    return ExitCode.OK


@policy_app.command
def explain(
    image: str,
    *,
    policy: Annotated[
        Path | None, Parameter(help="Decide by this file instead of the policies that are in force.")
    ] = None,
    as_of: AsOf = None,
    collection: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Why one photo may go, or why not: every condition, what was found, what was required.

    Example: fwd2bot policy explain line-1/2026-11-23/tray-000007.jpg

    Parameters
    ----------
    image
        A key, or the sha256 of the file (12 digits or more).
    """
    from flows.policy_screens import explained_as_json, show_explained
    from infra.installation import opened
    from tasks.explain import explain as look

    by = _document(policy) if policy else None
    with opened(common.settings()) as house:
        found = look(house, image, collection, by=by, as_of=_moment(as_of, by))
    if common.json:
        print(json.dumps([explained_as_json(one) for one in found], sort_keys=True, ensure_ascii=False))
    else:
        show_explained(terminal(), found)
    return ExitCode.OK


@policy_app.command(name="list")
def show_versions(policy: str | None = None, *, common: Common = DEFAULTS) -> int:
    """Every version of every policy, or of one, and its state.

    Example: fwd2bot policy list
    """
    from flows.render import table
    from infra.installation import opened
    from tasks.policies import versions

    with opened(common.settings()) as house, house.ledger.read() as connection:
        found = versions(connection, policy)
    if common.json:
        print(json.dumps([asdict(one) for one in found], sort_keys=True, default=lambda at: at.isoformat()))
    else:
        rows = [
            (o.id, str(o.version), str(o.state), f"{o.drafted_at:%Y-%m-%d %H:%M}Z", o.sha256[:12])
            for o in found
        ]
        terminal().print(table("policies", ("policy", "version", "state", "drafted", "sha256"), rows))
    return ExitCode.OK


def _document(file: Path) -> Document:
    from fwd2bot_core.retention.policy_file import MOST_BYTES, read

    try:
        with file.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    return read(data, str(file))


def _moment(said: str | None, document: Document | None) -> datetime | None:
    """A day begins at midnight in the policy's zone, or in UTC where no policy is named."""
    from zoneinfo import ZoneInfo

    from fwd2bot_core.retention.periods import midnight

    if said is None:
        return None
    try:
        if len(said) == len("2034-01-01"):
            return midnight(date.fromisoformat(said), document.policy.tz if document else ZoneInfo("UTC"))
        moment = datetime.fromisoformat(said)
    except (ValueError, OverflowError):
        raise UsageError(f"--as-of {said!r} is neither a day such as 2034-01-01 nor a time") from None
    if moment.tzinfo is None:
        raise UsageError(f"--as-of {said!r} does not say in which zone: write 2034-01-01T09:00+09:00")
    return moment
