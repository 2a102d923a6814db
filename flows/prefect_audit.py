"""The audit as a Prefect flow, on a schedule of its own: verify the log, list states, sign, have it kept outside.

It runs when nothing else does, too: a day without a night is signed as such. Whoever is told of failed nights is told
of this one, since its deployment bears the same tag. Ends as failed, with the gravest class first in the state's
message, when the verification finds anything but VALID, NOT YET ANCHORED or an acknowledged loss, and when the log
could not be signed or some anchor does not have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateType

from fwd2bot_core.audit.verdicts import Finding, Verdict
from fwd2bot_core.errors import Fwd2BotError
from infra.checkpoints import sign_checkpoint
from infra.installation import Installation, opened
from infra.settings import load_settings
from tasks.units import visible

NAMED = 5  # findings in the state's message
_STILL_SIGNED = {  # none of them says that the log was changed, and what is signed is computed again anyway
    Verdict.VALID,
    Verdict.NOT_YET_ANCHORED,
    Verdict.LOSS_ACKNOWLEDGED,
    Verdict.CLOCK_SUSPECT,
    Verdict.RESTORED_FROM_BACKUP,
    Verdict.UNREADABLE,  # an anchor that is away must not keep the others waiting
}


@flow(
    name="audit",
    flow_run_name="audit",
    description=__doc__,
    validate_parameters=True,
    persist_result=False,
)
def audit(config: Path | None = None, since_last: bool = False) -> State:
    """Verify, sign and anchor the audit log of one installation.

    ``config``: the settings file on the machine that runs this. ``since_last``: verify only what came after the newest
    anchored checkpoint, for logs of so many millions of events that every day is too often for all of them.
    """
    try:
        return _audit(config, since_last)
    except Fwd2BotError as error:
        return _failed(f"{type(error).__name__}: {error}")


def _audit(config: Path | None, since_last: bool) -> State:
    from tasks.audit_verify import last_checkpoint, verify_log
    from tasks.states import state_is_old, take_state

    with opened(load_settings(config)) as house:
        since = last_checkpoint(house) if since_last else 0
        found = _step(verify_log, "verify", house, since=since)
        problems = [] if found.acceptable else [_described(found.verdict, found.findings)]
        if {one.verdict for one in found.findings} <= _STILL_SIGNED:
            if state_is_old(house):  # a list an idle day would say nothing, and takes room
                _step(take_state, "list states", house, "scheduler")
            problems += _signed(house)
        else:
            problems.append("nothing was signed")
    if problems:
        return _failed("; ".join(problems))
    said = f"{found.events:,} events verified, and all of them signed"
    if known := found.of(Verdict.LOSS_ACKNOWLEDGED):
        said += "; " + _described(Verdict.LOSS_ACKNOWLEDGED, known)
    return State(type=StateType.COMPLETED, name="Completed", message=said)


def _signed(house: Installation) -> list[str]:
    """Sign and anchor; what went wrong."""
    try:
        signed = _step(sign_checkpoint, "sign", house, reason="daily", role="scheduler")
    except Fwd2BotError as error:
        return [f"nothing was signed: {error}"]
    get_run_logger().info(
        "signed %d events; anchored at %s", signed.size, ", ".join(signed.anchored) or "no place"
    )
    return [f"{Verdict.NOT_YET_ANCHORED} at {name}: {why}" for name, why in signed.failed.items()]


def _step(step: Any, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """A step as a Prefect task; never retried by Prefect, since a second look must not hide what the first one saw."""
    as_task = task(name=name, cache_policy=NO_CACHE, persist_result=False)
    return as_task(step)(*args, **kwargs)


def _described(verdict: Verdict, findings: Sequence[Finding]) -> str:
    """The gravest class first, and of which events."""
    told = [one for one in findings if one.verdict not in (Verdict.VALID, Verdict.NOT_YET_ANCHORED)]
    told.sort(key=lambda one: one.verdict != verdict)
    lines = [
        f"{one.verdict}{'' if one.seq is None else f' at event {one.seq:,}'} ({one.where}): {one.detail}"
        for one in told[:NAMED]
    ]
    more = f"; and {len(told) - NAMED:,} more" if len(told) > NAMED else ""
    return f"{'; '.join(lines)}{more}; see `fwd2bot audit verify`"


def _failed(said: str) -> State:
    return State(type=StateType.FAILED, name="Failed", message=visible(said))
