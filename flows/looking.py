"""The verbs that look: what would run, what ran, one image's life, checks, the report.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, config_app, terminal
from flows.capacity import NOTHING_SUPPOSED, Supposed, show_capacity
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console


@app.command
def plan(
    collection: str | None = None, *, supposed: Supposed = NOTHING_SUPPOSED, common: Common = DEFAULTS
) -> int:
    """What a night would do: images, bytes, time and stored bytes. Writes nothing. With --images: what so many would
    take, in hours, requests, bytes and money, and why; that needs no archive.

    Example: fwd2bot plan line-1
    Example: fwd2bot plan --images 100M --gpus 64 --model llava-1.5-7b
    """
    if supposed.images is not None:
        return show_capacity(supposed, common)
    from flows.render import show_plan
    from infra.installation import opened
    from tasks.estimate import estimate

    with opened(common.settings()) as house:
        expected = estimate(house, collection)
    if common.json:
        print(json.dumps(asdict(expected), sort_keys=True))
    else:
        show_plan(terminal(), expected)
    return ExitCode.OK


@app.command
def status(
    *,
    limit: Annotated[int, Parameter(help="How many runs.", validator=Number(gte=0))] = 10,
    common: Common = DEFAULTS,
) -> int:
    """Runs, shards and failures.

    Example: fwd2bot status --limit 3
    """
    from flows.render import show_status
    from infra import archive
    from infra.installation import opened

    with opened(common.settings()) as house:
        found = archive.status(house, limit=limit)
    if common.json:
        print(json.dumps(found, sort_keys=True))
    else:
        show_status(terminal(), found)
    return ExitCode.OK


@app.command
def show(image: str, *, collection: str | None = None, common: Common = DEFAULTS) -> int:
    """One image's whole life: versions, content, summary tokens, failures, and what the audit log says, each fact with
    whether it is proven by the newest signed checkpoint. Exit code 5 if one is not.

    Example: fwd2bot show line-1/2026-11-23/tray-000007.jpg

    Parameters
    ----------
    image
        A key, or the sha256 of the file (12 digits or more).
    """
    from flows.render import show_life
    from infra import archive
    from infra.installation import opened
    from tasks.life import Standing, proven_life

    with opened(common.settings()) as house:
        versions = archive.life(house, image, collection)
        facts = proven_life(house, image, collection)
    for version, proven in zip(versions, facts, strict=True):
        version["audit"] = proven
    if common.json:
        print(json.dumps(versions, sort_keys=True))
    else:
        show_life(terminal(), versions)
    wrong = any(fact["proof"] == Standing.WRONG for proven in facts for fact in proven)
    return ExitCode.INTEGRITY if wrong else ExitCode.OK


@app.command
def verify(*, common: Common = DEFAULTS) -> int:
    """Read every committed shard and audit segment again and check its hash. Exit code 5 if one is wrong.

    Example: fwd2bot verify
    """
    from infra.installation import opened
    from tasks.verify import verify as scrub

    console = terminal()
    with opened(common.settings()) as house, _bar(console, common.json) as progress:
        found = scrub(house.ledger, house.archive, progress=progress)
    if common.json:
        print(json.dumps(asdict(found), sort_keys=True))
    else:
        _show_scrub(console, found)
    return ExitCode.INTEGRITY if found.findings else ExitCode.OK


@app.command
def doctor(*, common: Common = DEFAULTS) -> int:
    """Are store, database, cluster and compressor there, and right? Each is really used once.

    Example: fwd2bot doctor
    """
    from infra.doctor import examine
    from infra.installation import opened

    checks = []
    console = terminal()
    with opened(common.settings()) as house:
        for check in examine(house):
            checks.append(check)
            if not common.json:
                console.print(f"{'[green]ok  [/]' if check.ok else '[red]FAIL[/]'} {check.part}: ", end="")
                console.print(check.detail, highlight=False, markup=False)
    if common.json:
        print(json.dumps([asdict(check) for check in checks], sort_keys=True))
    return ExitCode.OK if all(check.ok for check in checks) else ExitCode.FAILED


@app.command
def report(
    output: Annotated[Path, Parameter(name=["--output", "-o"], help="Where to write it.")] = Path(
        "fwd2bot-report.html"
    ),
    *,
    collection: str | None = None,
    common: Common = DEFAULTS,
) -> int:
    """Write an HTML report with plots, in one file that opens in any browser.

    Example: fwd2bot report -o report.html
    """
    from infra.installation import opened
    from tasks.report import write_report

    with opened(common.settings()) as house:
        written = write_report(house, output, collection=collection)
    if common.json:
        print(json.dumps({"report": str(written.resolve())}))
    else:
        terminal().print(f"report: {written.resolve().as_uri()}", highlight=False, soft_wrap=True)
    return ExitCode.OK


@config_app.command(name="show")
def show_config(*, common: Common = DEFAULTS) -> int:
    """Each setting, its value, and where that came from. Secrets are masked.

    Example: fwd2bot config show
    """
    from flows.render import table
    from infra.settings import explain_settings

    rows = explain_settings(common.config)
    if common.json:
        print(json.dumps([dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]))
    else:
        terminal().print(table("settings", ("name", "value", "source"), rows))
    return ExitCode.OK


def _bar(console: Console, silent: bool) -> Any:
    from flows.screens import counting

    return counting(console, "verifying", silent)


def _show_scrub(console: Console, found: Any) -> None:
    from flows.render import table
    from tasks.units import size

    for_all = f"{found.objects:,} objects ({size(found.bytes)}) and {found.events:,} audit events"
    if not found.findings:
        console.print(f"[green]ok[/]  {for_all} are what was committed")
        return
    rows = ((f.what, f.name, f.problem) for f in found.findings)
    console.print(
        table(
            f"{len(found.findings)} of {for_all} are NOT what was committed",
            ("what", "name", "problem"),
            rows,
        )
    )
