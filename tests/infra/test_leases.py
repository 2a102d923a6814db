"""Who may commit: one holder a slot, taken over when it is dead, never by accident."""

from __future__ import annotations

import builtins
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
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
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
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
def other_process(ledger: Ledger, ledger_url: str) -> Iterator[subprocess.Popen[str]]:
    """A real process that holds the slot and lives."""
    program = f"""
from infra import leases; from infra.database import open_ledger
ledger = open_ledger({ledger_url!r})
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
    machine, _, started = row(ledger).process.rpartition("/")
    alter(
        ledger, process=f"{machine}/{int(started) - 1}"
    )  # this very pid, but of a process that started earlier
    assert take(ledger, "second").predecessor == "first"


def test_a_process_is_named_by_what_no_clock_can_change(ledger: Ledger) -> None:
    """The kernel counts ticks since the boot: setting the wall clock renames nobody."""
    take(ledger, "first")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    namespace = Path("/proc/self/ns/pid").readlink()
    (ticks,) = re.findall(r"\) [RSD] (?:-?\d+ ){18}(\d+) ", Path("/proc/self/stat").read_text())
    assert row(ledger).process == f"{boot}/{namespace}/{os.getpid()}/{ticks}"


def test_a_clock_that_is_set_while_the_holder_works_changes_nothing(
    ledger: Ledger, other_process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As programs see it that reckon a start time from the time of the boot, which the kernel moves with the clock."""
    plain = Path.read_text
    real_open = builtins.open

    def moved(text: str) -> str:
        return re.sub(r"btime (\d+)", lambda found: f"btime {int(found[1]) + 86_400}", text)

    def opening(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file) == "/proc/stat":
            with real_open("/proc/stat") as stat:
                text = moved(stat.read())
            binary = "b" in (args[0] if args else kwargs.get("mode", "r"))
            return io.BytesIO(text.encode()) if binary else io.StringIO(text)
        return real_open(file, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", lambda self, *args, **kwargs: moved(plain(self, *args, **kwargs)))
    monkeypatch.setattr(builtins, "open", opening)
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    with pytest.raises(LeaseHeld):
        take(ledger, "mine")


ELSEWHERE = {
    "another boot": lambda holder: "7" + holder.process[1:],
    "another container": lambda holder: holder.process.replace("pid:[", "pid:[9"),
    "no /proc there": lambda holder: "",
}


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request: pytest.FixtureRequest, ledger: Ledger) -> str:
    """A holder whose process number says nothing here: on a host of the same name there is none of that number."""
    take(ledger, "first")
    process = ELSEWHERE[request.param](row(ledger))
    assert process != row(ledger).process
    alter(ledger, pid=2**22, process=process)  # above every number that Linux gives
    return str(request.param)


@pytest.mark.parametrize("seconds", [0, 59])
def test_a_holder_elsewhere_is_believed_for_its_leases_time(
    ledger: Ledger, elsewhere: str, seconds: float
) -> None:
    silent_for(ledger, seconds)
    with pytest.raises(LeaseHeld, match="process 4194304"):
        take(ledger, "second")


@pytest.mark.parametrize(
    "seconds", [61, 10**8, -61, -(10**8)], ids=["silent", "long", "clock back", "far back"]
)
def test_silence_and_a_jumped_clock_both_free_the_slot(
    ledger: Ledger, elsewhere: str, seconds: float
) -> None:
    silent_for(ledger, seconds)
    assert take(ledger, "second").predecessor == "first"


def test_a_living_process_that_is_silent_for_too_long_is_succeeded_too(ledger: Ledger) -> None:
    take(ledger, "first")
    silent_for(ledger, 61)
    assert take(ledger, "second").predecessor == "first"


def test_where_processes_cannot_be_told_apart_nobody_is_declared_dead(
    ledger: Ledger, other_process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No boot id and no namespace to be read: two such machines must not take each other for one."""
    monkeypatch.setattr(leases, "_machine", lambda: "")
    assert leases._process(os.getpid()) == ""
    other_process.kill()
    other_process.wait()
    with pytest.raises(LeaseHeld):
        take(ledger, "mine")
    silent_for(ledger, 61)
    assert take(ledger, "mine").predecessor == "other"


def test_a_name_that_looks_like_the_kernels_fields_is_only_a_name(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(ledger, "first")
    stat = Path("/proc/self/stat").read_text()
    start, end = stat.index("("), stat.rindex(")")
    hostile = f"{stat[: start + 1]}a) Z 1 (b){stat[end:]}"
    monkeypatch.setattr(Path, "read_text", lambda self: hostile)
    leases._machine()  # was read before, and is kept
    with pytest.raises(LeaseHeld):
        take(ledger, "second")


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
