"""Reading back what nights have stored: ``python -m tests.bench.readback``.

vectors  every vector for search, through our store and with damaged pages noticed, against pyarrow alone, in turns
tokens   single images at random, each looked up in the ledger and read from its shard: median and 99th percentile

Exit code 1 if vectors take more than the goal (1.3 times pyarrow's) or a token lookup's median more than 20 ms.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np

from fwd2bot_core.tokens.vectors import scan
from infra.search_scope import scope_of
from tests.bench import evidence, tables
from tests.bench.arguments import OUT, Out, Rounds
from tests.bench.corpus import Corpus, make
from tests.bench.search import bare_scan, folder_of
from tests.bench.turns import in_turns, milliseconds, times_faster
from tests.houses import COLLECTION

app = cyclopts.App(name="readback", help=__doc__)
COLUMNS = {
    "images": "images",
    "pyarrow ms": "pyarrow_ms",
    "ours ms": "ours_ms",
    "ours / pyarrow": "ratio",
    "lookups": "lookups",
    "median ms": "lookup_ms",
    "99 % ms": "lookup_99_ms",
}


@app.default
def main(
    *,
    images: Annotated[int, cyclopts.Parameter(help="A multiple of 1,000.")] = 1_000_000,
    lookups: Annotated[int, cyclopts.Parameter(help="Images whose tokens are read.")] = 10_000,
    rounds: Rounds = 5,
    goal: Annotated[float, cyclopts.Parameter(help="Times pyarrow's own scan, at most.")] = 1.3,
    most_ms: Annotated[float, cyclopts.Parameter(help="Of a lookup's median.")] = 20.0,
    out: Out = OUT,
) -> int:
    """Fill an archive, read it, print one table, write JSON."""
    before = evidence.begin()
    with tempfile.TemporaryDirectory(prefix="fwd2bot-readback-") as folder:
        corpus = make(Path(folder) / "archive", images)
        row = measure(corpus, lookups, rounds)
        corpus.archive.close()
    tables.show("reading back", [row], COLUMNS)
    evidence.write(out / "readback.json", before, {"goal": goal, "rows": [row]})
    return int(row["ratio"] > goal or row["lookup_ms"] > most_ms)


def measure(corpus: Corpus, lookups: int, rounds: int) -> dict[str, Any]:
    """One row of the table."""
    house, scope = corpus.house, scope_of(corpus.house, COLLECTION)
    paths = [Path(folder_of(house.archive.uri)) / shard.path for shard in scope.shards]

    def ours() -> np.ndarray[Any, Any]:
        found = []
        for shard in scope.shards:
            with house.archive.open(shard.path) as file:
                found += [part.vectors for part in scan(file, scope.spec.fingerprint)]
        return np.concatenate(found)

    taken = in_turns({"pyarrow": lambda: bare_scan(paths), "ours": ours}, rounds)
    each = _lookups(corpus, scope.images, lookups)
    return {
        "images": scope.images,
        "d": scope.spec.d,
        **{f"{name}_ms": milliseconds(seconds) for name, seconds in taken.items()},
        "ratio": round(1 / times_faster(taken, "pyarrow", "ours"), 3),
        "lookups": lookups,
        "lookup_ms": round(1e3 * float(np.median(each)), 2),
        "lookup_99_ms": round(1e3 * float(np.quantile(each, 0.99)), 2),
    }


def _lookups(corpus: Corpus, images: int, count: int) -> list[float]:
    """Seconds of each; what is read is held against the vectors that were written."""
    numbers = np.random.default_rng(1).integers(1, images + 1, count).tolist()
    taken = []
    for number in numbers:
        begun = time.perf_counter()
        tokens = corpus.archive.tokens(f"line-1/tray-{number:08}.jpg", collection=COLLECTION)
        taken.append(time.perf_counter() - begun)
        np.testing.assert_array_equal(tokens[0, 0], corpus.vectors[number - 1])
    return taken


if __name__ == "__main__":
    raise SystemExit(app())
