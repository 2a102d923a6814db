"""Searching a million vectors: ``python -m tests.bench.search``.

numpy    all vectors lie in memory as one array: one product and the ten largest, nothing else
pyarrow  the same, but vectors are first read from the shards by pyarrow, as ``fwd2bot search`` must
exact    what ``fwd2bot search --exact`` does once its query is a vector: shards streamed, the ledger asked
index    what it does with the index, which is in memory after the first search

Queries are captions of held-out trays; images are mixtures of held-out trays (see ``corpus``). Exit code 1 if the index
finds too few of what reading everything finds, or exact search takes too much longer than pyarrow.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
import psutil
import pyarrow.parquet as pq

from fwd2bot_core.tokens.search import recall
from infra.search_index import newest_indexes
from infra.search_scope import scope_of
from infra.searching import nearest
from tasks.search_index import build
from tests.bench import evidence, tables
from tests.bench.arguments import OUT, Out, Rounds
from tests.bench.corpus import Corpus, make
from tests.bench.turns import in_turns, milliseconds, times_faster
from tests.houses import COLLECTION

app = cyclopts.App(name="search", help=__doc__)
K = 10
COLUMNS = {
    "images": "images",
    "numpy ms": "numpy_ms",
    "pyarrow ms": "pyarrow_ms",
    "exact ms": "exact_ms",
    "exact / pyarrow": "exact_over_pyarrow",
    "index ms": "index_ms",
    "numpy / index": "numpy_over_index",
    "recall@10": "recall_at_10",
    "build s": "build_seconds",
    "load s": "load_seconds",
    "MB": "index_mb",
}


@app.default
def main(
    *,
    images: Annotated[int, cyclopts.Parameter(help="A multiple of 1,000.")] = 1_000_000,
    queries: Annotated[int, cyclopts.Parameter(help="That recall is measured with.")] = 100,
    rounds: Rounds = 5,
    least_recall: Annotated[float, cyclopts.Parameter(help="Of the index, at ten.")] = 0.95,
    most_times: Annotated[float, cyclopts.Parameter(help="Exact search over pyarrow's own scan.")] = 1.3,
    out: Out = OUT,
) -> int:
    """Fill an archive, search it in turns, print one table, write JSON."""
    before = evidence.begin()
    with tempfile.TemporaryDirectory(prefix="fwd2bot-search-") as folder:
        corpus = make(Path(folder) / "archive", images)
        row = measure(corpus, queries, rounds)
        corpus.archive.close()
    tables.show(f"the ten nearest of {images:,}, d = {row['d']}; medians", [row], COLUMNS)
    evidence.write(out / "search.json", before, {"rows": [row]})
    return int(row["recall_at_10"] < least_recall or row["exact_over_pyarrow"] > most_times)


def measure(corpus: Corpus, queries: int, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    house, scope = corpus.house, scope_of(corpus.house, COLLECTION)
    build_seconds = _seconds(lambda: build(house, COLLECTION))
    load_seconds = _seconds(lambda: newest_indexes(house.archive, scope))
    asked = cycle(corpus.queries)
    paths = [Path(folder_of(house.archive.uri)) / shard.path for shard in scope.shards]
    ways: dict[str, Callable[[], object]] = {
        "numpy": lambda: _best(corpus.vectors @ next(asked)),
        "pyarrow": lambda: _best(bare_scan(paths) @ next(asked)),
        "exact": lambda: nearest(house, scope, next(asked), K, exact=True),
        "index": lambda: nearest(house, scope, next(asked), K),
    }
    taken = in_turns(ways, rounds)
    state = newest_indexes(house.archive, scope)[0].meta
    return {
        "images": scope.images,
        "d": scope.spec.d,
        **{f"{name}_ms": milliseconds(seconds) for name, seconds in taken.items()},
        "exact_over_pyarrow": round(1 / times_faster(taken, "pyarrow", "exact"), 3),
        "numpy_over_index": times_faster(taken, "numpy", "index"),
        "recall_at_10": round(_recall(corpus, queries), 4),
        "cells": state.cells,
        "build_seconds": round(build_seconds, 1),
        "load_seconds": round(load_seconds, 2),
        "index_mb": round(state.bytes / 1e6, 1),
        "resident_mb": round(psutil.Process().memory_info().rss / 1e6),
    }


def bare_scan(paths: list[Path]) -> np.ndarray[Any, Any]:
    """What any reader of Parquet does: whole columns of each file, one after the other, as one array [N, d]."""
    found = []
    for path in paths:
        table = pq.read_table(path, columns=["object_version_id", "pooled"])
        column = table.column("pooled").combine_chunks()
        found.append(np.asarray(column.flatten()).reshape(len(column), -1))
    return np.concatenate(found)


def folder_of(uri: str) -> str:
    """Of a local store."""
    return uri.removeprefix("file://")


def _best(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.argpartition(-scores, K)[:K]


def _recall(corpus: Corpus, queries: int) -> float:
    """Of the index, against the array in memory."""
    scope = scope_of(corpus.house, COLLECTION)
    asked = corpus.queries[:queries]
    exact = np.stack([_best(corpus.vectors @ query) + 1 for query in asked])
    found = [[one.object_version_id for one in nearest(corpus.house, scope, q, K).found] for q in asked]
    return recall(np.array(found), exact)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    raise SystemExit(app())
