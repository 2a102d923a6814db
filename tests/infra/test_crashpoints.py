"""The step that a test asks for kills the process, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.crashpoints import BACKFILL_STEPS, DESTROY_STEPS, DRIVER_STEPS, VARIABLE, WORKER_STEPS

ROOT = Path(__file__).parents[2]
PROGRAM = (
    "from infra.crashpoints import reach\nfor step in 'abab': reach(step); print(step, end='', flush=True)"
)


def run(wanted: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, VARIABLE: wanted},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout, done.returncode


@pytest.mark.parametrize(
    ("wanted", "got_to"), [("a", ""), ("b", "a"), ("a#2", "ab"), ("b#2", "aba"), ("a#3", None), ("c", None)]
)
def test_it_dies_there_by_sigkill(wanted: str, got_to: str | None) -> None:
    assert run(wanted) == (("abab", 0) if got_to is None else (got_to, -signal.SIGKILL))


def test_with_a_marker_it_dies_once(tmp_path: Path) -> None:
    marker = tmp_path / "died"
    assert run(f"b@{marker}") == ("a", -signal.SIGKILL)
    assert marker.exists()
    assert run(f"b@{marker}") == ("abab", 0)


def test_every_named_step_is_reached_somewhere() -> None:
    source = "".join(
        path.read_text() for floor in ("infra", "tasks") for path in (ROOT / floor).rglob("*.py")
    )
    every = DRIVER_STEPS + WORKER_STEPS + BACKFILL_STEPS + DESTROY_STEPS
    assert [step for step in every if f'reach("{step}")' not in source] == []
