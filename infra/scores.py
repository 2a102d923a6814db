"""How faithful committed tokens are, as figures over many images: of one run, or of whatever is asked for.

Knows queries over the ledger's tables. Knows nothing about how a score comes about.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from infra.tables import shards, summaries

EDGES = tuple(n / 10 for n in range(1, 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Fidelity of ``judged`` images; those that were not judged are not among them."""

    judged: int
    below: int  # the threshold
    threshold: float
    mean: float
    lowest: float
    tenths: list[int]  # how many lie in [0, 0.1), [0.1, 0.2), ... [0.9, 1]


def unjudged(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> int:
    """How many images were chosen and could not be judged, among the summaries whose shards fulfil ``where``."""
    chosen = (
        sa.select(sa.func.count())
        .select_from(summaries)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .where(summaries.c.fidelity.is_(None), summaries.c.probe_set_id.is_not(None), *where)
    )
    return int(connection.execute(chosen).scalar_one())


def scores(connection: sa.Connection, *where: sa.ColumnElement[bool], threshold: float) -> Scores | None:
    """Over the summaries whose shards fulfil ``where``; None if none of them was judged."""
    known = summaries.c.fidelity
    under = [sa.func.sum(sa.case((known < edge, 1), else_=0)) for edge in (threshold, *EDGES)]
    count, mean, lowest, below, *steps = connection.execute(
        sa.select(sa.func.count(), sa.func.avg(known), sa.func.min(known), *under)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .where(known.is_not(None), *where)
    ).one()
    if not count:
        return None
    tenths = [int(b - a) for a, b in zip((0, *steps), (*steps, count), strict=True)]
    return Scores(
        judged=int(count),
        below=int(below),
        threshold=threshold,
        mean=round(float(mean), 6),
        lowest=round(float(lowest), 6),
        tenths=tenths,
    )
