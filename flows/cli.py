"""The ``fwd2bot`` command: a thin skin over the house. Exit codes are ``fwd2bot_core.errors.ExitCode``.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from fwd2bot_core import __version__
from fwd2bot_core.errors import ExitCode, Fwd2BotError, SettingsError, StoreError
from tasks.units import visible

if TYPE_CHECKING:
    from rich.console import Console

    from flows.nightly import Kind, Screen
    from infra.settings import Settings

app = App(
    name="fwd2bot",
    version=__version__,
    suppress_keyboard_interrupt=False,
    help="Turn inspection photos into summary tokens every night, and account for each one.\n\n"
    "Exit codes: 0 ok, 1 failed, 2 usage, 3 partly failed, 4 blocked by policy, 5 integrity.",
)
config_app = App(name="config", help="The settings of this installation.")
app.command(config_app)


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every verb."""

    config: Annotated[
        Path | None, Parameter(help="Settings file [default: $FWD2BOT_CONFIG, ./fwd2bot.toml].")
    ] = None
    json: Annotated[bool, Parameter(help="Print JSON for machines.", negative="")] = False

    def settings(self) -> Settings:
        from infra.settings import load_settings

        settings = load_settings(self.config)
        if not settings.collections:  # else a command in the wrong folder would make an empty ledger there
            raise SettingsError(
                "no collection is configured here. Run `fwd2bot demo DIR` for a sample, write fwd2bot.toml, or name "
                "one with --config."
            )
        return settings


DEFAULTS = Common()


@app.command
def night(
    collection: str | None = None,
    *,
    direct: Annotated[
        bool, Parameter(help="Without Prefect's records (also night.engine).", negative="")
    ] = False,
    common: Common = DEFAULTS,
) -> int:
    """Compress what is new, now.

    Example: fwd2bot night line-1

    Parameters
    ----------
    collection
        Which collection; not needed when there is only one.
    """
    return _run(collection, direct, common, "night")


@app.command
def retry(
    collection: str | None = None,
    *,
    only: Annotated[Literal["failed"], Parameter(help="What to try again.")] = "failed",
    direct: Annotated[
        bool, Parameter(help="Without Prefect's records (also night.engine).", negative="")
    ] = False,
    common: Common = DEFAULTS,
) -> int:
    """Try again what could not be compressed before.

    Example: fwd2bot retry line-1 --only failed
    """
    return _run(collection, direct, common, "retry")


def _run(collection: str | None, direct: bool, common: Common, kind: Kind) -> int:
    from flows.nightly import run_night
    from flows.render import show_night
    from flows.screens import SilentScreen, TerminalScreen
    from infra.settings import settings_file

    settings = common.settings()
    name, _ = settings.collection(collection)
    console = _console()
    screen = SilentScreen() if common.json else TerminalScreen(console)
    try:
        if direct or settings.night.engine == "direct" or _nothing_to_do(settings, name, kind, screen):
            summary = run_night(settings, name, screen, kind=kind)
        else:
            from flows.engine import prefect_night

            screen.starting("Prefect")
            summary = prefect_night(settings, name, settings_file(common.config), screen, kind)
    finally:
        screen.stop()
    if common.json:
        print(summary.to_json())
    else:
        show_night(console, summary)
    return summary.exit_code


def _nothing_to_do(settings: Settings, collection: str, kind: Kind, screen: Screen) -> bool:
    """A night without news is written down too, but starts no engine for it."""
    from infra.installation import opened
    from tasks.estimate import anything_to_do

    if kind == "night":
        screen.starting("to look for what is new")
    with opened(settings) as house:
        try:
            return not anything_to_do(house, collection, kind, progress=screen.discovered)
        except StoreError:
            return True  # the night itself will meet the same, and write down that it failed


@app.command
def plan(collection: str | None = None, *, common: Common = DEFAULTS) -> int:
    """What a night would do: images, bytes, time and stored bytes. Writes nothing.

    Example: fwd2bot plan line-1
    """
    from flows.render import show_plan
    from infra.installation import opened
    from tasks.estimate import estimate

    with opened(common.settings()) as house:
        expected = estimate(house, collection)
    if common.json:
        print(json.dumps(asdict(expected), sort_keys=True))
    else:
        show_plan(_console(), expected)
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
        show_status(_console(), found)
    return ExitCode.OK


