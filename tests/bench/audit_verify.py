"""How fast the whole audit log is verified: ``python -m tests.bench.audit_verify``.

verify    ``verify_log``: every body read, hashed, parsed, held against columns, leaf, nodes, checkpoints and an anchor
read      the same bodies read from the database and hashed, and nothing else
hash      bytes of the same number and length hashed alone, from memory

In turns; on a busy machine the events a CPU second (of this process alone) tell what a quiet one would do. Each size is
measured in a process of its own, whose peak memory must not grow with the log.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import cyclopts
import sqlalchemy as sa
from rich.console import Console

from fwd2bot_core.audit.events import Actor, Event
from infra import audit_log
from infra.audit_settings import AnchorSettings, AuditSettings
from infra.checkpoints import sign_checkpoint
from infra.database import Ledger
from infra.installation import opened
from infra.settings import ArchiveSettings, CollectionSettings, Settings
from infra.tables import audit_events
from tasks.audit_bodies import PAGE
from tasks.audit_verify import verify_log
from tests.bench import evidence, memory, tables, turns
from tests.bench.arguments import OUT, Names, Out, Rounds, Sizes
from tests.servers import postgresql

app = cyclopts.App(name="audit_verify", help=__doc__)
DATABASES = ("sqlite", "postgresql")
GOAL = 47_000  # events a second
MOST_GROWTH = 16.0  # megabytes, from the smallest log to the largest
AT_ONCE = 2_000  # events a transaction, while the log is made
COLUMNS = {
    "database": "database",
    "events": "events",
    "bytes": "bytes_an_event",
    "verify, events/s": "verify_events_a_second",
    "a CPU second": "verify_events_a_cpu_second",
    "read": "read_events_a_second",
    "hash": "hash_events_a_second",
    "read / verify": "times_reading",
    "hash / verify": "times_hashing",
    "peak MB": "peak_mb",
    "above loaded": "above_mb",
}


@app.default
def main(
    *,
    database: Names = DATABASES,
    events: Annotated[Sizes, cyclopts.Parameter(help="Sizes of the log, each one larger.")] = (
        100_000,
        1_000_000,
    ),
    rounds: Rounds = 3,
    goal: Annotated[float, cyclopts.Parameter(help="Events a second, of the largest log.")] = GOAL,
    out: Out = OUT,
) -> int:
    """Print one table, write audit_verify.json; exit code 1 if the goal is missed, or memory grows with the log."""
    before = evidence.begin()
    rows: list[dict[str, Any]] = []
    for name in database:
        if name == "postgresql" and (reason := postgresql.missing()):
            print(f"not measured: {reason}")
            continue
        with _place(name) as (url, folder):
            rows += [_measured(url, folder, size, rounds) for size in sorted(events)]
    tables.show("verifying the whole audit log", rows, COLUMNS)
    missed = list(_missed(rows, goal))
    for problem in missed:
        Console().print(problem)
    evidence.write(out / "audit_verify.json", before, {"goal": goal, "missed": missed, "rows": rows})
    return int(bool(missed))


def _missed(rows: list[dict[str, Any]], goal: float) -> Iterator[str]:
    for name in dict.fromkeys(row["database"] for row in rows):
        of_it = [row for row in rows if row["database"] == name]
        if of_it[-1]["verify_events_a_second"] < goal:
            yield f"{name}: fewer than {goal:,.0f} events/s at {of_it[-1]['events']:,} events"
        if (grown := of_it[-1]["above_mb"] - of_it[0]["above_mb"]) > MOST_GROWTH:
            yield f"{name}: {grown:,.0f} MB more for the largest log than for the smallest"


@contextmanager
def _place(name: str) -> Iterator[tuple[str, str]]:
    """An empty database, and a folder for what belongs to it."""
    with tempfile.TemporaryDirectory(prefix="fwd2bot-audit-verify-") as folder:
        if name == "sqlite":
            yield f"sqlite:///{folder}/ledger.sqlite", folder
            return
        with postgresql.postgresql() as server:
            yield server.make_database(), folder


def _measured(url: str, folder: str, size: int, rounds: int) -> dict[str, Any]:
    _fill(url, folder, size)
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(measure, (url, folder, rounds))


def _fill(url: str, folder: str, size: int) -> None:
    """Let the log grow to ``size`` events, sign and anchor it."""
    with opened(_settings(url, folder)) as house:
        there = _size(house.ledger)
        missing = size - there - (there == 0)  # the key's own event comes with the first checkpoint
        for start in range(0, missing, AT_ONCE):
            made = [_event(number) for number in range(start, min(start + AT_ONCE, missing))]
            with house.ledger.write() as connection:
                audit_log.append_all(connection, made)
        sign_checkpoint(house, reason="bench")


def measure(url: str, folder: str, rounds: int) -> dict[str, Any]:
    """One row of the table; run in a process of its own."""
    with opened(_settings(url, folder)) as house:
        size = _size(house.ledger)
        some = _some_bodies(house.ledger)
        loaded = memory.resident("VmHWM")

        def verify() -> None:
            found = verify_log(house)
            if found.findings or (found.events, found.anchored_to) != (size, size):
                raise SystemExit(f"the log is not what it should be: {found}")

        begun = time.process_time()
        verify()
        used = time.process_time() - begun
        peak = memory.resident("VmHWM")  # before the other ways add to it
        ways = {
            "verify": verify,
            "read": lambda: _read(house.ledger, size),
            "hash": lambda: _hash(some, size),
        }
        return _row(ways, rounds, size, some) | {
            "database": house.ledger.engine.dialect.name,
            "verify_events_a_cpu_second": round(size / used),
            "peak_mb": round(peak),
            "above_mb": round(peak - loaded, 1),
        }


def _row(ways: dict[str, Callable[[], None]], rounds: int, size: int, some: list[bytes]) -> dict[str, Any]:
    taken = turns.in_turns(ways, rounds)
    rates = {f"{name}_events_a_second": round(size / median(seconds)) for name, seconds in taken.items()}
    return rates | {
        "events": size,
        "bytes_an_event": round(sum(map(len, some)) / len(some)),
        "times_reading": turns.times_faster(taken, "verify", "read"),
        "times_hashing": turns.times_faster(taken, "verify", "hash"),
        "seconds": {name: [round(value, 3) for value in seconds] for name, seconds in taken.items()},
    }


def _read(ledger: Ledger, size: int) -> None:
    page = sa.text("SELECT body FROM audit_events WHERE seq >= :first AND seq < :last ORDER BY seq")
    for first in range(0, size, PAGE):
        with ledger.read() as connection:
            for (body,) in connection.execute(page, {"first": first, "last": first + PAGE}).all():
                hashlib.sha256(b"\x00" + body).digest()


def _hash(some: list[bytes], size: int) -> None:
    for number in range(size):
        hashlib.sha256(b"\x00" + some[number % len(some)]).digest()


def _size(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(audit_events)).scalar_one()


def _some_bodies(ledger: Ledger) -> list[bytes]:
    with ledger.read() as connection:
        bodies = connection.execute(sa.select(audit_events.c.body).order_by(audit_events.c.seq).limit(PAGE))
        return list(bodies.scalars())


def _event(number: int) -> Event:
    """Of the length that nights write, about 550 bytes."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Event(
        type="batch.committed",
        occurred_at=audit_log.now(),
        actor=Actor(digest, "scheduler"),
        run_id=f"night-{number // 1000}",
        collection=digest,
        compressor=digest,
        after={"batch_id": digest[:32], "rows": 1000, "rejected": 0},
    )


def _settings(url: str, folder: str) -> Settings:
    vault = Path(folder) / "vault"
    vault.mkdir(exist_ok=True)
    anchors = {"vault": AnchorSettings(kind="directory", place=str(vault))}
    return Settings(
        archive=ArchiveSettings(store=f"{folder}/archive", ledger=url),
        collections={"bench": CollectionSettings(originals="memory://bench")},
        audit=AuditSettings(key=f"{folder}/audit-key", anchors=anchors),
        execution={"executor": "inline"},
    )


if __name__ == "__main__":
    raise SystemExit(app())
