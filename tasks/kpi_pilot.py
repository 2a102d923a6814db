"""For who decides about the next stage: do tokens answer and find as the originals do, on the pilot's own images?

Some images are drawn; their originals are read, and asked and searched as if there were no tokens. Reads only. Knows
samples and shares. Knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from fwd2bot_core.compressor.protocol import Compressor
from fwd2bot_core.compressor.scoring import wilson
from fwd2bot_core.errors import ImageRejected, StoreError, StoreUnreachable
from fwd2bot_core.tokens.vectors import read_vectors
from infra.installation import Installation
from infra.lookup import Stored
from infra.tables import collections, compressors, label_checks
from tasks.fidelity import chosen, measure

NEAREST = 5  # images that are near to an image
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """``same``: probes answered word for word alike from tokens and from the original; ``neighbours``: the share of an
    image's nearest ones by its original that are nearest by its tokens, too."""

    collection: str
    stage: str  # of the policy in force, or "none"
    drawn: int
    judged: int
    problems: dict[str, int]  # why others could not be judged
    same: int
    probes: int
    interval: tuple[float, float]  # 95 %, of images that stand for all of their probes
    mean: float | None  # fidelity
    lowest: float | None
    neighbours: float | None  # None: too few images
    labels: dict[str, Any] | None  # the newest check against a person's labels

    @property
    def share(self) -> float | None:
        return self.same / self.probes if self.probes else None


def pilot(
    house: Installation,
    collection: str,
    sample: int,
    *,
    stage: str = "none",
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Pilot:
    """Over ``sample`` images drawn at random. Costs what ``fidelity.measure`` costs, and a first pass each.

    Raises as ``fidelity.chosen`` and ``measure`` do.
    """
    images = chosen(house, collection, (), sample)
    found = list(measure(house, collection, images, progress=progress))
    known = [one for one in found if one.fidelity is not None]
    problems: dict[str, int] = {}
    for one in found:
        if one.problem is not None:
            reason = one.problem.split(":", 1)[0][:60]
            problems[reason] = problems.get(reason, 0) + 1
    same, probes = sum(one.agreeing or 0 for one in known), sum(one.probes or 0 for one in known)
    scores = [one.fidelity for one in known if one.fidelity is not None]
    return Pilot(
        collection=collection,
        stage=stage,
        drawn=len(images),
        judged=len(known),
        problems=problems,
        same=same,
        probes=probes,
        interval=wilson(same / probes * len(known), len(known)) if probes else (0.0, 1.0),
        mean=sum(scores) / len(scores) if scores else None,
        lowest=min(scores, default=None),
        neighbours=_neighbours(house, collection, images),
        labels=_labels(house, collection),
    )


def shared(first: Floats, second: Floats, nearest: int = NEAREST) -> float | None:
    """The mean share of each row's ``nearest`` other rows by ``first`` [N, d] that are so by ``second`` [N, d] as well;
    None for too few rows. Both are L2-normalised."""
    count = len(first)
    if count <= nearest + 1:
        return None
    tops = []
    for vectors in (first, second):
        scores = vectors @ vectors.T
        np.fill_diagonal(scores, -np.inf)
        tops.append(np.argsort(-scores, axis=1, kind="stable")[:, :nearest])
    alike = [len(set(a) & set(b)) / nearest for a, b in zip(*(top.tolist() for top in tops), strict=True)]
    return float(np.mean(alike))


def _neighbours(house: Installation, collection: str, images: Sequence[Stored]) -> float | None:
    compressor, size = house.compressor(collection), house.settings.compressor.micro_batch
    fresh: dict[Stored, Floats] = {}
    for start in range(0, len(images), size):
        fresh |= _fresh(house, compressor, collection, images[start : start + size])
    if len(fresh) <= NEAREST + 1:
        return None
    stored = _stored(house, list(fresh))
    return shared(np.stack(list(fresh.values())), np.stack([stored[one] for one in fresh]))


def _fresh(
    house: Installation, compressor: Compressor, collection: str, few: Sequence[Stored]
) -> dict[Stored, Floats]:
    """By their originals; one that cannot be read is left out, and counted by ``measure``."""
    originals, prepared = house.originals(collection), {}
    for one in few:
        try:
            prepared[one] = compressor.prepare(originals.read(one.key, identity=one.identity))
        except StoreUnreachable:
            raise
        except (ImageRejected, StoreError):
            continue
    if not prepared:
        return {}
    return dict(zip(prepared, compressor.compress(list(prepared.values())).pooled, strict=True))


def _stored(house: Installation, images: Sequence[Stored]) -> dict[Stored, Floats]:
    found: dict[Stored, Floats] = {}
    for shard in dict.fromkeys(one.shard for one in images):
        mine = [one for one in images if one.shard == shard]
        with house.archive.open(shard) as file:
            _, vectors = read_vectors(file, [one.row for one in mine], mine[0].fingerprint)
        found |= dict(zip(mine, vectors, strict=True))
    return found


def _labels(house: Installation, collection: str) -> dict[str, Any] | None:
    query = (
        sa.select(label_checks)
        .join(collections, collections.c.id == label_checks.c.collection_id)
        .join(compressors, compressors.c.id == label_checks.c.compressor_id)
        .where(
            collections.c.name == collection,
            compressors.c.fingerprint == house.spec(collection).fingerprint,
        )
        .order_by(label_checks.c.id.desc())
        .limit(1)
    )
    with house.ledger.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    names = ("questions", "right_answers", "at_least", "passed", "checked_at")
    return {name: getattr(row, name) for name in names}
