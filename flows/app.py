"""The command's frame: its name, the options that every verb has, the console. The verbs register themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from fwd2bot_core import __version__
from fwd2bot_core.errors import SettingsError

if TYPE_CHECKING:
    from rich.console import Console

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


def terminal() -> Console:
    from rich.console import Console

    return Console()
