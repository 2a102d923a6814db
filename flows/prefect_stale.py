"""Flow runs that Prefect believes to be under way and that are dead.

Prefect never finds out about a run whose worker died before its first heartbeat. Our ledger knows: a night under
way holds its collection's lease and renews it. A run that is old enough to hold the lease, while nobody does, is
dead. Where anybody holds it, all runs of that collection are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse, SetStateStatus
from prefect.states import Crashed

from flows.prefect_deploy import Change
from infra import leases
from infra.installation import opened
from infra.settings import Settings

_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def close(
    client: SyncPrefectClient, settings: Settings, deployments: list[DeploymentResponse], *, dry: bool
) -> Iterator[Change]:
    """End the dead runs of these deployments as Crashed, which also frees their concurrency slots."""
    collections = {deployment.id: str(deployment.parameters.get("collection")) for deployment in deployments}
    if not collections:
        return
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=list(collections)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)),
        ),
        limit=200,
    )
    working = (
        _working(settings) if runs else {}
    )  # after Prefect was asked: a night that began since then holds it
    for run in runs:
        assert run.deployment_id is not None  # it was asked for
        reason = _alive(run, working.get(collections[run.deployment_id]), settings.prefect.stale_minutes)
        if reason is None and not dry:
            reason = _crash(client, run)
        yield Change("run", run.name, "kept" if reason else "closed", reason or "nobody works on it")


def _working(settings: Settings) -> dict[str, str]:
    """Run by collection, of the nights that live."""
    with opened(settings) as house, house.ledger.read() as connection:
        held = leases.holders(connection, house.ledger)
        return {row.slot.removeprefix("collection:"): row.run_id for row in held}


def _alive(run: FlowRun, worker: str | None, minutes: float) -> str | None:
    """Why a run is not to be closed, if so."""
    if worker is not None:
        return f"{worker} works on its collection"
    since = run.state.timestamp if run.state else None
    if since is None or datetime.now(UTC) - since < timedelta(minutes=minutes):
        return f"younger than prefect.stale_minutes = {minutes:g}"
    return None


def _crash(client: SyncPrefectClient, run: FlowRun) -> str | None:
    """Not by force: a run that ended meanwhile keeps its end."""
    crashed: State[Any] = Crashed(message="closed by fwd2bot deploy: no process works on its collection")
    result = client.set_flow_run_state(run.id, crashed)
    return None if result.status == SetStateStatus.ACCEPT else "it ended by itself just now"
