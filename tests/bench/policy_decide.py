"""A policy over a million photos: ``python -m tests.bench.policy_decide``.

Fills a SQLite ledger, then decides twice: *tally* counts all photos by what keeps them, as ``policy simulate`` does;
*stream* gives each photo's number and verdict, as a disposition list takes them. Each size in a process of its own,
whose memory must not grow with the ledger. Nine in ten photos have a capture date, nine in ten a fidelity, one in a
hundred is under a hold, one in fifty has a tag.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import cyclopts
import sqlalchemy as sa

from fwd2bot_core.retention.facts import Clock, LabelResult, Standing
from fwd2bot_core.retention.policy import Policy
from infra.database import Ledger, open_ledger
from infra.policy_sql import Terms, stream, tally
from tests.bench import evidence, tables
from tests.bench.arguments import OUT, Out
from tests.core.retention.policies import COMPRESSOR, PLAIN, RULE
from tests.infra.retention_ledger import furnish

app = cyclopts.App(name="policy_decide", help=__doc__)
COLUMNS = {
    "photos": "photos",
    "tally s": "tally_seconds",
    "of it cpu": "tally_cpu_seconds",
    "stream s": "stream_seconds",
    "of that cpu": "stream_cpu_seconds",
    "photos a second": "photos_a_second",
    "may go": "may_go",
    "peak MB": "peak_mb",
    "before, MB": "before_mb",
}
AGE = "'2020-01-01'"  # the first photo; then one every ten minutes
FILL = (
    "INSERT INTO contents (sha256, size) SELECT lower(hex(randomblob(28)) || printf('%08x', n)), 1000 FROM numbers",
    """INSERT INTO object_versions (id, collection_id, key, identity, size, modified, salt, content_sha256,
       first_seen_at) SELECT rowid, 1, printf('line-1/%05d/tray-%08d.jpg', rowid / 1000, rowid), 'v:' || rowid, 200000,
       '2026-01-01 00:00:00.000000', randomblob(16), sha256, '2026-01-01 00:00:00.000000'
       FROM contents ORDER BY rowid""",
    f"""INSERT INTO object_facts (object_version_id, captured_at)
       SELECT n, strftime('%Y-%m-%d %H:%M:%S.000000', {AGE}, (n * 2) || ' minutes') FROM numbers WHERE n % 10""",
    """INSERT INTO summaries (object_version_id, compressor_id, shard_id, row, source_bytes, token_bytes, fidelity,
       probe_set_id) SELECT n, 1, 2, n, 200000, 64, CASE WHEN n % 11 THEN 0.9 + (n % 100) / 1000.0 END, 1
       FROM numbers""",
    "INSERT INTO hold_members (hold_id, object_version_id) SELECT 1 + n % 3, n FROM numbers WHERE n % 100 = 7",
    "INSERT INTO object_tags (object_version_id, tag) SELECT n, 'disputed' FROM numbers WHERE n % 50 = 3",
)  # fmt: skip


@app.default
def main(
    *,
    sizes: Annotated[list[int], cyclopts.Parameter(help="Photos.", consume_multiple=True)] = [  # noqa: B006
        100_000,
        1_000_000,
    ],
    goal: Annotated[
        float, cyclopts.Parameter(help="Seconds that the largest may take, counted or streamed.")
    ] = 10.0,
    out: Out = OUT,
) -> int:
    """Measure each size, print one table, write JSON."""
    before = evidence.begin()
    rows = [_alone(size) for size in sizes]
    evidence.write(out / "policy_decide.json", before, {"goal_seconds": goal, "rows": rows})
    tables.show("a policy decides", rows, COLUMNS)
    grown = rows[-1]["peak_mb"] - rows[0]["peak_mb"]
    slowest = max(rows[-1]["tally_seconds"], rows[-1]["stream_seconds"])
    return int(slowest > goal or grown > 20)


def _alone(size: int) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_measure, (size,))


def _measure(size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fwd2bot-policy-") as folder:
        ledger = open_ledger(f"sqlite:///{folder}/ledger.sqlite")
        _fill(ledger, size)
        terms = _terms()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with ledger.read() as connection:
            begun, busy = time.monotonic(), time.process_time()
            groups = tally(connection, terms)
            counted, busy_counting = time.monotonic(), time.process_time() - busy
            may_go = sum(mask == 0 for _, mask in stream(connection, terms))
            streamed, busy_streaming = time.monotonic(), time.process_time() - busy - busy_counting
        ledger.close()
    if may_go != sum(group.objects for group in groups if group.masks == (0,)):
        raise SystemExit("counted and streamed decisions differ")
    return {
        "photos": size,
        "tally_seconds": round(counted - begun, 2),
        "stream_seconds": round(streamed - counted, 2),
        "tally_cpu_seconds": round(busy_counting, 2),
        "stream_cpu_seconds": round(busy_streaming, 2),
        "photos_a_second": round(size / (streamed - counted)),
        "may_go": may_go,
        "groups": len(groups),
        "before_mb": round(before / 1e3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def _fill(ledger: Ledger, size: int) -> None:
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {size}) "
    with ledger.write() as connection:
        furnish(connection)
        for statement in FILL:
            connection.exec_driver_sql(numbers + statement)
        connection.execute(sa.text("ANALYZE"))
    with ledger.engine.connect() as connection:  # as any ledger is but for its last night
        connection.exec_driver_sql("COMMIT")  # a checkpoint of the write-ahead log wants no transaction
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _terms() -> Terms:
    """Three rules, of which two match each photo."""
    rules = [
        RULE | {"select": {"collections": ["line-1"], "keys": "line-1/*.jpg"}},
        RULE | {"name": "all", "select": {"collections": ["line-1"], "keys": "*"}, "retain": "P6Y"},
        RULE | {"name": "final", "select": {"collections": ["line-1"], "keys": "*", "tags": ["final"]}},
    ]
    standing = Standing(
        collection="line-1",
        originals="s3://originals/line-1",
        labels={(COMPRESSOR, "exact"): LabelResult(questions=500, right=495, at_least=0.97, passed=True)},
        demonstration={COMPRESSOR: False},
    )
    clock = Clock(datetime(2030, 6, 1, tzinfo=UTC))
    return Terms(Policy.model_validate(PLAIN | {"rules": rules}), {"line-1": standing}, clock)


if __name__ == "__main__":
    raise SystemExit(app())
