"""A night, or every night, under Prefect from a command: Prefect's environment, and its errors in our words.

Imports Prefect only when it is really used, since that takes seconds.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from flows.nightly import Kind, Screen
from flows.prefect_server import API_URL, server
from fwd2bot_core.errors import Fwd2BotError
from infra.settings import Settings
from tasks.summary import NightSummary

_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",  # a night's own lines
    "PREFECT_CLI_PROMPT": "false",
}
_THEIRS = ("prefect", "httpx", "httpcore", "websockets")  # whose exceptions are no fault of the night


def prepare_environment(settings: Settings) -> None:
    """Prefect's settings for this process and its children; what the caller set already stays."""
    home = _beside_the_ledger(settings) / "prefect"
    for name, value in {"PREFECT_HOME": str(home), **_DEFAULTS}.items():
        os.environ.setdefault(name, value)


def _beside_the_ledger(settings: Settings) -> Path:
    from sqlalchemy import make_url

    url = make_url(settings.archive.ledger)
    if url.get_backend_name() == "sqlite" and url.database:
        return Path(url.database).parent.resolve()
    return Path.home() / ".fwd2bot"


def prefect_night(
    settings: Settings, collection: str, config: Path | None, screen: Screen, kind: Kind
) -> NightSummary:
    """The night as a flow run; on the server of PREFECT_API_URL, or on a private one for its duration."""
    prepare_environment(settings)
    # The command says itself how it ended, in one sentence; the server keeps Prefect's own words.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    until_exit = (
        ExitStack()
    )  # Prefect sends its last records when the interpreter ends, which comes before atexit
    atexit.register(until_exit.close)
    until_exit.enter_context(server(every_service=False))
    with _in_our_words():
        return _flow_run(collection, config, screen, kind)


def _flow_run(collection: str, config: Path | None, screen: Screen, kind: Kind) -> NightSummary:
    from flows.prefect_night import night, watching

    keeper = _Keeper(screen)
    token = watching.set(keeper)
    try:
        state = night(collection=collection, config=config, kind=kind, return_state=True)
    except Exception:
        if keeper.summary is None:
            raise
        return keeper.summary  # the night is over and in the ledger; only Prefect could not take it down
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


@contextmanager
def _in_our_words() -> Iterator[None]:
    """What Prefect and its client raise as one sentence; an interrupt that they met on the way as an interrupt."""
    try:
        yield
    except Exception as error:
        if any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error)):
            raise KeyboardInterrupt from error
        if type(error).__module__.partition(".")[0] not in _THEIRS:
            raise
        raise Fwd2BotError(
            f"Prefect failed ({type(error).__name__}: {' '.join(str(error).split())[:300]}). What was committed stays; "
            "run again, or with --direct to leave Prefect out."
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def serve(settings: Settings, config: Path | None) -> None:
    """Keep one nightly schedule a collection, the daily audit and the retention run until interrupted; on the
    configured server or an own one."""
    prepare_environment(settings)
    own = API_URL not in os.environ
    with server(every_service=True) as url, _in_our_words():
        from prefect import serve as serve_all

        deployments = _deployments(settings, config)
        zone = settings.night.zone
        pages = url.removesuffix("/api") if own else url
        print(
            f"nights of {', '.join(settings.collections)} at {settings.night.cron!r} ({zone}), the audit at "
            f"{settings.audit.cron!r}, retention at {settings.retention.cron!r}; Prefect: {pages}; Ctrl-C ends it",
            flush=True,
        )
        serve_all(*deployments, print_starting_message=False)


def _deployments(settings: Settings, config: Path | None) -> list[Any]:
    """The same ones as `fwd2bot deploy` registers, for this process to run itself."""
    from prefect.schedules import Cron

    from flows import prefect_wanted as wanted
    from flows.prefect_audit import audit
    from flows.prefect_night import night
    from flows.prefect_retention import retention

    every: list[tuple[Any, dict[str, Any]]] = [
        (night, wanted.nightly(settings, name, config, "")) for name in settings.collections
    ]
    every += [
        (audit, wanted.daily_audit(settings, config, "")),
        (retention, wanted.daily_retention(settings, config, "")),
    ]
    return [
        flow.to_deployment(
            **{name: one[name] for name in ("name", "description", "parameters", "tags")},
            schedule=Cron(one["schedule"][0], timezone=one["schedule"][1]),
        )
        for flow, one in every
    ]
