"""The night as a Prefect flow: the same steps, each a task with the retries that make sense for it.

Prefect is the clock, the retries and the operator's screen. It is no audit store (its task records are lossy)
and it decides nothing: our own run lease keeps nights apart, since a Prefect concurrency slot held by a dead
run would cancel the next nights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import FailedRun

from flows.nightly import Kind, Screen, compress_plan, run_night
from flows.screens import LogScreen
from fwd2bot_core.errors import ClusterError, Fwd2BotError, LedgerLocked, StoreError
from infra.settings import load_settings
from tasks.find_new import find_new
from tasks.plan import write_plan
from tasks.publish import publish
from tasks.report import markdown
from tasks.summary import NightSummary
from tasks.sweep import sweep
from tasks.units import visible

P = ParamSpec("P")
T = TypeVar("T")

# Each step may run twice. Worth another try: a store or database that stumbled, a cluster that died.
_TRANSIENT = (StoreError, LedgerLocked, ClusterError)
_RETRIES = {find_new: 3, write_plan: 2, compress_plan: 1, publish: 3, sweep: 1}

watching: ContextVar[Screen | None] = ContextVar(
    "the screen of a night started from a terminal", default=None
)


def _as_task(step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    as_task = task(
        name=step.__name__.replace("_", " "),
        retries=_RETRIES.get(step, 0),
        retry_delay_seconds=[10.0, 60.0, 120.0][: max(1, _RETRIES.get(step, 0))],
        retry_jitter_factor=0.2,
        retry_condition_fn=_worth_another_try,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return as_task(step)(*args, **kwargs)


def _worth_another_try(task: Any, task_run: Any, state: State) -> bool:
    try:
        state.result()
    except _TRANSIENT:
        return True
    except Exception:
        return False
    return False


def _is_news(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], FailedRun | KeyboardInterrupt))


# A night that ends partly failed is a state that we return, and an interrupt is what somebody wanted; under `serve`
# Prefect would log a traceback about either beside the line that tells the state.
logging.getLogger("prefect.flow_runs").addFilter(_is_news)


@flow(
    name="night",
    flow_run_name="{kind} {collection}",
    description=__doc__,
    validate_parameters=True,
    persist_result=False,
)
def night(collection: str | None = None, config: Path | None = None, kind: Kind = "night") -> State:
    """Compress what is new in one collection (``kind="retry"``: what failed).

    ``config``: the settings file on the machine that runs this. Ends green only when nothing failed.
    """
    watcher = watching.get()
    screen = watcher or LogScreen(get_run_logger())
    try:
        role = "operator" if watcher else "scheduler"
        summary = run_night(load_settings(config), collection, screen, kind=kind, role=role, step=_as_task)
    except Fwd2BotError as error:
        if watcher:  # the command says it
            raise
        return State(type=StateType.FAILED, name="Failed", message=visible(str(error)))
    create_markdown_artifact(
        markdown(summary), key=f"night-{summary.collection.lower().replace('_', '-').replace('.', '-')}"
    )
    return _state(summary)


def _state(summary: NightSummary) -> State:
    kind = StateType.COMPLETED if summary.exit_code == 0 else StateType.FAILED
    name = str(summary.state).replace("_", " ").title()
    if (
        kind == StateType.FAILED and name == "Completed"
    ):  # all is compressed, and the audit log is not what it was
        name = "Failed"
    return State(type=kind, name=name, message=visible(summary.message))