@app.command
def show(image: str, *, collection: str | None = None, common: Common = DEFAULTS) -> int:
    """One image's whole life: versions, content, summary tokens, failures, audit facts.

    Example: fwd2bot show line-1/2026-11-23/tray-000007.jpg

    Parameters
    ----------
    image
        A key, or the sha256 of the file (12 digits or more).
    """
    from flows.render import show_life
    from infra import archive
    from infra.installation import opened

    with opened(common.settings()) as house:
        versions = archive.life(house, image, collection)
    if common.json:
        print(json.dumps(versions, sort_keys=True))
    else:
        show_life(_console(), versions)
    return ExitCode.OK


@app.command
def ask(image: str, question: str, *, collection: str | None = None, common: Common = DEFAULTS) -> int:
    """Answer a question about an image from its stored tokens; the original is not touched.

    Example: fwd2bot ask line-1/2026-11-23/tray-000007.jpg "what is in the top left ?"
    """
    from flows.render import show_answer
    from infra import archive
    from infra.installation import opened

    with opened(common.settings()) as house:
        stored, answer = archive.ask(house, image, question, collection)
    if common.json:
        named = ("collection", "key", "identity", "sha256", "superseded", "shard", "row")
        said = {"question": question, "answer": answer.text, "confidence": answer.confidence}
        print(json.dumps(said | {name: getattr(stored, name) for name in named}, sort_keys=True))
    else:
        show_answer(_console(), stored, answer)
    return ExitCode.OK


@app.command
def verify(*, common: Common = DEFAULTS) -> int:
    """Read every committed shard and audit segment again and check its hash. Exit code 5 if one is wrong.

    Example: fwd2bot verify
    """
    from infra.installation import opened
    from tasks.verify import verify as scrub

    console = _console()
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
    console = _console()
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
        _console().print(f"report: {written.resolve().as_uri()}", highlight=False, soft_wrap=True)
    return ExitCode.OK


@app.command
def serve(*, common: Common = DEFAULTS) -> int:
    """Keep the nightly schedule (night.cron in night.zone) until interrupted; starts a Prefect server if
    PREFECT_API_URL names none.

    Example: fwd2bot serve
    """
    from flows.engine import serve as keep
    from infra.settings import settings_file

    keep(common.settings(), settings_file(common.config))
    return ExitCode.OK


@app.command
def demo(
    folder: Path,
    *,
    images: Annotated[int, Parameter(help="Photos in a new sample archive.", validator=Number(gte=1))] = 300,
    add: Annotated[int, Parameter(help="Photos to add to an existing one.", validator=Number(gte=0))] = 0,
    common: Common = DEFAULTS,
) -> int:
    """Lay out a sample archive of real pictures, with a settings file beside it.

    Example: fwd2bot demo ./demo && fwd2bot night --config demo/fwd2bot.toml
    """
    from tasks.sample import lay_out

    said = lay_out(folder, images=images, add=add)
    print(json.dumps(said) if common.json else said["message"])
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
        _console().print(table("settings", ("name", "value", "source"), rows))
    return ExitCode.OK


def _console() -> Console:
    from rich.console import Console

    return Console()


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


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; errors are one sentence, never a traceback."""
    _print_whatever_comes()
    try:
        code = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        sys.exit(ExitCode.USAGE)  # cyclopts has printed what is wrong
    except Fwd2BotError as error:
        print(f"fwd2bot: {visible(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("fwd2bot: interrupted; what was committed stays, run again to go on", file=sys.stderr)
        sys.exit(ExitCode.FAILED)
    except BrokenPipeError:
        sys.exit(ExitCode.FAILED)
    except Exception as error:
        if os.environ.get("FWD2BOT_DEBUG"):
            raise
        print(
            f"fwd2bot: unexpected, and our fault: {type(error).__name__}: {visible(str(error)[:500])}. What was "
            "committed stays; FWD2BOT_DEBUG=1 shows the traceback, which we would like to see",
            file=sys.stderr,
        )
        sys.exit(ExitCode.FAILED)
    sys.exit(int(code or 0))


def _print_whatever_comes() -> None:
    """A terminal that lacks a character gets its number instead of a failed command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
