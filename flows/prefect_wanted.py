"""What each deployment on a Prefect server is to be: the nights of the collections, the audit of their log, the
retention run, and backfills, which somebody starts.

Plain dictionaries of what Prefect's client takes, with ``flow`` and ``schedule`` (None: on demand) beside. Knows
nothing about servers.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from flows.prefect_audit import audit
from flows.prefect_backfill import backfill
from flows.prefect_night import night
from flows.prefect_retention import retention
from fwd2bot_core.errors import SettingsError
from infra.settings import Settings

TAG = "fwd2bot"
GRACE_SECONDS = 60  # from a slot taken to a process that renews it; the least that Prefect takes
HEARTBEAT_SECONDS = 30  # the least that Prefect takes; its default is 180
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
}


def nightly(settings: Settings, name: str, config: Path | None, pool: str) -> dict[str, Any]:
    """The nights of one collection."""
    schedule = schedule_of(settings.night.cron, settings.night.zone)
    return {
        "name": f"nightly-{name}",
        "description": f"Compress what is new in {name}.",
        "tags": sorted({TAG, name}),
        "parameters": {"collection": name, "config": str(config) if config else None},
        "schedule": (schedule.cron, schedule.timezone),
        **_run_by(night, "flows.prefect_night.night", pool),
    }


def daily_audit(settings: Settings, config: Path | None, pool: str) -> dict[str, Any]:
    """The audit of the installation's log. Its name tells installations on one server apart; a collection's name
    would have to be that of the first one, which may go."""
    schedule = schedule_of(settings.audit.cron, settings.night.zone, "audit.cron")
    where = _where(config)
    return {
        "name": f"daily-{_installation(config)}",
        "description": f"Verify, sign and anchor the audit log of the installation of {where}.",
        "tags": sorted({TAG, "audit"}),
        "parameters": {"config": str(config) if config else None},
        "schedule": (schedule.cron, schedule.timezone),
        **_run_by(audit, "flows.prefect_audit.audit", pool),
    }


def daily_retention(settings: Settings, config: Path | None, pool: str) -> dict[str, Any]:
    """The installation's retention run. Whether it acts is asked of the settings when it runs, never of a server."""
    schedule = schedule_of(settings.retention.cron, settings.night.zone, "retention.cron")
    return {
        "name": f"retention-{_installation(config)}",
        "description": f"Give each retention policy of the installation of {_where(config)} its turn.",
        "tags": sorted({TAG, "retention"}),
        "parameters": {"config": str(config) if config else None},
        "schedule": (schedule.cron, schedule.timezone),
        **_run_by(retention, "flows.prefect_retention.retention", pool),
    }


def backfills(settings: Settings, config: Path | None, pool: str) -> dict[str, Any]:
    """Work on a backfill whenever somebody starts it: no schedule."""
    return {
        "name": f"backfill-{_installation(config)}",
        "description": f"Work on a backfill of the installation of {_where(config)}.",
        "tags": sorted({TAG, "backfill"}),
        "parameters": {"config": str(config) if config else None},
        "schedule": None,
        **_run_by(backfill, "flows.prefect_backfill.backfill", pool),
    }


def _where(config: Path | None) -> str:
    return str(config) if config else "the environment"


def _installation(config: Path | None) -> str:
    folder = re.sub(r"[^A-Za-z0-9._-]+", "-", config.parent.name) if config else "environment"
    return f"{folder}-{hashlib.sha256(_where(config).encode()).hexdigest()[:6]}"


def schedule_of(cron: str, zone: str, setting: str = "night.cron") -> CronSchedule:
    """Raises ``SettingsError`` for a line that Prefect cannot keep."""
    try:
        return CronSchedule(cron=cron, timezone=zone)
    except (ValidationError, ValueError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise SettingsError(
            f"Prefect cannot keep {setting} = {cron!r} in {zone} ({said.removeprefix('Value error, ')}). "
            "01:00 each day is '0 1 * * *'."
        ) from None


def _run_by(flow: Flow[Any, Any], entrypoint: str, pool: str) -> dict[str, Any]:
    """``entrypoint`` is in the package that the worker has installed: nothing is pulled."""
    return {
        "flow": flow.name,
        "entrypoint": entrypoint,
        "work_pool_name": pool,
        "concurrency_limit": 1,
        "concurrency_options": {
            "collision_strategy": ConcurrencyLimitStrategy.ENQUEUE,
            "grace_period_seconds": GRACE_SECONDS,
        },
        "job_variables": {"env": dict(ENVIRONMENT)},
        "parameter_openapi_schema": parameter_schema(flow).model_dump(mode="json"),
        "enforce_parameter_schema": True,
    }
