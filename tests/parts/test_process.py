"""Processes that outlive their starter are found again, and nobody else is taken for them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.parts.process import Process, members

PARENT = (
    "import subprocess, sys, time; "
    "sleep = [sys.executable, '-c', 'import time; time.sleep(600)']; "
    "[subprocess.Popen(sleep, start_new_session=own) for own in (0, 1)]; "
    "print('there', flush=True); time.sleep(600)"
)


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process("sleeper", tmp_path, [sys.executable, "-c", PARENT], dict(os.environ))


def started(process: Process) -> psutil.Process:
    process.start()
    while "there" not in process.log.read_text():
        time.sleep(0.01)
    found = process.found()
    assert found is not None
    return found


def test_it_is_found_by_who_did_not_start_it_and_stops_with_its_children(process: Process) -> None:
    pid = started(process).pid
    again = Process(process.name, process.folder)
    below = psutil.Process(pid).children()
    assert (again.found(), len(below)) == (psutil.Process(pid), 2)
    assert len(list(members(pid))) == 2
    assert os.getsid(pid) == pid
    assert again.stop()
    assert [one for one in [*below, *members(pid)] if one.is_running()] == []
    assert not again.lives()
    assert not again.stop()


def test_one_that_was_killed_is_not_there(process: Process) -> None:
    found = started(process)
    below = found.children()
    assert process.kill() == found.pid
    assert not process.lives()
    assert all(one.is_running() for one in below)
    for left in below:
        left.kill()


def test_another_process_with_its_number_is_left_alone(process: Process, tmp_path: Path) -> None:
    (tmp_path / "sleeper.pid").write_text(f"{os.getpid()} 1.0")
    assert process.found() is None
    assert not process.stop()
    assert psutil.pid_exists(os.getpid())
