"""Which stored images are nearest to a vector: by streaming what shards hold, and by the index where there is one.

Vectors are only looked up where a shard or the index holds one that could still win, and only those rows count that the
ledger names, so memory does not grow with the archive. Knows nothing about texts or images.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fwd2bot_core.tokens.search import Nearest
from fwd2bot_core.tokens.shard import check_image
from fwd2bot_core.tokens.vectors import read_vectors, scan
from infra.installation import Installation
from infra.search_index import Index, covered, newest_indexes
from infra.search_scope import ALL, Filters, Scope, Shard, counting, counting_places

Floats = npt.NDArray[np.float32]
Scored = tuple[
    Floats, npt.NDArray[np.int64]
]  # of a shard's rows: scores, and the object versions that it says they show
LOOKED_UP = 900  # rows of a shard that are asked for by number; SQLite takes no more than some thousand
CANDIDATES = (
    200  # of the index, for which the ledger is asked; twelve times as many where filters let few through
)
MOST_CANDIDATES = 30_000  # where filters let so few through, everything is read instead


@dataclass(frozen=True, slots=True)
class Near:
    """One image, and where its vector lies."""

    object_version_id: int
    score: float
    shard: Shard
    row: int


@dataclass(frozen=True, slots=True)
class Nearby:
    """The best, and what was looked through for them."""

    found: list[Near]
    scanned: int  # images whose vectors were read
    indexed: int  # images that the index answered for


def nearest(
    house: Installation,
    scope: Scope,
    query: Floats,
    k: int,
    filters: Filters = ALL,
    *,
    without: frozenset[int] = frozenset(),
    exact: bool = False,
) -> Nearby:
    """The ``k`` images of ``scope`` whose vectors are nearest to ``query`` [d], but for those of ``without``.

    ``exact``: without the index. Raises ``IntegrityError`` for a damaged shard.
    """
    best: Nearest[tuple[int, int, int]] = Nearest(k)
    taken: set[int] = set()
    for index in [] if exact else newest_indexes(house.archive, scope):
        taken |= _from_index(house, index, scope, query, best, filters, without)
    rest = [shard for shard in scope.shards if shard.id not in taken]
    _scan(house, rest, scope.spec.fingerprint, query, best, filters, without)
    shards = {shard.id: shard for shard in scope.shards}
    found = [Near(number, score, shards[shard], row) for score, (number, shard, row) in best.best()]
    scanned = sum(shard.rows for shard in rest)
    return Nearby(found, scanned, scope.images - scanned)


def _scan(
    house: Installation,
    shards: Sequence[Shard],
    fingerprint: str,
    query: Floats,
    best: Nearest[tuple[int, int, int]],
    filters: Filters,
    without: frozenset[int],
) -> None:
    """Every vector of ``shards``, some shards read ahead."""

    def read(shard: Shard) -> Scored:
        with house.archive.open(shard.path) as file:
            parts = [(part.vectors @ query, part.numbers) for part in scan(file, fingerprint)]
        return np.concatenate([scores for scores, _ in parts]), np.concatenate([its for _, its in parts])

    threads = house.settings.execution.fetch_threads
    with ThreadPoolExecutor(threads) as readers:
        for shard, (scores, numbers) in _ahead(readers, read, shards, 2 * threads):
            rows = np.flatnonzero(scores > best.worst)
            if not len(rows):
                continue
            with house.ledger.read() as connection:
                few = rows.tolist() if len(rows) <= LOOKED_UP else None
                counted = counting(connection, shard, filters, few)
            for row, number in counted:
                check_image(row, int(numbers[row]), number)
                if number not in without:
                    best.offer(float(scores[row]), (number, shard.id, row))


def _ahead(
    readers: ThreadPoolExecutor, read: Callable[[Shard], Scored], shards: Iterable[Shard], ahead: int
) -> Iterator[tuple[Shard, Scored]]:
    """Shards in their order with what was read of them."""
    flying: deque[tuple[Shard, Future[Scored]]] = deque()
    for shard in shards:
        flying.append((shard, readers.submit(read, shard)))
        if len(flying) >= ahead:
            first, future = flying.popleft()
            yield first, future.result()
    while flying:
        first, future = flying.popleft()
        yield first, future.result()


def _from_index(
    house: Installation,
    index: Index,
    scope: Scope,
    query: Floats,
    best: Nearest[tuple[int, int, int]],
    filters: Filters,
    without: frozenset[int],
) -> frozenset[int]:
    """Offer what the index finds, with exact scores; the shards that it answered for.

    None of them where filters let so little through that reading everything is surer.
    """
    shards = covered(index, scope)
    wanted = best.k + len(without)
    asked, cells = max(CANDIDATES, 4 * wanted), house.settings.search.cells
    counted: dict[tuple[int, int], list[int]] = {}
    places: list[tuple[int, int]] = []
    while len(counted) < wanted:
        if asked > MOST_CANDIDATES:
            return frozenset()
        offered = index.candidates(query, asked, cells)
        places = [place for place in offered if place[0] in shards]
        counted = _counted(house, places, filters, 2 * wanted)
        if len(offered) == index.meta.images:  # there are no more
            break
        asked *= 12
    first = [place for place in places if place in counted][: 2 * wanted]
    for (shard, row), score in zip(first, exact_scores(house, first, shards, scope, query), strict=True):
        for number in counted[shard, row]:
            if number not in without:
                best.offer(score, (number, shard, row))
    return frozenset(shards)


def _counted(
    house: Installation, places: Sequence[tuple[int, int]], filters: Filters, enough: int
) -> dict[tuple[int, int], list[int]]:
    """The first ``enough`` places that count, the best first; the ledger is asked for few at a time, since it looks
    through all rows of each one's shard."""
    counted: dict[tuple[int, int], list[int]] = {}
    with house.ledger.read() as connection:
        for start in range(0, len(places), enough):
            counted |= counting_places(connection, places[start : start + enough], filters)
            if len(counted) >= enough:
                break
    return counted


def exact_scores(
    house: Installation,
    places: Sequence[tuple[int, int]],
    shards: dict[int, Shard],
    scope: Scope,
    query: Floats,
) -> list[float]:
    """Of each place, by the vector that its shard holds; several shards are read at once."""
    rows: dict[int, list[int]] = {}
    for shard, row in places:
        rows.setdefault(shard, []).append(row)

    def read(shard: int) -> dict[tuple[int, int], float]:
        with house.archive.open(shards[shard].path) as file:
            _, vectors = read_vectors(file, rows[shard], scope.spec.fingerprint)
        return {(shard, row): float(score) for row, score in zip(rows[shard], vectors @ query, strict=True)}

    with ThreadPoolExecutor(house.settings.execution.fetch_threads) as readers:
        scores = {place: score for part in readers.map(read, rows) for place, score in part.items()}
    return [scores[place] for place in places]
