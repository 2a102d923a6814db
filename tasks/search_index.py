"""The index of a large collection, kept by nights: made new, added to, shown.

Made of committed vectors alone, so that it can be made again at any time; searching works without it. A night adds what
is new; where a shard that it covers is gone or was rewritten, or the collection has doubled, it is made anew. Knows
when; ``infra.search_index`` knows how.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from fwd2bot_core.errors import (
    CompressorMismatch,
    Fwd2BotError,
    IntegrityError,
    NotInArchive,
    ObjectForbidden,
    ObjectMissing,
    UsageError,
)
from fwd2bot_core.tokens.vectors import scan
from infra import search_index
from infra.installation import Installation
from infra.search_index import POINTS_A_CELL, Floats, IndexMeta, cells_for, folder_of, read_meta
from infra.search_scope import Scope, Shard, scope_of

_log = logging.getLogger("fwd2bot")
MOST_SAMPLED = 262_144  # vectors that choose the cells
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """How a collection's index stands to what is committed."""

    collection: str
    compressor: str  # fingerprint
    committed: int  # images
    indexed: int  # of these, whose shards the index covers as they are
    meta: IndexMeta | None
    why: str  # what was done, or why there is none

    def as_json(self) -> dict[str, Any]:
        """Plain values, without the list of shards."""
        meta = self.meta.model_dump(exclude={"shards"}) if self.meta else None
        names = ("collection", "compressor", "committed", "indexed", "why")
        return {name: getattr(self, name) for name in names} | {"index": meta}


def wanted(house: Installation, collection: str) -> bool:
    """Whether a night keeps an index of the collection: it is large enough, and the library is there."""
    above = house.settings.search.index_above
    if not above or not search_index.available():
        return False
    try:
        return scope_of(house, collection).images > above
    except (NotInArchive, CompressorMismatch):
        return False


def keep_index(house: Installation, collection: str) -> str:
    """The end of a night: ``build``, told of in words. What goes wrong is logged and no fault of the night, whose work
    is committed: everything can be found without."""
    try:
        return build(house, collection).why
    except Fwd2BotError as error:
        _log.warning("the search index of %s was not kept: %s", collection, error)
        return str(error)


def build(
    house: Installation, collection: str, *, anew: bool = False, progress: Progress = lambda done, total: None
) -> IndexState:
    """Make a collection's index, or add what is new to it. Raises ``UsageError`` without the library."""
    if not search_index.available():
        raise UsageError(
            "an index needs faiss: pip install 'fwd2bot[search]'. Without one, search reads everything."
        )
    scope = scope_of(house, collection)
    before = _readable(house, scope)
    kept = None if anew or before is None else _still_right(house, scope, before)
    seen = {shard for shard, _ in before.shards} if before and kept is not None else set()
    new = [shard for shard in scope.shards if shard.id not in seen]
    if kept is not None and not new:
        return state(house, collection, why="up to date")
    index = _empty(house, scope) if kept is None else kept
    search_index.add(index, _parts(house, scope, new, progress))
    trained_for = before.trained_for if before is not None and kept is not None else scope.images
    written = _put(house, scope, index, trained_for)
    if before is not None and before.path != written:
        _remove(house, before.path)
    return state(house, collection, why=f"{'made anew' if kept is None else 'added to'}: {len(new):,} shards")


def state(house: Installation, collection: str, why: str = "") -> IndexState:
    """As it lies there. Raises ``NotInArchive`` where nothing is committed."""
    scope = scope_of(house, collection)
    meta = _readable(house, scope)
    seen = dict(meta.shards) if meta else {}
    indexed = sum(shard.rows for shard in scope.shards if seen.get(shard.id) == shard.sha256)
    return IndexState(
        collection=collection,
        compressor=scope.spec.fingerprint,
        committed=scope.images,
        indexed=indexed,
        meta=meta,
        why=why or _why_none(house, scope, meta),
    )


def _readable(house: Installation, scope: Scope) -> IndexMeta | None:
    with suppress(IntegrityError):
        return read_meta(house.archive, scope.collections[0], scope.spec.fingerprint)
    return None


def _still_right(house: Installation, scope: Scope, before: IndexMeta) -> Any:
    """The index of before, if every shard that it covers lies there unchanged, and its cells are not too few by now."""
    there = {shard.id: shard.sha256 for shard in scope.shards}
    if scope.images > 2 * before.trained_for or any(there.get(id) != sha for id, sha in before.shards):
        return None
    try:
        return search_index.read(house.archive, before)
    except (ObjectMissing, IntegrityError):
        return None


def _empty(house: Installation, scope: Scope) -> Any:
    """Cells chosen by vectors of shards all over the collection, in an order that does not depend on chance."""
    cells = cells_for(scope.images)
    wanted = min(scope.images, MOST_SAMPLED, max(4 * POINTS_A_CELL, POINTS_A_CELL * cells))
    order = np.random.default_rng(0).permutation(len(scope.shards))
    sample: list[Floats] = []
    for at in order:
        if sum(map(len, sample)) >= wanted:
            break
        with house.archive.open(scope.shards[at].path) as file:
            sample += [part.vectors for part in scan(file, scope.spec.fingerprint)]
    return search_index.trained(np.concatenate(sample)[:wanted], cells)


def _parts(
    house: Installation, scope: Scope, shards: Sequence[Shard], progress: Progress
) -> Iterator[tuple[Shard, int, Floats]]:
    for done, shard in enumerate(shards, 1):
        with house.archive.open(shard.path) as file:
            for part in scan(file, scope.spec.fingerprint):
                yield shard, part.first, part.vectors
        progress(done, len(shards))


def _put(house: Installation, scope: Scope, index: Any, trained_for: int) -> str:
    """The index first, then what points to it; its path."""
    (collection,) = scope.collections
    folder, data = folder_of(collection, scope.spec.fingerprint), search_index.as_bytes(index)
    sha256 = hashlib.sha256(data).hexdigest()
    meta = IndexMeta(
        collection=collection,
        fingerprint=scope.spec.fingerprint,
        d=scope.spec.d,
        images=scope.images,
        trained_for=trained_for,
        cells=index.nlist,
        path=f"{folder}/{sha256[:16]}.faiss",
        sha256=sha256,
        bytes=len(data),
        shards=tuple((shard.id, shard.sha256) for shard in scope.shards),
    )
    house.archive.replace(meta.path, data)  # a damaged one of the same name is mended by this
    house.archive.replace(f"{folder}/latest.json", meta.model_dump_json().encode())
    return meta.path


def _remove(house: Installation, path: str) -> None:
    """The one before, if the store lets it go; nobody looks at it any more."""
    with suppress(ObjectMissing, ObjectForbidden):
        house.archive.delete_version(house.archive.stat(path))


def _why_none(house: Installation, scope: Scope, meta: IndexMeta | None) -> str:
    if meta is not None:
        return "there"
    above = house.settings.search.index_above
    if not above or scope.images <= above:
        return "not needed" if above else "switched off (search.index_above = 0)"
    return "missing; the next night makes it, or `fwd2bot search-index build`"
