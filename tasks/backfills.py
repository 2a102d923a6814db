"""A backfill's life: begun, paused, resumed, cancelled, done; each step a row and an event of the audit trail.

Whoever works on one asks its state before each batch, so that a word from another process is heard within a batch.
Knows nothing about how it is planned or worked on.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import CompressorMismatch, UsageError
from fwd2bot_core.window import Window
from infra import audit_log
from infra.backfill_tables import BackfillState, backfill_runs, backfills
from infra.database import Ledger
from infra.installation import Installation
from infra.tables import collections, compressors
from tasks.backfill_scope import Scope
from tasks.runs import Run, changing

OPEN = (BackfillState.ACTIVE, BackfillState.PAUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a backfill may use up, and when; None: no limit. No batch is begun that goes beyond images or bytes."""

    max_images: int | None = None
    max_bytes: int | None = None  # of originals
    max_seconds: float | None = None  # at work
    max_money: float | None = None
    hour_price: float | None = None  # of an hour at work
    hours: str | None = None  # of the day, such as 22:00-06:00
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.hours is not None:
            Window.parse(self.hours)
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise UsageError(f"{self.zone!r} is no IANA time zone (such as Asia/Tokyo)") from None
        if self.max_money is not None and not self.hour_price:
            raise UsageError(
                "a budget of money needs the price of an hour at work: --hour-price, of all workers together"
            )

    @property
    def seconds(self) -> float | None:
        """At work, at most: the smaller one of what time and money allow."""
        bought = None
        if self.max_money is not None and self.hour_price:
            bought = 3600 * self.max_money / self.hour_price
        return min((each for each in (self.max_seconds, bought) if each is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """One backfill as it stands in the ledger."""

    id: str
    collection: str
    collection_id: int
    compressor_id: int
    fingerprint: str
    scope: Scope
    budget: Budget
    state: BackfillState
    created_at: datetime
    planned_at: datetime | None  # None: not every slice is written yet
    ended_at: datetime | None
    note: str | None

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Self:
        held = row._mapping
        budget = Budget(**{name: held[name] for name in Budget.__slots__})
        names = (
            "id",
            "collection",
            "collection_id",
            "compressor_id",
            "fingerprint",
            "created_at",
            "planned_at",
        )
        return cls(
            **{name: held[name] for name in (*names, "ended_at", "note")},
            scope=Scope.from_json(row.scope),
            budget=budget,
            state=BackfillState(row.state),
        )

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


def slot(collection: str) -> str:
    """The lease of whoever works on a backfill of a collection; nights have their own."""
    return f"backfill:{collection}"


def create(ledger: Ledger, run: Run, scope: Scope, budget: Budget) -> Backfill:
    """Write a new one down, still to be planned, with ``run`` as the first that works on it."""
    number = f"backfill-{secrets.token_hex(4)}"
    with changing(ledger, run) as connection:
        connection.execute(
            backfills.insert().values(
                id=number,
                collection_id=run.collection_id,
                compressor_id=run.compressor_id,
                scope=scope.to_json(),
                state=BackfillState.ACTIVE,
                created_at=audit_log.now(),
                **{name: getattr(budget, name) for name in Budget.__slots__},
            )
        )
        connection.execute(backfill_runs.insert().values(run_id=run.id, backfill_id=number))
        audit_log.append(
            connection,
            run.event(
                "backfill.created", subject={"backfill": number}, after=_named(connection, scope, budget)
            ),
        )
    return read(ledger, number)


def _named(connection: sa.Connection, scope: Scope, budget: Budget) -> dict[str, Any]:
    """Scope and budget for the log: names in them as references, since they may be somebody's; numbers as text."""
    said: dict[str, Any] = {"kind": scope.kind}
    said |= {name: str(day) for name in ("since", "until") if (day := getattr(scope, name)) is not None}
    if scope.prefix:
        said["prefix"] = audit_log.reference(connection, "prefix", scope.prefix)
    if scope.file_sha256:
        said["keys_sha256"] = scope.file_sha256
    return said | {"budget": _limits(budget)}


def _limits(budget: Budget) -> dict[str, int | str]:
    held = {name: getattr(budget, name) for name in Budget.__slots__}
    return {
        name: value if isinstance(value, int) else str(value)
        for name, value in held.items()
        if value is not None
    }


def join(ledger: Ledger, run: Run, backfill: Backfill) -> None:
    """``run`` works on it from now on. Raises ``CompressorMismatch``: tokens of two compressors are never mixed."""
    if run.spec.fingerprint != backfill.fingerprint:
        raise CompressorMismatch(
            f"{backfill.id} was planned for compressor {backfill.fingerprint[:12]}, and {run.collection} uses "
            f"{run.spec.short} by now. Cancel it, and start another one with --recompress."
        )
    with changing(ledger, run) as connection:
        connection.execute(backfill_runs.insert().values(run_id=run.id, backfill_id=backfill.id))


def _select() -> sa.Select[Any]:
    return (
        sa.select(backfills, collections.c.name.label("collection"), compressors.c.fingerprint)
        .join(collections, collections.c.id == backfills.c.collection_id)
        .join(compressors, compressors.c.id == backfills.c.compressor_id)
    )


def read(ledger: Ledger, number: str) -> Backfill:
    """Raises ``UsageError`` where there is none of that name."""
    with ledger.read() as connection:
        row = connection.execute(_select().where(backfills.c.id == number)).one_or_none()
    if row is None:
        raise UsageError(f"there is no backfill {number!r}; `fwd2bot backfill status` names those there are")
    return Backfill.of(row)


def every(ledger: Ledger, *, open_only: bool = False) -> list[Backfill]:
    """All of them, newest first."""
    query = _select().order_by(backfills.c.created_at.desc(), backfills.c.id)
    if open_only:
        query = query.where(backfills.c.state.in_(OPEN))
    with ledger.read() as connection:
        return [Backfill.of(row) for row in connection.execute(query)]


def meant(ledger: Ledger, number: str | None) -> Backfill:
    """The named one, or the only one that is not over. Raises ``UsageError``."""
    if number is not None:
        return read(ledger, number)
    waiting = every(ledger, open_only=True)
    if len(waiting) == 1:
        return waiting[0]
    known = ", ".join(backfill.id for backfill in waiting) or "none is under way; begin one: `backfill start`"
    raise UsageError(f"name a backfill: {known}")


_ALLOWED = {
    BackfillState.PAUSED: (BackfillState.ACTIVE,),
    BackfillState.ACTIVE: (BackfillState.PAUSED,),
    BackfillState.CANCELLED: OPEN,
}
_WORDS = {
    BackfillState.PAUSED: "paused",
    BackfillState.ACTIVE: "resumed",
    BackfillState.CANCELLED: "cancelled",
}


def allow(
    house: Installation, backfill: Backfill, budget: Budget, *, zoned: bool, role: str = "operator"
) -> Backfill:
    """Other limits instead of those it has; those that are None stay, as does the zone unless ``zoned``. Raises
    ``UsageError`` for a backfill that is over."""
    backfill = read(house.ledger, backfill.id)
    if not backfill.is_open:
        raise UsageError(f"{backfill.id} is {backfill.state}; its limits cannot be changed any more")
    given = {name: getattr(budget, name) for name in Budget.__slots__ if name != "zone" or zoned}
    changed = replace(backfill.budget, **{name: value for name, value in given.items() if value is not None})
    values = {name: getattr(changed, name) for name in Budget.__slots__}
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        connection.execute(
            backfills.update().where(backfills.c.id == backfill.id).values(note=None, **values)
        )
        said = {"before": _limits(backfill.budget), "after": _limits(changed)}
        audit_log.append(connection, _event(connection, backfill, "backfill.limited", role, said))
    return read(house.ledger, backfill.id)


def _event(
    connection: sa.Connection, backfill: Backfill, type: str, role: str, said: Mapping[str, Any]
) -> Event:
    """Somebody says something about it, outside of any run."""
    return Event(
        type=type,
        occurred_at=audit_log.now(),
        actor=audit_log.actor(connection, role),
        collection=audit_log.reference(connection, "collection", backfill.collection),
        compressor=backfill.fingerprint,
        subject={"backfill": backfill.id},
        **said,
    )


def _ended(state: BackfillState) -> datetime | None:
    return audit_log.now() if state not in OPEN else None


def tell(
    house: Installation, backfill: Backfill, state: BackfillState, *, role: str = "operator"
) -> Backfill:
    """Pause, resume or cancel it. Whoever works on it hears that before the next batch. Raises ``UsageError`` if it is
    in no state for that."""
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        mine = backfills.c.id == backfill.id
        now = connection.execute(sa.select(backfills.c.state).where(mine)).scalar_one()
        if now not in _ALLOWED[state]:
            raise UsageError(f"{backfill.id} is {now}; it cannot be {_WORDS[state]}")
        connection.execute(
            backfills.update().where(mine).values(state=state, ended_at=_ended(state), note=None)
        )
        event = _event(connection, backfill, f"backfill.{_WORDS[state]}", role, {"before": {"state": now}})
        audit_log.append(connection, event)
    return read(house.ledger, backfill.id)


def note(ledger: Ledger, run: Run, backfill: Backfill, text: str | None) -> None:
    """Why it stands still, for whoever asks for its status."""
    with changing(ledger, run) as connection:
        connection.execute(backfills.update().where(backfills.c.id == backfill.id).values(note=text))


def planned(ledger: Ledger, run: Run, backfill: Backfill, counts: Mapping[str, int]) -> Backfill:
    """Every slice of it is written."""
    with changing(ledger, run) as connection:
        connection.execute(
            backfills.update().where(backfills.c.id == backfill.id).values(planned_at=audit_log.now())
        )
        audit_log.append(
            connection, run.event("backfill.planned", subject={"backfill": backfill.id}, after=dict(counts))
        )
    return read(ledger, backfill.id)


def end(ledger: Ledger, run: Run, backfill: Backfill, said: str, counts: Mapping[str, Any]) -> Backfill:
    """Nothing is left to do."""
    with changing(ledger, run) as connection:
        connection.execute(
            backfills.update()
            .where(backfills.c.id == backfill.id, backfills.c.state == BackfillState.ACTIVE)
            .values(state=BackfillState.DONE, ended_at=audit_log.now(), note=said)
        )
        audit_log.append(
            connection, run.event("backfill.ended", subject={"backfill": backfill.id}, after=dict(counts))
        )
    return read(ledger, backfill.id)
