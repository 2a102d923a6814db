"""The verbs that do something: a night, a retry, the schedule, a sample archive.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode, StoreError

if TYPE_CHECKING:
    from flows.nightly import Kind, Screen
    from infra.settings import Settings


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
    console = terminal()
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
