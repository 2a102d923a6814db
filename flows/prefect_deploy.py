"""What ``fwd2bot deploy`` makes true on a Prefect server: a work pool, a deployment for each collection.

Reads what is there, holds it against what the settings want, and writes only what differs, so that a second run
changes nothing. What an operator paused stays paused. A server may serve several installations: a deployment
belongs to the one whose settings file its parameters name.

At most one night of a collection is started at a time; another one waits (ENQUEUE). CANCEL_NEW would lose nights:
the slot of a killed run stays taken for 320 to 350 s, and whatever came due in that time was cancelled.
Waiting costs nothing, since a night that finds nothing new ends at once, and our own lease has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows.prefect_night import night
from fwd2bot_core.errors import Fwd2BotError, SettingsError, UsageError
from infra.settings import Settings

TAG = "fwd2bot"
POOL_TYPE = "process"
ENTRYPOINT = "flows.prefect_night.night"  # from the package that the worker has installed: nothing is pulled
GRACE_SECONDS = 60  # from a slot taken to a process that renews it; the least that Prefect takes
HEARTBEAT_SECONDS = 30  # the least that Prefect takes; its default is 180
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
}
PAGE = 200


@dataclass(frozen=True)
class Change:
    """One thing on the server, and what became of it (or would, in a dry run)."""

    what: str
    name: str
    change: str  # created, updated, unchanged, stale, removed, closed, kept
    detail: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Deployer:
    """One installation's deployments on one server. ``dry``: say what would change, and change nothing."""

    client: SyncPrefectClient
    settings: Settings
    config: Path | None
    dry: bool = False
    held: dict[str, DeploymentResponse] = field(default_factory=dict)

    def work_pool(self, name: str) -> Change:
        """A pool whose workers start each night as a process beside themselves."""
        try:
            pool = self.client.read_work_pool(name)
        except ObjectNotFound:
            if not self.dry:
                self.client.create_work_pool(
                    WorkPoolCreate(name=name, type=POOL_TYPE, base_job_template=_job_template())
                )
            return Change("work pool", name, "created", POOL_TYPE)
        if pool.type != POOL_TYPE:
            raise UsageError(
                f"work pool {name} is of type {pool.type}, and nights are deployed to pools of type {POOL_TYPE}. "
                "Name another with --pool or prefect.pool; one that does not exist is created."
            )
        return Change("work pool", name, "unchanged", POOL_TYPE + (", paused" if pool.is_paused else ""))

    def wanted(self, names: Iterable[str], pool: str) -> list[dict[str, Any]]:
        """What the settings ask for, one deployment a collection; refused before anything is written."""
        self.held.update((deployment.name, deployment) for deployment in _tagged(self.client))
        every = [_wanted(self.settings, name, self.config, pool) for name in names]
        for wanted in every:
            there = self.held.get(wanted["name"])
            if there is not None and not self._ours(there):
                raise UsageError(
                    f"deployment night/{there.name} belongs to the installation of "
                    f"{there.parameters.get('config') or 'another environment'}. If that is gone: "
                    f"`prefect deployment delete night/{there.name}`; else rename the collection."
                )
        return every

    def deployments(self, every: Iterable[dict[str, Any]]) -> Iterator[Change]:
        """Create what is missing, correct what differs."""
        flow_id = None
        for wanted in every:
            there = self.held.get(wanted["name"])
            differs = sorted(_differences(wanted, there)) if there is not None else []
            if (there is None or differs) and not self.dry:
                flow_id = flow_id or self.client.create_flow_from_name(night.name)
                self._write(flow_id, wanted, there)
            yield _told(wanted, there, differs, self.settings)

    def stale(self, *, prune: bool) -> Iterator[Change]:
        """Deployments of this installation whose collection is not in the settings any more."""
        for deployment in sorted(self.ours(), key=lambda one: one.name):
            if deployment.parameters.get("collection") in self.settings.collections:
                continue
            if prune and not self.dry:
                self.client.delete_deployment(deployment.id)
            reason = "its collection is not in the settings" + ("" if prune else "; --prune removes it")
            yield Change("deployment", deployment.name, "removed" if prune else "stale", reason)

    def ours(self) -> list[DeploymentResponse]:
        """Those that were there before this run, and that name our settings file."""
        return [deployment for deployment in self.held.values() if self._ours(deployment)]

    def workers(self, pool: str) -> int:
        """How many are waiting for work just now."""
        workers = self.client.read_workers_for_work_pool(pool)
        return sum(worker.status == WorkerStatus.ONLINE for worker in workers)

    def _ours(self, deployment: DeploymentResponse) -> bool:
        named = deployment.parameters.get("config")
        return bool(named == (str(self.config) if self.config else None))

    def _write(self, flow_id: Any, wanted: dict[str, Any], there: DeploymentResponse | None) -> None:
        """Creates, or replaces everything except whether it is paused."""
        active = all(schedule.active for schedule in there.schedules) if there else True
        cron, zone = wanted["schedule"]
        given = {name: value for name, value in wanted.items() if name != "schedule"}
        given["concurrency_options"] = ConcurrencyOptions(**given["concurrency_options"])
        schedule = DeploymentScheduleCreate(schedule=_schedule(cron, zone), active=active)
        self.client.create_deployment(flow_id=flow_id, schedules=[schedule], **given)


