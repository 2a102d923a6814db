"""Numbers for Prometheus, counted when they are asked for, and whether the service lives.

A scrape carries a token like every other request: names of collections are nobody else's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from flows.console.visitors import Bearer, House
from infra.installation import Installation
from infra.tables import RunState
from tasks.vitals import Health, Vitals, vitals

router = APIRouter()
ENDED = (RunState.COMPLETED, RunState.PARTLY_FAILED, RunState.FAILED)


@router.get("/healthz")
def alive(request: Request, house: House) -> Response:
    with house.ledger.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    return JSONResponse({"status": "ok"})


@router.get("/metrics")
def metrics(house: House, person: Bearer) -> Response:
    registry = CollectorRegistry()
    registry.register(_Numbers(house))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers(Collector):
    def __init__(self, house: Installation) -> None:
        self._house = house

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: else registering would already read the ledger."""
        yield from ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found = vitals(self._house)
        for name, said, value in _OF_A_COLLECTION:
            yield _gauge(name, said, [(one.collection, value(one, found)) for one in found.health])
        yield _states(found)
        yield _single("audit_events", "events in the audit log", found.events)
        yield _single("audit_signed_events", "events that the newest checkpoint covers", found.signed)
        anchors = found.anchors.items()
        yield _gauge(
            "anchored_events",
            "events that an anchor vouches for",
            [(n, s) for n, (s, _) in anchors],
            "anchor",
        )
        ages = [(name, (found.at - at).total_seconds()) for name, (_, at) in anchors]
        yield _gauge("anchor_age_seconds", "since an anchor was last given a checkpoint", ages, "anchor")


def _since_good(one: Health, found: Vitals) -> float | None:
    return (found.at - one.last_good_at).total_seconds() if one.last_good_at else None


_OF_A_COLLECTION = (
    ("images", "images with committed summary tokens", lambda one, _: one.images),
    ("stored_bytes", "bytes of committed shards", lambda one, _: one.stored_bytes),
    ("failed_images", "images whose last try failed", lambda one, _: one.failed),
    ("waiting_lists", "disposition lists that wait for approvals", lambda one, _: one.waiting_lists),
    ("running", "runs that are not over", lambda one, _: one.running),
    ("seconds_since_good_night", "since a night came to its end; absent before the first", _since_good),
)


def _states(found: Vitals) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "fwd2bot_last_night", "1 for the state in which the last night ended", labels=("collection", "state")
    )
    for one in found.health:
        for state in ENDED:
            family.add_metric((one.collection, str(state)), float(one.last_state == state))
    return family


def _gauge(
    name: str, said: str, values: Sequence[tuple[str, float | None]], label: str = "collection"
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"fwd2bot_{name}", said, labels=(label,))
    for of, value in values:
        if value is not None:
            family.add_metric((of,), value)
    return family


def _single(name: str, said: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"fwd2bot_{name}", said, value)
