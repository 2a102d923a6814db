"""What ``fwd2bot deploy`` makes true on a Prefect server: a work pool, a deployment for each collection,
one for the audit log, one for retention, one for backfills.

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
from prefect.client.schemas.objects import ConcurrencyOptions, WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound

from flows.prefect_wanted import TAG, backfills, daily_audit, daily_retention, nightly, schedule_of
from fwd2bot_core.errors import Fwd2BotError, UsageError
from infra.settings import Settings

POOL_TYPE = "process"
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
        """What the settings ask for, one deployment a collection, one for the audit log, one for retention and one for
        backfills; refused before anything is written."""
        self.held.update((deployment.name, deployment) for deployment in _tagged(self.client))
        every = [nightly(self.settings, name, self.config, pool) for name in names]
        every += [
            make(self.settings, self.config, pool) for make in (daily_audit, daily_retention, backfills)
        ]
        for wanted in every:
            there = self.held.get(wanted["name"])
            if there is not None and not self._ours(there):
                raise UsageError(
                    f"deployment {wanted['flow']}/{there.name} belongs to the installation of "
                    f"{there.parameters.get('config') or 'another environment'}. If that is gone: "
                    f"`prefect deployment delete {wanted['flow']}/{there.name}`; else rename the collection."
                )
        return every

    def deployments(self, every: Iterable[dict[str, Any]]) -> Iterator[Change]:
        """Create what is missing, correct what differs."""
        for wanted in every:
            there = self.held.get(wanted["name"])
            differs = sorted(_differences(wanted, there)) if there is not None else []
            if (there is None or differs) and not self.dry:
                self._write(self.client.create_flow_from_name(wanted["flow"]), wanted, there)
            yield _told(wanted, there, differs)

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
        """Nights that were there before this run, and that name our settings file."""
        return [one for one in self.held.values() if self._ours(one) and "collection" in one.parameters]

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
        given = {name: value for name, value in wanted.items() if name not in ("schedule", "flow")}
        given["concurrency_options"] = ConcurrencyOptions(**given["concurrency_options"])
        if wanted["schedule"] is None:  # on demand; one that an operator gave it stays
            kept = there.schedules if there else []
            schedules = [DeploymentScheduleCreate(schedule=one.schedule, active=one.active) for one in kept]
        else:
            cron, zone = wanted["schedule"]
            schedules = [DeploymentScheduleCreate(schedule=schedule_of(cron, zone), active=active)]
        self.client.create_deployment(flow_id=flow_id, schedules=schedules, **given)


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


def _differences(wanted: dict[str, Any], there: DeploymentResponse) -> Iterator[str]:
    """Which of the wanted values the server does not have."""
    limit, options = there.global_concurrency_limit, there.concurrency_options
    held = there.model_dump(
        include=set(wanted) - {"flow", "concurrency_limit", "concurrency_options", "schedule"}
    )
    held["tags"] = sorted(there.tags)
    held["concurrency_limit"] = limit.limit if limit else None
    held["concurrency_options"] = options.model_dump() if options else None
    schedules = [one.schedule for one in there.schedules]
    held["schedule"] = (
        (schedules[0].cron, schedules[0].timezone)
        if len(schedules) == 1 and isinstance(schedules[0], CronSchedule) and wanted["schedule"]
        else None
    )
    return (name for name in wanted if name != "flow" and held.get(name) != wanted[name])


def _told(wanted: dict[str, Any], there: DeploymentResponse | None, differs: list[str]) -> Change:
    detail = "{} ({})".format(*wanted["schedule"]) if wanted["schedule"] else "on demand"
    if there is not None and (there.paused or not all(schedule.active for schedule in there.schedules)):
        detail += ", paused"
    if differs:
        detail += f"; differed: {', '.join(name.replace('_', ' ') for name in differs)}"
    change = "created" if there is None else "updated" if differs else "unchanged"
    return Change("deployment", wanted["name"], change, detail)


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
