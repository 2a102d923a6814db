"""Who may commit: one lease a slot, with a fencing number that only grows.

A holder that died on this machine is recognised at once by its process; anywhere else by its silence on
the database's clock. Taking over from a holder that still lives costs work, never correctness: each
commit checks the fencing number in its own transaction. Knows nothing about what a run does.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.errors import LeaseHeld, LeaseLost, LedgerError
from infra.database import Ledger
from infra.tables import UtcDateTime, leases


@dataclass(frozen=True, slots=True)
class Lease:
    """Permission to commit for one slot, as long as no higher fencing number was given out."""

    slot: str
    run_id: str
    fencing: int
    predecessor: str | None = field(default=None, compare=False)  # the dead run it was taken from


def take(connection: sa.Connection, ledger: Ledger, slot: str, run_id: str, seconds: float) -> Lease:
    """Take a free slot, or one whose holder is dead; raises ``LeaseHeld`` and says who works there."""
    row = connection.execute(
        sa.select(leases, sa.type_coerce(ledger.now(connection), UtcDateTime).label("now"))
        .where(leases.c.slot == slot)
        .with_for_update()
    ).one_or_none()
    if row is not None and row.run_id is not None and lives(row):
        silent = max(0.0, (row.now - row.renewed_at).total_seconds())
        raise LeaseHeld(
            f"run {row.run_id} (process {row.pid} on {row.host}, last heard of {silent:.0f} s ago) is working on "
            f"{slot}. Wait for it, or watch it with `fwd2bot status`."
        )
    fencing = 1 if row is None else int(row.fencing) + 1
    mine = {
        "run_id": run_id,
        "fencing": fencing,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process": _process(os.getpid()),
        "renewed_at": ledger.now(connection),
        "seconds": max(1, round(seconds)),
    }
    if row is None:
        connection.execute(leases.insert().values(slot=slot, **mine))
    else:
        connection.execute(leases.update().where(leases.c.slot == slot).values(**mine))
    return Lease(slot, run_id, fencing, None if row is None else row.run_id)


def holders(connection: sa.Connection, ledger: Ledger) -> list[sa.Row[Any]]:
    """Every lease whose holder is alive: who works now."""
    rows = connection.execute(
        sa.select(leases, sa.type_coerce(ledger.now(connection), UtcDateTime).label("now"))
        .where(leases.c.run_id.is_not(None))
        .order_by(leases.c.slot)
    )
    return [row for row in rows if lives(row)]


def check(connection: sa.Connection, lease: Lease) -> None:
    """Inside a commit's transaction: raises ``LeaseLost`` unless this lease is still the newest."""
    fencing = connection.execute(
        sa.select(leases.c.fencing).where(leases.c.slot == lease.slot).with_for_update()
    ).scalar_one_or_none()
    if fencing != lease.fencing:
        raise LeaseLost(
            f"run {lease.run_id} was silent for so long that another run took over {lease.slot}; it commits "
            "nothing more. What it did not commit is done by the other run."
        )


def renew(ledger: Ledger, lease: Lease) -> None:
    """Say that the holder lives; raises ``LeaseLost``."""
    with ledger.write() as connection:
        check(connection, lease)
        connection.execute(
            leases.update().where(leases.c.slot == lease.slot).values(renewed_at=ledger.now(connection))
        )


def release(connection: sa.Connection, lease: Lease) -> None:
    """Give the slot back; harmless when it is already somebody else's."""
    connection.execute(
        leases.update()
        .where(leases.c.slot == lease.slot, leases.c.fencing == lease.fencing)
        .values(run_id=None)
    )


@contextmanager
def heartbeat(ledger: Ledger, lease: Lease, seconds: float) -> Iterator[None]:
    """Renew in the background while the block runs; four times in the lease's life, so that one slow
    database answer does not lose it. Losing it is found out by the next commit."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(seconds / 4):
            try:
                renew(ledger, lease)
            except LeaseLost:
                return
            except LedgerError:
                continue  # the commit will meet the same database and say so; here the next beat tries again

    thread = threading.Thread(target=beat, name=f"heartbeat-{lease.run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def lives(row: Any) -> bool:
    """Whether the holder that a lease row names is alive, by the row's ``now`` on the database's clock."""
    if _machine() and row.process.startswith(_machine()) and _process(row.pid) != row.process:
        return False
    # A clock that jumped back far must not keep a dead holder's slot for ever either.
    return bool(abs(row.now - row.renewed_at) <= timedelta(seconds=row.seconds))


def _process(pid: int) -> str:
    """Names one process of this machine for ever: boot, pid namespace, start in clock ticks since boot. A pid may
    be reused, a host name shared by containers, and the wall clock set. Empty if there is none, or no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    state, started = fields[0], fields[19]
    return "" if state == "Z" or not _machine() else f"{_machine()}{pid}/{started}"


@cache
def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return f"{boot}/{namespace}/"
