"""The verb ``deploy``: the nightly schedules of this installation on an existing Prefect server.

Imports Prefect when it is really used; what is written on the server stands in ``flows.prefect_deploy``.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.app import DEFAULTS, Common, app, terminal
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from infra.settings import Settings

_NOT_YET = {"created": "to create", "updated": "to update", "removed": "to remove", "closed": "to close"}


@app.command
def deploy(
    *collections: str,
    pool: Annotated[str | None, Parameter(help="Work pool (also prefect.pool).")] = None,
    prune: Annotated[
        bool, Parameter(help="Remove deployments of collections that are gone.", negative="")
    ] = False,
    close_stale: Annotated[bool, Parameter(help="End runs whose process is gone.", negative="")] = False,
    dry_run: Annotated[bool, Parameter(help="Say what would change.", negative="")] = False,
    common: Common = DEFAULTS,
) -> int:
    """Register the nightly schedules at the Prefect server of PREFECT_API_URL, for a worker to run.

    Example: fwd2bot deploy --dry-run

    Parameters
    ----------
    collections
        Which ones; all of the settings if none is named.
    """
    from infra.settings import settings_file

    settings = common.settings()
    names = [settings.collection(name)[0] for name in collections] or list(settings.collections)
    said = _deploy(
        settings,
        settings_file(common.config),
        list(dict.fromkeys(names)),
        pool or settings.prefect.pool,
        prune=prune,
        close_stale=close_stale,
        dry=dry_run,
    )
    if common.json:
        print(json.dumps(said))
    else:
        _show(terminal(), said)
    return ExitCode.OK


def _deploy(
    settings: Settings,
    config: Path | None,
    names: list[str],
    pool: str,
    *,
    prune: bool,
    close_stale: bool,
    dry: bool,
) -> dict[str, Any]:
    url = _server(settings)
    from prefect.client.orchestration import get_client

    from flows import prefect_alerts, prefect_stale
    from flows.prefect_deploy import Deployer, in_our_words
    from infra.setting_types import masked

    with in_our_words(masked(url)), get_client(sync_client=True) as client:
        alert = prefect_alerts.told(client, settings.prefect.notify)  # refused before anything is written
        deployer = Deployer(client, settings, config, dry)
        wanted = deployer.wanted(names, pool)
        changes = [deployer.work_pool(pool), *deployer.deployments(wanted)]
        changes += prefect_alerts.register(client, settings, alert, dry=dry)
        if close_stale:  # before their deployments go
            changes += prefect_stale.close(client, settings, deployer.ours(), dry=dry)
        changes += deployer.stale(prune=prune)
        workers = 0 if changes[0].change == "created" else deployer.workers(pool)
    return {
        "server": masked(url),
        "pool": pool,
        "dry_run": dry,
        "changes": [change.as_dict() for change in changes],
        "workers": workers,
        "start": f"DO_NOT_TRACK=1 prefect worker start --type process --pool {shlex.quote(pool)}",
    }


def _server(settings: Settings) -> str:
    """The URL of the server, which answers."""
    from flows.engine import prepare_environment
    from flows.prefect_server import API_URL, check_answers

    url = os.environ.get(API_URL)
    if not url:
        raise UsageError(
            f"{API_URL} names no Prefect server to deploy to; set it, such as http://prefect.example:4200/api (and "
            "PREFECT_API_AUTH_STRING), or keep the schedule without one: `fwd2bot serve`."
        )
    check_answers(url, otherwise="Start it, or correct the address.")
    prepare_environment(settings)
    return url


def _show(console: Console, said: dict[str, Any]) -> None:
    from rich.markup import escape

    from flows.render import table

    words = _NOT_YET if said["dry_run"] else {}
    rows = [
        (change["what"], change["name"], words.get(change["change"], change["change"]), change["detail"])
        for change in said["changes"]
    ]
    console.print(table(said["server"], ("what", "name", "change", "detail"), rows))
    changed = sum(change["change"] in _NOT_YET for change in said["changes"])
    if not changed:
        console.print("nothing to change")
    elif said["dry_run"]:
        console.print(f"{changed} to change; nothing was changed (--dry-run)")
    if said["workers"]:
        console.print(f"workers of {escape(said['pool'])} online: {said['workers']}")
    else:
        console.print(
            f"no worker of {escape(said['pool'])} is online; start one where Fwd2Bot is installed and the "
            "settings file can be read:"
        )
        console.print(f"  {escape(said['start'])}", highlight=False, soft_wrap=True)
