"""The vectors for search in one shard: all of them in parts of bounded size, or those of single rows.

Tokens are never read. Knows one file's bytes; knows nothing about queries or which shards are committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens import pooled
from fwd2bot_core.tokens.shard import group_of, guarded, head_by, opened

AT_ONCE = 32 * 2**20  # bytes of vectors that are held at once
_COLUMNS = ["object_version_id", "pooled"]


@dataclass(frozen=True, slots=True)
class Vectors:
    """Some rows of a shard: the first one's place, their object versions [B], their vectors [B, d] float32."""

    first: int
    numbers: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]


def scan(file: BinaryIO, fingerprint: str) -> Iterator[Vectors]:
    """Every row's vector, L2-normalised, in order, in parts of ``AT_ONCE`` bytes at most (one row group at least).

    Raises ``CompressorMismatch`` if another compressor made the shard, ``IntegrityError`` if it is damaged.
    """
    shard = guarded(lambda: opened(file))
    d, first = guarded(lambda: head_by(shard, fingerprint)).spec.d, 0
    for groups in _parts(shard, d):
        numbers, vectors = guarded(partial(_read, shard, groups, d))
        yield Vectors(first, numbers, vectors)
        first += len(numbers)


def read_vectors(
    file: BinaryIO, rows: Sequence[int], fingerprint: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Object versions [B] and vectors [B, d] of ``rows``, reading each row group at most once; raises as ``scan``."""

    def read() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        shard = opened(file)
        d = head_by(shard, fingerprint).spec.d
        located = [group_of(shard, row) for row in rows]
        numbers, vectors = np.empty(len(rows), np.int64), np.empty((len(rows), d), np.float32)
        for group in sorted({group for group, _ in located}):
            mine = [at for at, (its, _) in enumerate(located) if its == group]
            picked = shard.read_row_group(group, _COLUMNS).take(pa.array([located[at][1] for at in mine]))
            numbers[mine], vectors[mine] = _decoded(picked, d)
        return numbers, vectors

    return guarded(read)


def _parts(shard: Any, d: int) -> Iterator[list[int]]:
    """Numbers of row groups that are read together."""
    held, groups = 0, list[int]()
    for group in range(shard.num_row_groups):
        size = shard.metadata.row_group(group).num_rows * d * 4
        if groups and held + size > AT_ONCE:
            yield groups
            held, groups = 0, []
        held, groups = held + size, [*groups, group]
    if groups:
        yield groups


def _read(shard: Any, groups: list[int], d: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    return _decoded(shard.read_row_groups(groups, _COLUMNS), d)


def _decoded(table: Any, d: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    numbers = np.asarray(table.column("object_version_id").to_numpy(), np.int64)
    vectors = pooled.decode(table.column("pooled").combine_chunks(), d)
    if not np.isfinite(vectors).all():
        raise IntegrityError("a vector for search is not finite, which no writer lets pass")
    return numbers, vectors
