"""Running a night under Prefect from a command: its environment, and a server when none is configured.

Imports Prefect only when it is really used, since that takes seconds.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from flows.nightly import Kind, Screen
from fwd2bot_core.errors import Fwd2BotError
from infra.settings import Settings
from tasks.summary import NightSummary

START_SECONDS = 180  # the first start migrates its database
_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_CLI_PROMPT": "false",
}


def prepare_environment(settings: Settings) -> None:
    """Prefect's settings for this process and its children; what the caller set already stays."""
    home = _beside_the_ledger(settings) / "prefect"
    for name, value in {"PREFECT_HOME": str(home), **_DEFAULTS}.items():
        os.environ.setdefault(name, value)


def _beside_the_ledger(settings: Settings) -> Path:
    parts = urlsplit(settings.archive.ledger)
    if parts.scheme.startswith("sqlite"):
        return Path(unquote(parts.path)[1:]).parent
    return Path.home() / ".fwd2bot"


def prefect_night(
    settings: Settings, collection: str, config: Path | None, screen: Screen, kind: Kind
) -> NightSummary:
    """The night as a flow run; on the server of PREFECT_API_URL, or on a private one for its duration."""
    prepare_environment(settings)
    # The command says itself how it ended, in one sentence; the server keeps Prefect's own words.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    if not os.environ.get("PREFECT_API_URL"):  # a private server may be gone before the last line is sent
        os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    with _server(log=Path(os.environ["PREFECT_HOME"]) / "server.log") as url:
        os.environ["PREFECT_API_URL"] = url  # before the import, which reads it
        return _flow_run(collection, config, screen, kind)


def _flow_run(collection: str, config: Path | None, screen: Screen, kind: Kind) -> NightSummary:
    from flows.prefect_night import night, watching

    keeper = _Keeper(screen)
    token = watching.set(keeper)
    try:
        state = night(collection=collection, config=config, kind=kind, return_state=True)
    finally:
        watching.reset(token)
    if keeper.summary is None:
        state.result()  # raises what went wrong
        raise Fwd2BotError(f"the flow run ended as {state.name} without a summary: {state.message}")
    return keeper.summary


class _Keeper:
    """Passes everything on to a screen and keeps the summary, which a Prefect state does not carry."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.summary: NightSummary | None = None
        self.discovered, self.planned = screen.discovered, screen.planned
        self.starting, self.advanced = screen.starting, screen.advanced

    def finished(self, summary: NightSummary) -> None:
        self.summary = summary
        self._screen.finished(summary)


def serve(settings: Settings, config: Path | None) -> None:
    """Keep one nightly schedule a collection until interrupted, on the configured or an own server."""
    prepare_environment(settings)
    with _server() as url:
        os.environ["PREFECT_API_URL"] = url
        from prefect import serve as serve_all
        from prefect.schedules import Cron

        from flows.prefect_night import night

        schedule = Cron(settings.night.cron, timezone=settings.night.zone)
        deployments: list[Any] = [
            night.to_deployment(
                name=f"nightly-{name}",
                description=f"Compress what is new in {name}.",
                schedule=schedule,
                parameters={"collection": name, "config": str(config) if config else None},
                tags=["fwd2bot", name],
            )
            for name in settings.collections
        ]
        serve_all(*deployments)


@contextmanager
def _server(log: Path | None = None) -> Iterator[str]:
    """The API of a running Prefect server; starts one on loopback unless PREFECT_API_URL names another.

    It stands apart from the terminal: on Ctrl-C it must outlive the flow, which tells it how it ended. (The one
    that Prefect starts by itself does not, and the flow then asks a dead server for a minute.)
    """
    configured = os.environ.get("PREFECT_API_URL")
    if configured:
        yield configured
        return
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with ExitStack() as files:
        said = files.enter_context(_opened_log(log)) if log else None
        process = subprocess.Popen(
            command,
            env={**os.environ, "PREFECT_SERVER_UI_API_URL": url},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            _await_health(url, process)
            yield url
        finally:
            _stop(process)


def _opened_log(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_health(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Fwd2BotError(f"the Prefect server ended with {process.returncode} while starting")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):  # noqa: S310  (loopback, our own child)
                return
        except OSError:
            time.sleep(0.3)
    raise Fwd2BotError(f"the Prefect server did not answer at {url} within {START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
