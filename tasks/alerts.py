"""What is wrong enough that somebody should be told: found from the ledger, and told once by a webhook.

A bad or overdue night, a drift of fidelity, an anchor that fell behind. Each is a row as long as it lasts, so that
neither a restart nor a second console tells it again. Knows nothing about who listens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from fwd2bot_core.errors import StoreError
from infra import audit_log
from infra.anchors.posting import post, said
from infra.installation import Installation
from infra.service_tables import alerts
from infra.tables import RunState
from tasks import kpi_fidelity
from tasks.vitals import Vitals, vitals

LONGEST = 2000  # characters of a message


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong now."""

    kind: str  # night-failed, night-overdue, fidelity-drift, anchor-behind
    about: str  # a collection or an anchor
    message: str


def found(house: Installation) -> list[Alert]:
    """Everything that is wrong now, by kind and name."""
    with house.ledger.read() as connection:
        drifts = [one for one in kpi_fidelity.trends(connection) if one.drifts]
    now = vitals(house)
    made = [*_nights(house, now), *_anchors(house, now)]
    made += [Alert("fidelity-drift", one.collection, one.message) for one in drifts]
    unique = {(one.kind, one.about): one for one in made}
    return [unique[name] for name in sorted(unique)]


def keep(house: Installation) -> list[Alert]:
    """Write down what is wrong now and what is not any more; those that nobody was told of yet."""
    wrong, at = {(one.kind, one.about): one for one in found(house)}, audit_log.now()
    with house.ledger.write() as connection:
        audit_log.hold(connection)  # two consoles must not both call it new
        known = {(row.kind, row.about): row for row in connection.execute(sa.select(alerts))}
        for name, alert in wrong.items():
            _keep(connection, alert, known.get(name), at)
        for name, row in known.items():
            if name not in wrong and row.over_at is None:
                connection.execute(alerts.update().where(_is(*name)).values(over_at=at))
        untold = sa.select(alerts).where(alerts.c.told_at.is_(None), alerts.c.over_at.is_(None))
        rows = connection.execute(untold.order_by(alerts.c.kind, alerts.c.about))
        return [Alert(row.kind, row.about, row.message) for row in rows]


def tell(house: Installation) -> list[Alert]:
    """``keep``, and tell the webhook of each that it was not told of; those it was told of now.

    Without a webhook nobody is told. Raises ``StoreError`` if it does not take one; the next time tries again.
    """
    untold, address = keep(house), house.settings.service.webhook
    if address is None:
        return []
    for alert in untold:
        text = f"Fwd2Bot: {alert.message}"
        body = json.dumps({"text": text, **asdict(alert)}).encode()  # "text" is what chat systems show
        status, answer = post(address, body, "application/json", who="the webhook (service.webhook)")
        if not 200 <= status < 300:
            raise StoreError(f"the webhook (service.webhook) answered {status} to an alert: {said(answer)}")
        with house.ledger.write() as connection:
            told = alerts.update().where(_is(alert.kind, alert.about))
            connection.execute(told.values(told_at=audit_log.now()))
    return untold


def _keep(
    connection: sa.Connection, alert: Alert, row: sa.Row[tuple[object, ...]] | None, at: datetime
) -> None:
    message = alert.message[:LONGEST]
    if row is None:
        connection.execute(
            alerts.insert().values(kind=alert.kind, about=alert.about, message=message, first_at=at)
        )
    elif row.over_at is not None:  # it is so again
        again = {"message": message, "first_at": at, "told_at": None, "over_at": None}
        connection.execute(alerts.update().where(_is(alert.kind, alert.about)).values(**again))


def _nights(house: Installation, now: Vitals) -> Iterator[Alert]:
    longest = timedelta(hours=house.settings.service.overdue_hours)
    for one in now.health:
        if one.collection not in house.settings.collections:
            continue
        if one.last_state == RunState.FAILED:
            yield Alert(
                "night-failed",
                one.collection,
                f"the last night of {one.collection} failed: {one.last_message or 'it did not say why'} (run "
                f"{one.last_run})",
            )
        if one.last_good_at is not None and now.at - one.last_good_at > longest and not one.running:
            yield Alert(
                "night-overdue",
                one.collection,
                f"no night of {one.collection} came to its end since {one.last_good_at:%Y-%m-%d %H:%M} UTC: is the "
                "schedule running?",
            )


def _anchors(house: Installation, now: Vitals) -> Iterator[Alert]:
    """An anchor that has nothing new for long although there is something new."""
    longest = timedelta(hours=house.settings.service.overdue_hours)
    for name in house.settings.audit.anchors:
        size, at = now.anchors.get(name, (0, None))
        if size < now.signed and (at is None or now.at - at > longest):
            since = f"since {at:%Y-%m-%d %H:%M} UTC" if at else "yet"
            yield Alert(
                "anchor-behind",
                name,
                f"anchor {name} was given no checkpoint {since}: `fwd2bot audit checkpoint` says why",
            )


def _is(kind: str, about: str) -> sa.ColumnElement[bool]:
    return sa.and_(alerts.c.kind == kind, alerts.c.about == about)
