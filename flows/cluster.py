"""The verbs about a Dask cluster beyond this machine. They need no installation and no settings file.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json as as_json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from flows.app import app, terminal
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from infra.certificates import Made

cluster_app = App(name="cluster", help="A Dask cluster beyond this machine.")
app.command(cluster_app)

PORT = 8786  # Dask's own
_SHARED = ("ca.pem", "dask.yaml")


@cluster_app.command
def certs(
    folder: Path,
    *,
    host: Annotated[
        tuple[str, ...],
        Parameter(help="Name or address of the scheduler; again for each one it has.", negative=""),
    ] = (),
    days: Annotated[int, Parameter(help="How long they hold.", validator=Number(gte=1, lte=3650))] = 365,
    renew: Annotated[bool, Parameter(help="Replace those of before.", negative="")] = False,
    json: Annotated[bool, Parameter(help="Print JSON for machines.", negative="")] = False,
) -> int:
    """Make the certificates without which no Dask goes beyond this machine, and say what to start where.

    Example: fwd2bot cluster certs ./certs --host scheduler.example --host 10.0.0.5

    Parameters
    ----------
    folder
        A new folder, for you alone. Whoever has a key of it can run anything on the cluster; ca.key stays here.
    """
    from infra.certificates import make
    from infra.cluster_settings import write_dask_settings

    made = make(folder.resolve(), host, days=days, renew=renew)
    write_dask_settings(made.folder)
    said = {
        "folder": str(made.folder),
        "hosts": list(made.hosts),
        "until": made.until.isoformat(),
        "authority_until": made.authority_until.isoformat(),
        "new_authority": made.new_authority,
        "files": {role: list(_files(role)) for role in ("scheduler", "worker", "client")},
        "start": _commands(made),
    }
    if json:
        print(as_json.dumps(said))
    else:
        _show(made)
    return ExitCode.OK


def _files(role: str) -> tuple[str, ...]:
    return (f"{role}.pem", f"{role}.key", *(_SHARED if role != "client" else _SHARED[:1]))


def _commands(made: Made) -> dict[str, str]:
    """For a machine where the files lie in the same folder; ``dask cuda worker`` takes one GPU each."""
    address = f"tls://{_in_url(made.hosts[0])}:{PORT}"
    worker = f"{address} --resources GPU=1 --nthreads 1 --no-dashboard --death-timeout 300"
    worker = f"{worker} {_tls(made.folder, 'worker')}"
    prefix = f"DASK_CONFIG={shlex.quote(str(made.folder / 'dask.yaml'))} dask"
    return {
        "scheduler": f"{prefix} scheduler --protocol tls --port {PORT} --no-dashboard {_tls(made.folder, 'scheduler')}",
        "worker": f"{prefix} worker {worker}",
        "gpu_worker": f"{prefix} cuda worker {worker} --device-memory-limit 0",
    }


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tls(folder: Path, role: str) -> str:
    files = {"--tls-ca-file": "ca.pem", "--tls-cert": f"{role}.pem", "--tls-key": f"{role}.key"}
    return " ".join(f"{option} {shlex.quote(str(folder / name))}" for option, name in files.items())


def _show(made: Made) -> None:
    commands = _commands(made)
    lines = [
        f"certificates for {', '.join(made.hosts)} in {made.folder}, until {made.until:%Y-%m-%d}; "
        + ("a new authority" if made.new_authority else "the authority of before")
        + f", until {made.authority_until:%Y-%m-%d}",
        "",
        f"scheduler (copy there: {', '.join(_files('scheduler'))}):",
        f"  {commands['scheduler']}",
        f"each worker (copy there: {', '.join(_files('worker'))}; Fwd2Bot and the bundle in the same versions):",
        f"  {commands['worker']}",
        "or one worker a GPU, with fwd2bot[gpu]:",
        f"  {commands['gpu_worker']}",
        f"here, or wherever nights are started (copy there: {', '.join(_files('client'))}):",
        "  [execution]",
        f"  executor = {as_json.dumps(f'tls://{_in_url(made.hosts[0])}:{PORT}')}",
        f"  certificates = {as_json.dumps(str(made.folder))}",
    ]
    for line in lines:
        terminal().print(line, markup=False, highlight=False, soft_wrap=True)
