"""The verbs that keep originals and let them go as a whole: the retention run, reconciliation, restore.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from infra.settings import Settings
    from tasks.reconcile import Reconciled

As = Annotated[str | None, Parameter(name="--as", help="A registered person.")]
retention_app = App(name="retention", help="Let originals go by policy, and see that all else is there.")
app.command(retention_app)


@retention_app.command
def run(
    *,
    dry_run: bool = True,
    yes: Annotated[bool, Parameter(help="Do it: without this nothing is written.", negative="")] = False,
    person: As = None,
    out: Annotated[Path | None, Parameter(help="Folder for the report: HTML, CSV and digest.")] = None,
    role: str = "operator",
    common: Common = DEFAULTS,
) -> int:
    """Give each active policy its turn: carry out approved lists whose grace is over, or else make new lists.

    Never both for one policy in one run. Without --yes it shows what would be done, and writes nothing. Exit code: 5 if
    an original is missing or a destroyed one is there, 4 if a list or policy is blocked, 3 if a store did not say.

    Example: fwd2bot retention run --yes --as "Oda Kenji"

    Parameters
    ----------
    dry_run: the default; beside --yes it is refused.
    person: who makes new lists (also retention.author).
    role: in which you act; the events say so.
    """
    from flows.retention import run_retention
    from flows.screens import counting
    from fwd2bot_core.errors import UsageError
    from tasks.retention_report import as_csv, as_html, digest
    from tasks.units import visible

    if not yes and not dry_run:
        raise UsageError("say --yes to act; --no-dry-run alone does nothing")
    with counting(terminal(), "originals", common.json) as progress:
        _may_act(common.settings(), person, role)
        found = run_retention(common.settings(), act=yes, author=person, role=role, progress=progress)
    if out is not None:
        _write(out, {"html": as_html(found), "csv": as_csv(found), "txt": digest(found)}, found.run_id)
    if common.json:
        print(json.dumps(found.as_dict(), sort_keys=True, default=str))
    else:
        for line in digest(found).splitlines():
            _say(visible(line))
    return found.exit_code


@retention_app.command
def reconcile(
    *collections: str,
    sample: Annotated[int | None, Parameter(help="Ask for so many only, without a listing.")] = None,
    role: str = "operator",
    common: Common = DEFAULTS,
) -> int:
    """Hold the store's originals against the ledger: missing, destroyed but there, unknown. Deletes nothing.

    Each suspect is asked for by itself before it is named. Exit code 5 if an original is missing or a destroyed one is
    there, 3 if the store did not say; originals that the ledger does not know are told, no more.

    Example: fwd2bot retention reconcile line-1

    Parameters
    ----------
    collections: which ones; all of the settings if none is named.
    """
    from flows.retention import note_reconciled
    from flows.screens import counting
    from infra.installation import opened
    from tasks.reconcile import reconcile as whole
    from tasks.reconcile import reconcile_sample

    settings, found = common.settings(), []
    names = [settings.collection(name)[0] for name in collections] or list(settings.collections)
    with opened(settings) as house, counting(terminal(), "listed", common.json) as progress:
        for name in names:
            if sample is None:
                found.append(whole(house, name, progress=progress))
                note_reconciled(house, found[-1], role)
            else:
                found.append(reconcile_sample(house, name, sample))
    if common.json:
        print(json.dumps([one.as_dict() for one in found], sort_keys=True))
    else:
        for one in found:
            _tell(one)
    return _code(found)


@app.command
def restore(
    image: str,
    *,
    source: Annotated[Path | None, Parameter(name="--from", help="A copy of the file.")] = None,
    person: Annotated[str, Parameter(name="--as", help="A registered person of compliance or data team.")],
    reason: str = "",
    collection: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Bring back an original that a list destroyed: exactly its bytes, under its key, as a new version.

    Without --from the bytes are looked for in versions that the store still has.

    Example: fwd2bot restore 2026/11/24/0001.jpg --from /archive/tape-7/0001.jpg --as "Dee Data"

    Parameters
    ----------
    image: a key, or at least 12 digits of the file's sha256.
    reason: why; the event says so.
    """
    from dataclasses import asdict

    from infra.installation import opened
    from tasks.restore import restore as bring_back

    with opened(common.settings()) as house:
        done = bring_back(house, image, person, copy=source, collection=collection, reason=reason)
    if common.json:
        print(json.dumps(asdict(done), sort_keys=True))
        return ExitCode.OK
    _say(
        f"{done.key} in {done.collection} is back as {done.identity}, {done.bytes:,} bytes, from {done.source}"
    )
    _say(f"  sha256 {done.sha256}, as it was destroyed ({done.destroyed}); event {done.seq}")
    _say("  it has no capture date, so no policy lets it go; the next night compresses it again")
    return ExitCode.OK


def _may_act(settings: Settings, person: str | None, role: str) -> None:
    """Who acts in another role than the operator's is registered for it."""
    from infra.installation import opened
    from tasks import people

    with opened(settings) as house:
        people.acting(house.ledger, person if role != "operator" else None, role, "retention run")


def _code(found: list[Reconciled]) -> ExitCode:
    from tasks.reconcile import Kind

    if any(one.critical for one in found):
        return ExitCode.INTEGRITY
    unclear = any(one.counts[Kind.UNCLEAR] for one in found)
    return ExitCode.PARTLY_FAILED if unclear else ExitCode.OK


def _tell(one: Reconciled) -> None:
    how = f"{one.listed:,} listed" if one.whole else "a sample"
    counts = ", ".join(f"{count:,} {kind}" for kind, count in one.counts.items())
    _say(
        f"{one.collection}: {one.held_against:,} originals of the ledger against its store ({how}): {counts}"
    )
    for finding in one.findings:
        _say(f"  {finding.kind}: {finding.key} {finding.identity}: {finding.detail}")
    named = len(one.findings)
    if (rest := sum(one.counts.values()) - named) > 0:
        _say(f"  and {rest:,} more")


def _write(folder: Path, texts: dict[str, str], name: str) -> None:
    from fwd2bot_core.errors import UsageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, text in texts.items():
            (folder / f"{name}.{kind}").write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot write the report to {folder}: {error.strerror}") from None


def _say(text: str) -> None:
    from tasks.units import visible

    terminal().print(visible(text), highlight=False, markup=False, soft_wrap=True)
