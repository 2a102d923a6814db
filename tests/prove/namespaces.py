"""Several hosts on one machine: network namespaces with an address each, plugged into a switch of their own.

Nothing is added to the machine's own network. A cable can be pulled and put back. Needs root and iproute2. Knows
nothing about what runs on the hosts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

NET = "10.77.0"
_SWITCH = "f2b-switch"


@dataclass(frozen=True)
class Host:
    """One namespace and its address."""

    name: str
    address: str

    @property
    def namespace(self) -> str:
        return f"f2b-{self.name}"

    def on(self, *words: str | os.PathLike[str]) -> list[str]:
        """A command line that runs ``words`` there."""
        return ["ip", "netns", "exec", self.namespace, *map(str, words)]

    def plug(self, into: bool) -> None:
        """Put its cable into the switch, or pull it."""
        _ip("-n", _SWITCH, "link", "set", f"to-{self.name}", "up" if into else "down")


def missing() -> str | None:
    """What keeps this machine from having hosts in it; None: nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root: run it as root, or in a container with CAP_SYS_ADMIN and CAP_NET_ADMIN"
    if shutil.which("ip") is None:
        return "network namespaces need the program `ip`: apt-get install iproute2"
    tried = subprocess.run(["ip", "netns", "add", "f2b-try"], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespace can be made here: {tried.stderr.strip()}"
    _ip("netns", "del", "f2b-try")
    return None


@contextmanager
def hosts(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Hosts by name, connected, for the length of the block. Whatever runs in them then must have ended."""
    made = {name: Host(name, f"{NET}.{number}") for number, name in enumerate(names, start=10)}
    with ExitStack() as undo:
        _namespace(_SWITCH, undo)
        _ip("-n", _SWITCH, "link", "add", "bridge", "type", "bridge")
        _ip("-n", _SWITCH, "link", "set", "bridge", "up")
        for host in made.values():
            _namespace(host.namespace, undo)
            _connect(host)
        yield made


def _namespace(name: str, undo: ExitStack) -> None:
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)  # of a run that was killed
    _ip("netns", "add", name)
    undo.callback(_ip, "netns", "del", name)
    _ip("-n", name, "link", "set", "lo", "up")


def _connect(host: Host) -> None:
    port = f"to-{host.name}"
    _ip("-n", _SWITCH, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
    _ip("-n", _SWITCH, "link", "set", port, "master", "bridge", "up")
    _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
    _ip("-n", host.namespace, "link", "set", "eth0", "up")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
