"""How faithful tokens are over time, and whether that got worse: a stated rule, nothing that must be believed.

The rule: the images judged in a collection's newest ``RECENT`` nights with judged images, against those of the up to
``BEFORE`` nights before them, by the same compressor. It is a *drift* when the mean is lower by more than ``SMALLEST``
and by more than ``ERRORS`` standard errors of the difference, with at least ``ENOUGH`` images on either side. Knows the
ledger's scores. Knows nothing of how they come about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import sqlalchemy as sa

from infra.tables import collections, compressors, shards, summaries

RECENT, BEFORE = 7, 28  # nights
SMALLEST = 0.01
ERRORS = 3.0
ENOUGH = 20  # images


@dataclass(frozen=True, slots=True, kw_only=True)
class NightScores:
    """The judged images of one night, collection and compressor."""

    collection: str
    compressor: str  # fingerprint
    night: date
    judged: int
    total: float  # of their fidelities
    squares: float
    lowest: float

    @property
    def mean(self) -> float:
        return self.total / self.judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """The newest nights of one collection and compressor against those before. ``fall`` is None where there is not
    enough to compare."""

    collection: str
    compressor: str
    recent: float  # mean
    before: float | None
    recent_images: int
    before_images: int
    fall: float | None
    error: float | None  # standard error of the fall
    nights: tuple[NightScores, ...]  # oldest first

    @property
    def drifts(self) -> bool:
        return (
            self.fall is not None
            and self.error is not None
            and self.fall > SMALLEST
            and self.fall > ERRORS * self.error
        )

    @property
    def message(self) -> str:
        """One sentence for who is told of a drift."""
        return (
            f"fidelity of {self.collection} fell from {self.before or 0:.3f} to {self.recent:.3f} in its last {RECENT} "
            f"nights ({self.recent_images:,} images against {self.before_images:,}): look at the lowest with `fwd2bot "
            f"fidelity {self.collection}`, and let no policy act on it until you know why"
        )


def trends(connection: sa.Connection, collection: str | None = None) -> list[Trend]:
    """Of each collection and compressor with judged images."""
    nights = _nights(connection, collection)
    return [
        _trend(list(mine)) for _, mine in groupby(nights, key=lambda one: (one.collection, one.compressor))
    ]


def _nights(connection: sa.Connection, collection: str | None) -> list[NightScores]:
    score = summaries.c.fidelity
    query = (
        sa.select(
            collections.c.name.label("collection"),
            compressors.c.fingerprint.label("compressor"),
            shards.c.night,
            sa.func.count().label("judged"),
            sa.func.sum(score).label("total"),
            sa.func.sum(score * score).label("squares"),
            sa.func.min(score).label("lowest"),
        )
        .select_from(summaries)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .join(collections, collections.c.id == shards.c.collection_id)
        .join(compressors, compressors.c.id == shards.c.compressor_id)
        .where(score.is_not(None))
        .group_by(collections.c.name, compressors.c.fingerprint, shards.c.night)
        .order_by(collections.c.name, compressors.c.fingerprint, shards.c.night)
    )
    if collection is not None:
        query = query.where(collections.c.name == collection)
    return [NightScores(**row._mapping) for row in connection.execute(query)]


def _trend(nights: list[NightScores]) -> Trend:
    recent, before = nights[-RECENT:], nights[:-RECENT][-BEFORE:]
    new, old = _Sums.of(recent), _Sums.of(before)
    enough = min(new.count, old.count) >= ENOUGH
    return Trend(
        collection=nights[-1].collection,
        compressor=nights[-1].compressor,
        recent=new.mean,
        before=old.mean if old.count else None,
        recent_images=new.count,
        before_images=old.count,
        fall=old.mean - new.mean if enough else None,
        error=math.sqrt(new.variance / new.count + old.variance / old.count) if enough else None,
        nights=tuple(nights),
    )


@dataclass(frozen=True, slots=True)
class _Sums:
    count: int
    total: float
    squares: float

    @classmethod
    def of(cls, nights: list[NightScores]) -> _Sums:
        return cls(
            sum(n.judged for n in nights), sum(n.total for n in nights), sum(n.squares for n in nights)
        )

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def variance(self) -> float:
        """Of one image, unbiased."""
        return max(0.0, self.squares - self.count * self.mean**2) / max(1, self.count - 1)
