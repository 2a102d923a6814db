"""Does every query of a night find what it looks for by an index? ``python -m tests.bench.ledger_plans``.

Fills a ledger with millions of images, listens to the SQL of a real night over some new photos, and asks the database
how it goes about each statement. A big table that is read from end to end, without a condition that an index serves, is
named; so is what took longest. Also says how many bytes an image takes in the database.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import sqlalchemy as sa

from infra.database import Ledger
from infra.installation import Installation
from infra.settings import load_settings
from tests.bench import evidence, large_ledger, tables
from tests.bench.arguments import OUT, Names, Out
from tests.houses import lay_out, night, write_settings
from tests.servers import postgresql

app = cyclopts.App(name="ledger_plans", help=__doc__)
READING = re.compile(r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)\b", re.IGNORECASE)
FEW = ("ix_batches_planned", "ix_work_failed")  # indexes that hold few rows, and may be read whole
COLUMNS = {
    "database": "database",
    "images": "images",
    "statements": "statements",
    "without an index": "scans",
    "bytes an image": "bytes_an_image",
    "fill s": "fill_seconds",
    "night of 40, s": "night_seconds",
    "slowest s": "slowest_seconds",
}


@dataclass
class Heard:
    """The SQL of a night: each different statement with one set of its parameters, and the seconds of all its calls."""

    statements: dict[str, Any] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)


@contextmanager
def listening() -> Iterator[Heard]:
    """To every engine of this process, in the block."""
    heard, begun = Heard(), dict[int, float]()

    def before(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
    ) -> None:
        if READING.match(statement):
            heard.statements.setdefault(statement, parameters[0] if executemany else parameters)
        begun[id(cursor)] = time.perf_counter()

    def after(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        heard.seconds[statement] += time.perf_counter() - begun.pop(id(cursor), time.perf_counter())

    listeners: dict[str, Callable[..., None]] = {
        "before_cursor_execute": before,
        "after_cursor_execute": after,
    }
    for name, listener in listeners.items():
        sa.event.listen(sa.Engine, name, listener)
    try:
        yield heard
    finally:
        for name, listener in listeners.items():
            sa.event.remove(sa.Engine, name, listener)


def walks(statement: str) -> bool:
    """Whether this is the anti-join of the plan, which holds the whole of its collection against what is claimed, once
    a night; or a list of all shards, one for a thousand images: a manifest names each."""
    names = re.findall(r"(?:FROM|JOIN) (\w+)", statement)
    listed = names[:1] == ["shards"] and statement.rstrip().endswith("ORDER BY shards.id")
    return names[:2] == ["object_versions", "work"] or listed


def scans(ledger: Ledger, heard: Heard, *, forced: bool = False) -> dict[str, list[str]]:
    """By statement, how each big table is read that no index serves. ``forced``: as if tables were too large to be read
    whole, however few rows they hold (PostgreSQL)."""
    found = {}
    for statement, parameters in heard.statements.items():
        if lines := _scans_of(ledger, statement, parameters, forced):
            found[statement] = lines
    return found


def _scans_of(ledger: Ledger, statement: str, parameters: Any, forced: bool) -> list[str]:
    with ledger.engine.connect() as connection, connection.begin() as transaction:
        try:
            if "listing" in statement:  # the temporary table of a discovery
                from tasks import discover

                discover._staging.create_all(connection)
            if ledger.engine.dialect.name == "sqlite":
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                return _of_sqlite([row.detail for row in plan], statement)
            if forced:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            said = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
            document = json.loads(said) if isinstance(said, str) else said
            return list(_of_postgresql(document[0]["Plan"]))
        finally:
            transaction.rollback()


def _of_sqlite(steps: list[str], statement: str) -> list[str]:
    """``SCAN name`` reads a table or a whole index; ``name`` may be an alias, as in FROM work AS mine."""
    found = []
    for step in steps:
        if (match := re.match(r"SCAN (\w+)", step)) and step.split()[-1] not in FEW:
            name = re.search(rf"(\w+) AS {match[1]}\b", statement)
            if (name[1] if name else match[1]) in large_ledger.BIG:
                found.append(step)
    return found


def _of_postgresql(node: dict[str, Any]) -> Iterator[str]:
    kind, table = node["Node Type"], node.get("Relation Name")
    of_index = kind in ("Index Scan", "Index Only Scan") and node["Index Name"] not in FEW
    whole = kind.endswith("Seq Scan") or (of_index and "Index Cond" not in node)
    if whole and table in large_ledger.BIG:
        yield f"{kind} of {table}"
    for below in node.get("Plans", []):
        yield from _of_postgresql(below)


@app.default
def main(
    *,
    database: Names = ("sqlite", "postgresql"),
    rows: Annotated[int, cyclopts.Parameter(help="Images in the ledger.")] = 10_000_000,
    note: Annotated[str, cyclopts.Parameter(help="Written beside the figures.")] = "",
    out: Out = OUT,
) -> int:
    """Print one table and each statement that reads a big table whole; exit code 1 if there is one."""
    before, found = evidence.begin(), []
    for name in database:
        if name == "postgresql" and (reason := postgresql.missing()):
            print(f"not measured: {reason}")
            continue
        found.append(_measure(name, rows))
        for statement, lines in found[-1]["scanning"].items():
            print(f"{name}: {'; '.join(lines)}\n    {statement}")
    tables.show("a night in a large ledger", found, COLUMNS)
    evidence.write(out / "ledger_plans.json", before, {"note": note, "rows": found})
    return int(any(row["scans"] for row in found))


def _measure(name: str, images: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fwd2bot-ledger-") as folder:
        if name == "sqlite":
            return measure(Path(folder), f"sqlite:///{folder}/ledger.sqlite", images)
        with postgresql.postgresql() as server:
            return measure(Path(folder), server.make_database(), images)


def measure(folder: Path, url: str, images: int) -> dict[str, Any]:
    """One row of the table: fill, a night of forty new photos, the plans of what it asked."""
    house, empty, took = filled(folder, url, images)
    grown = large_ledger.size_of(house.ledger) - empty
    lay_out(folder / "photos", 40, start=40)
    begun = time.perf_counter()
    with listening() as heard:
        night(house)
    seconds = time.perf_counter() - begun
    found = scans(house.ledger, heard, forced=True)
    scanning = {text: lines for text, lines in found.items() if not walks(text)}
    house.ledger.close()
    slow = heard.seconds.most_common(5)
    return {
        "database": house.ledger.engine.dialect.name,
        "images": images,
        "statements": len(heard.statements),
        "scans": len(scanning),
        "scanning": scanning,
        "walks": [" ".join(text.split())[:200] for text in found if walks(text)],
        "bytes_an_image": round(grown / images, 1),
        "fill_seconds": round(took, 1),
        "night_seconds": round(seconds, 2),
        "slowest_seconds": round(slow[0][1], 3),
        "slowest": [
            {"seconds": round(value, 3), "statement": " ".join(text.split())} for text, value in slow
        ],
    }


def filled(folder: Path, url: str, images: int, batch: int = 1_000) -> tuple[Installation, int, float]:
    """An installation that has compressed forty photos and remembers ``images`` more; the bytes of the ledger before
    these, and the seconds that they took."""
    lay_out(folder / "photos", 40)
    house = Installation(load_settings(write_settings(folder / "fwd2bot.toml", archive={"ledger": url})))
    night(house)
    large_ledger.settle(house.ledger)
    empty, begun = large_ledger.size_of(house.ledger), time.perf_counter()
    large_ledger.fill(house.ledger, images, batch)
    return house, empty, time.perf_counter() - begun


if __name__ == "__main__":
    raise SystemExit(app())
