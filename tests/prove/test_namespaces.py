"""Hosts in network namespaces reach each other until a cable is pulled, and again when it is back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.prove.namespaces import Host, hosts, missing

_ASK = "import socket, sys; socket.create_connection((sys.argv[1], 9), timeout=float(sys.argv[2]))"


def reaches(one: Host, other: Host, *, seconds: float) -> bool:
    """A closed port of a host that is there refuses at once; one that is not there says nothing."""
    done = subprocess.run(
        one.on(sys.executable, "-c", _ASK, other.address, str(seconds)),
        capture_output=True,
        text=True,
        check=False,
    )
    return "ConnectionRefusedError" in done.stderr


def test_a_cable_is_pulled_and_put_back() -> None:
    if reason := missing():
        pytest.skip(reason)
    with hosts(["try-1", "try-2"]) as there:
        one, two = there.values()
        assert reaches(one, two, seconds=5)
        two.plug(False)
        assert not reaches(one, two, seconds=0.3)
        two.plug(True)
        assert reaches(one, two, seconds=5)
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert "f2b-try" not in left