@contextmanager
def in_our_words(url: str) -> Iterator[None]:
    """What the server or the way to it says, as one sentence with the cure."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise Fwd2BotError(
                f"the Prefect server at {url} refuses us (HTTP {code}): set PREFECT_API_AUTH_STRING to the "
                "user:password that its own PREFECT_SERVER_API_AUTH_STRING has."
            ) from None
        said = " ".join(error.response.text.split())[:300]
        raise Fwd2BotError(
            f"the Prefect server at {url} answered HTTP {code} to {error.request.url.path} ({said}). What was "
            "registered before stays; run again, and see that server and client are of the same version."
        ) from None
    except httpx.HTTPError as error:
        raise Fwd2BotError(
            f"the Prefect server at {url} went away ({type(error).__name__}: {error}). What was registered before "
            "stays; run again."
        ) from None


def _wanted(settings: Settings, name: str, config: Path | None, pool: str) -> dict[str, Any]:
    schedule = _schedule(settings.night.cron, settings.night.zone)
    return {
        "name": f"nightly-{name}",
        "description": f"Compress what is new in {name}.",
        "tags": sorted({TAG, name}),
        "parameters": {"collection": name, "config": str(config) if config else None},
        "entrypoint": ENTRYPOINT,
        "work_pool_name": pool,
        "concurrency_limit": 1,
        "concurrency_options": {
            "collision_strategy": ConcurrencyLimitStrategy.ENQUEUE,
            "grace_period_seconds": GRACE_SECONDS,
        },
        "job_variables": {"env": dict(ENVIRONMENT)},
        "parameter_openapi_schema": parameter_schema(night).model_dump(mode="json"),
        "enforce_parameter_schema": True,
        "schedule": (schedule.cron, schedule.timezone),
    }


def _differences(wanted: dict[str, Any], there: DeploymentResponse) -> Iterator[str]:
    """Which of the wanted values the server does not have."""
    limit, options = there.global_concurrency_limit, there.concurrency_options
    held = there.model_dump(include=set(wanted) - {"concurrency_limit", "concurrency_options", "schedule"})
    held["tags"] = sorted(there.tags)
    held["concurrency_limit"] = limit.limit if limit else None
    held["concurrency_options"] = options.model_dump() if options else None
    schedules = [one.schedule for one in there.schedules]
    held["schedule"] = (
        (schedules[0].cron, schedules[0].timezone)
        if len(schedules) == 1 and isinstance(schedules[0], CronSchedule)
        else None
    )
    return (name for name in wanted if held.get(name) != wanted[name])


def _told(
    wanted: dict[str, Any], there: DeploymentResponse | None, differs: list[str], settings: Settings
) -> Change:
    detail = f"{settings.night.cron} ({settings.night.zone})"
    if there is not None and (there.paused or not all(schedule.active for schedule in there.schedules)):
        detail += ", paused"
    if differs:
        detail += f"; differed: {', '.join(name.replace('_', ' ') for name in differs)}"
    change = "created" if there is None else "updated" if differs else "unchanged"
    return Change("deployment", wanted["name"], change, detail)


def _schedule(cron: str, zone: str) -> CronSchedule:
    try:
        return CronSchedule(cron=cron, timezone=zone)
    except (ValidationError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(
            f"Prefect cannot keep night.cron = {cron!r} in {zone} ({said.removeprefix('Value error, ')}). "
            "01:00 each day is '0 1 * * *'."
        ) from None


def _tagged(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """Every deployment of ours on the server, of whichever installation."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    offset = 0
    while page := client.read_deployments(deployment_filter=ours, limit=PAGE, offset=offset):
        yield from page
        offset += len(page)


def _job_template() -> dict[str, Any]:
    """From the installed Prefect: its command would have the server ask a registry on the internet."""
    from prefect.workers.process import ProcessWorker

    return dict(ProcessWorker.get_default_base_job_template())
