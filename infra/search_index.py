"""The index of a large collection: an object in the archive that says which stored vectors are probably the nearest.

Derived from committed shards and worth nothing without the ledger: a find is a place, and what lies there is looked up.
It names the shards that it covers by their bytes, so that a rewritten one is not answered for. Knows faiss, which is
an extra; without it there is no index. Knows nothing about when one is built.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from math import isqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fwd2bot_core.errors import IntegrityError, ObjectMissing
from infra.objects import ObjectStore
from infra.search_scope import Scope, Shard

ROW_BITS = 20  # of a label, which is a shard's number and a row; a shard has 20,000 rows at most
POINTS_A_CELL = 64  # that training sees
MOST_CELLS = 65_536
_KEPT = 2  # indexes that stay in this process's memory
_loaded: OrderedDict[str, Any] = OrderedDict()  # by sha256
Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class IndexMeta(BaseModel):
    """What an index is, beside it as ``latest.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["fwd2bot-index-1"] = "fwd2bot-index-1"
    collection: str
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    d: int = Field(gt=0)
    images: int = Field(ge=0)
    trained_for: int = Field(ge=0)  # images when its cells were chosen
    cells: int = Field(ge=1)
    path: str = Field(pattern=r"^indexes/[^\x00]+\.faiss$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    shards: tuple[tuple[int, str], ...]  # number and sha256 of each shard that it covers


@dataclass(frozen=True, slots=True)
class Index:
    """One that is in memory."""

    meta: IndexMeta
    faiss: Any

    def candidates(self, query: Floats, count: int, cells: int) -> list[tuple[int, int]]:
        """(shard, row) of the probably nearest, the best first, looked for in that many cells."""
        import faiss

        made: Any = faiss.SearchParametersIVF  # which takes names that its own stubs do not know
        options = made(nprobe=min(cells, self.meta.cells))
        _, labels = self.faiss.search(query[None], min(count, max(self.meta.images, 1)), params=options)
        return [divmod(int(label), 1 << ROW_BITS) for label in labels[0] if label >= 0]


def available() -> bool:
    """Whether the library is installed: the extra ``search``."""
    return find_spec("faiss") is not None


def folder_of(collection: str, fingerprint: str) -> str:
    """Where a collection's index of one compressor lies in the archive."""
    return f"indexes/{collection}/compressor={fingerprint[:12]}"


def read_meta(archive: ObjectStore, collection: str, fingerprint: str) -> IndexMeta | None:
    """What the newest index says of itself; None where there is none. Raises ``IntegrityError`` for what is no such."""
    path = f"{folder_of(collection, fingerprint)}/latest.json"
    try:
        found = IndexMeta.model_validate_json(archive.read(path))
    except ObjectMissing:
        return None
    except ValidationError as error:
        raise IntegrityError(
            f"{path} is not what an index says of itself; `fwd2bot search-index build` makes it anew"
        ) from error
    return found if found.fingerprint == fingerprint else None


def newest_indexes(archive: ObjectStore, scope: Scope) -> list[Index]:
    """Of each collection of ``scope`` that has a usable one. What is missing or damaged is no index: everything can be
    found without."""
    if not available():
        return []
    found = []
    for collection in scope.collections:
        try:
            meta = read_meta(archive, collection, scope.spec.fingerprint)
            if meta is not None and meta.d == scope.spec.d:
                found.append(Index(meta, load(archive, meta)))
        except (ObjectMissing, IntegrityError):
            continue
    return found


def load(archive: ObjectStore, meta: IndexMeta) -> Any:
    """The same as ``read``; the last ones stay in memory, and are never added to."""
    if meta.sha256 not in _loaded:
        _loaded[meta.sha256] = read(archive, meta)
        while len(_loaded) > _KEPT:
            _loaded.popitem(last=False)
    _loaded.move_to_end(meta.sha256)
    return _loaded[meta.sha256]


def read(archive: ObjectStore, meta: IndexMeta) -> Any:
    """The index itself. Raises ``ObjectMissing``, and ``IntegrityError`` for other bytes than were written."""
    import faiss

    data = archive.read(meta.path)
    if hashlib.sha256(data).hexdigest() != meta.sha256:
        raise IntegrityError(
            f"{meta.path} does not hold the bytes that were written; `fwd2bot search-index build` makes it anew"
        )
    return faiss.deserialize_index(np.frombuffer(data, np.uint8))


def covered(index: Index, scope: Scope) -> dict[int, Shard]:
    """The shards of ``scope`` that the index answers for, by number: those whose bytes it has seen."""
    seen = dict(index.meta.shards)
    mine = (shard for shard in scope.shards if shard.collection == index.meta.collection)
    return {shard.id: shard for shard in mine if seen.get(shard.id) == shard.sha256}


def cells_for(images: int) -> int:
    """As many as lets a search look at about as many cells' centres as rows of cells."""
    return max(1, min(4 * isqrt(images), images // POINTS_A_CELL, MOST_CELLS))


def trained(sample: Floats, cells: int) -> Any:
    """An empty index for vectors [B, d] like ``sample``: inverted lists of vectors of eight bits a number."""
    import faiss

    made = faiss.index_factory(sample.shape[1], f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
    made.train(sample)
    return made


def add(index: Any, parts: Iterable[tuple[Shard, int, Floats]]) -> None:
    """Rows of shards, of each part the first one's place and the vectors."""
    for shard, first, vectors in parts:
        rows: Labels = np.arange(first, first + len(vectors), dtype=np.int64)
        index.add_with_ids(np.ascontiguousarray(vectors), (shard.id << ROW_BITS) + rows)


def as_bytes(index: Any) -> bytes:
    """For the archive."""
    import faiss

    return bytes(faiss.serialize_index(index).tobytes())
