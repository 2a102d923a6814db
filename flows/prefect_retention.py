"""The retention run as a Prefect flow, on a schedule of its own: the same steps, each a task.

No step is tried again by Prefect: the next run goes on where this one ended, and asks everything anew. Whether a run
acts is the setting ``retention.act`` of the machine that runs it, and no parameter: a blank or mistyped one on a server
must not be what destroys. Whoever is told of failed nights is told of this one. Ends green only when nothing needs
anybody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType

from flows.retention import run_retention
from fwd2bot_core.errors import ExitCode, Fwd2BotError
from infra.settings import load_settings
from tasks.retention_report import digest, markdown
from tasks.units import visible

LONGEST = 1000  # characters of a state's message


@flow(
    name="retention",
    flow_run_name="retention",
    description=__doc__,
    validate_parameters=True,
    persist_result=False,
)
def retention(config: Path | None = None) -> State:
    """Give each retention policy of one installation its turn.

    ``config``: the settings file on the machine that runs this.
    """
    try:
        settings = load_settings(config)
        found = run_retention(settings, act=settings.retention.act, role="scheduler", step=_step)
    except Fwd2BotError as error:
        return _state(ExitCode.FAILED, f"{type(error).__name__}: {error}")
    create_markdown_artifact(markdown(found), key="retention")
    get_run_logger().info("%s", digest(found))
    return _state(found.exit_code, found.message)


def _step(step: Any, /, *args: Any, **kwargs: Any) -> Any:
    as_task = task(name=step.__name__.replace("_", " "), cache_policy=NO_CACHE, persist_result=False)
    return as_task(step)(*args, **kwargs)


def _state(code: ExitCode, said: str) -> State:
    good = code is ExitCode.OK
    kind, name = (StateType.COMPLETED, "Completed") if good else (StateType.FAILED, "Failed")
    return State(type=kind, name=name, message=visible(said)[:LONGEST])
