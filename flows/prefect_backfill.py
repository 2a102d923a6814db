"""A backfill as a Prefect flow, started on demand: what `fwd2bot backfill run` does, under Prefect's eyes.

Prefect starts it, shows it and tells whoever is told of failed nights. No step is tried again by Prefect: the next
start goes on where this one ended.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State, StateType

from flows.backfill import work_on
from flows.backfill_screens import BackfillLog
from fwd2bot_core.errors import ExitCode, Fwd2BotError
from infra.settings import load_settings
from tasks.units import visible

LONGEST = 1000  # characters of a state's message


@flow(
    name="backfill",
    flow_run_name="backfill {backfill}",
    description=__doc__,
    validate_parameters=True,
    persist_result=False,
)
def backfill(backfill: str | None = None, config: Path | None = None, wait: bool = True) -> State:
    """Work on a backfill that was begun; the only one under way if none is named.

    ``config``: the settings file on the machine that runs this; ``wait``: also past nights and closed hours.
    """
    try:
        outcome = work_on(
            load_settings(config), backfill, BackfillLog(get_run_logger()), wait=wait, role="scheduler"
        )
    except Fwd2BotError as error:
        return _state(ExitCode.FAILED, f"{type(error).__name__}: {error}")
    said = f"{outcome.backfill.id} {outcome.backfill.state}: {visible(outcome.why)}"
    create_markdown_artifact(said, key="backfill")
    return _state(outcome.exit_code, said)


def _state(code: ExitCode, said: str) -> State:
    good = code is ExitCode.OK
    kind, name = (StateType.COMPLETED, "Completed") if good else (StateType.FAILED, "Failed")
    return State(type=kind, name=name, message=visible(said)[:LONGEST])
