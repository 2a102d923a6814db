"""Who may commit: one holder a slot, taken over when it is dead, never by accident."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import LeaseHeld, LeaseLost
from infra import leases
from infra.database import Ledger, open_ledger
from infra.leases import Lease
from infra.tables import UtcDateTime
from infra.tables import leases as table

SLOT = "collection:line-1"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    yield opened
    opened.close()


def take(ledger: Ledger, run_id: str, *, seconds: float = 60, slot: str = SLOT) -> Lease:
    with ledger.write() as connection:
        return leases.take(connection, ledger, slot, run_id, seconds)


def row(ledger: Ledger) -> Any:
    with ledger.read() as connection:
        return connection.execute(sa.select(table)).one()


def alter(ledger: Ledger, **values: Any) -> None:
    with ledger.write() as connection:
        connection.execute(table.update().values(**values))


def check(ledger: Ledger, lease: Lease) -> None:
    with ledger.write() as connection:
        leases.check(connection, lease)


def release(ledger: Ledger, lease: Lease) -> None:
    with ledger.write() as connection:
        leases.release(connection, lease)


def silent_for(ledger: Ledger, seconds: float) -> None:
    """As if the holder had last been heard of so long ago; negative: in the future."""
    with ledger.read() as connection:
        now = connection.execute(sa.select(sa.type_coerce(ledger.now(connection), UtcDateTime))).scalar_one()
    alter(ledger, renewed_at=now - timedelta(seconds=seconds))


@pytest.fixture
def other_process(ledger: Ledger, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A real process that holds the slot and lives."""
    program = f"""
from infra import leases; from infra.database import open_ledger
ledger = open_ledger("sqlite:///{tmp_path}/ledger.sqlite")
with ledger.write() as connection: leases.take(connection, ledger, {SLOT!r}, "other", 60)
print("taken", flush=True); input()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    yield process
    process.kill()
    process.communicate()


def test_a_free_slot_is_taken_and_names_its_holder(ledger: Ledger) -> None:
    lease = take(ledger, "first")
    assert lease == Lease(SLOT, "first", 1)
    assert lease.predecessor is None
    found = row(ledger)
    assert (found.run_id, found.host, found.pid, found.seconds) == (
        "first",
        socket.gethostname(),
        os.getpid(),
        60,
    )
    check(ledger, lease)


def test_a_living_holder_keeps_it_and_the_other_learns_why(ledger: Ledger) -> None:
    take(ledger, "first")
    with pytest.raises(
        LeaseHeld, match=rf"run first \(process {os.getpid()} on .* s ago\) is working on {SLOT}"
    ):
        take(ledger, "second")
    assert row(ledger).fencing == 1


def test_slots_do_not_disturb_each_other(ledger: Ledger) -> None:
    take(ledger, "first")
    assert take(ledger, "second", slot="collection:line-2").fencing == 1


def test_a_living_process_holds_it_against_another(
    ledger: Ledger, other_process: subprocess.Popen[str]
) -> None:
    with pytest.raises(LeaseHeld, match=f"process {other_process.pid} "):
        take(ledger, "mine")


def test_a_killed_process_is_succeeded_at_once(ledger: Ledger, other_process: subprocess.Popen[str]) -> None:
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    lease = take(ledger, "mine")
    assert (lease.fencing, lease.predecessor) == (2, "other")


def test_a_killed_process_that_nobody_waited_for_is_dead_too(
    ledger: Ledger, other_process: subprocess.Popen[str]
) -> None:
    other_process.send_signal(signal.SIGKILL)
    while psutil.Process(other_process.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    assert take(ledger, "mine").predecessor == "other"


def test_a_reused_process_number_is_not_the_holder(ledger: Ledger) -> None:
    take(ledger, "first")
    alter(ledger, process_started="12.34")  # this very pid, but of a process that started at another time
    assert take(ledger, "second").predecessor == "first"


@pytest.mark.parametrize("seconds", [0, 59])
def test_a_holder_on_another_host_is_believed_for_its_leases_time(ledger: Ledger, seconds: float) -> None:
    take(ledger, "first")
    alter(ledger, host="elsewhere")
    silent_for(ledger, seconds)
    with pytest.raises(LeaseHeld, match="elsewhere"):
        take(ledger, "second")


@pytest.mark.parametrize(
    "seconds", [61, 10**8, -61, -(10**8)], ids=["silent", "long", "clock back", "far back"]
)
def test_silence_and_a_jumped_clock_both_free_the_slot(ledger: Ledger, seconds: float) -> None:
    take(ledger, "first")
    alter(ledger, host="elsewhere")
    silent_for(ledger, seconds)
    assert take(ledger, "second").predecessor == "first"


def test_the_old_holder_commits_nothing_after_a_takeover(ledger: Ledger) -> None:
    first = take(ledger, "first")
    silent_for(ledger, 61)
    second = take(ledger, "second")
    assert second.fencing > first.fencing
    with pytest.raises(LeaseLost, match="run first was silent for so long"):
        check(ledger, first)
    with pytest.raises(LeaseLost):
        leases.renew(ledger, first)
    check(ledger, second)


def test_a_released_slot_is_free_and_its_number_still_grows(ledger: Ledger) -> None:
    release(ledger, take(ledger, "first"))
    second = take(ledger, "second")
    assert (second.fencing, second.predecessor) == (2, None)


def test_releasing_late_does_not_take_it_from_the_successor(ledger: Ledger) -> None:
    first = take(ledger, "first")
    silent_for(ledger, 61)
    second = take(ledger, "second")
    release(ledger, first)
    check(ledger, second)
    assert row(ledger).run_id == "second"


def test_releasing_twice_is_harmless(ledger: Ledger) -> None:
    lease = take(ledger, "first")
    release(ledger, lease)
    release(ledger, lease)
    assert row(ledger).run_id is None


def wait_until(condition: Any) -> None:
    """The test's own timeout is the limit."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.01)


def test_the_heartbeat_renews_until_the_block_ends(ledger: Ledger) -> None:
    lease = take(ledger, "first")
    before = row(ledger).renewed_at
    with leases.heartbeat(ledger, lease, 0.04):
        wait_until(lambda: row(ledger).renewed_at > before)
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat-first"]


def test_the_heartbeat_ends_when_the_lease_is_lost(ledger: Ledger) -> None:
    lease = take(ledger, "first")
    with leases.heartbeat(ledger, lease, 0.04):
        alter(ledger, fencing=5, run_id="second")
        wait_until(lambda: not [t for t in threading.enumerate() if t.name == "heartbeat-first"])
    assert row(ledger).run_id == "second"


def test_the_heartbeat_survives_a_stumbling_ledger(tmp_path: Path) -> None:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite", busy_seconds=0.01)
    lease = take(ledger, "first")
    with leases.heartbeat(ledger, lease, 0.04):
        with ledger.write():
            threading.Event().wait(0.2)  # longer than several beats wait
        held = row(ledger).renewed_at
        wait_until(lambda: row(ledger).renewed_at > held)
    ledger.close()
