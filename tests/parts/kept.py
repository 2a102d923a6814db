"""What a plant keeps from one start to the next: its ports and its secrets, in one file for this user alone.

Knows names and numbers. Knows nothing about what listens there.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.servers import seaweedfs

FILE = "kept.json"
PORTS = [*seaweedfs.PORTS, "database", "scheduler", "prefect"]


@dataclass(frozen=True)
class Kept:
    """Ports of loopback by name, and who may come in."""

    ports: dict[str, int]
    s3_key: str = field(default_factory=lambda: secrets.token_hex(10))
    s3_secret: str = field(default_factory=lambda: secrets.token_hex(20), repr=False)
    database_password: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    prefect_auth: str = field(default_factory=lambda: f"night:{secrets.token_hex(16)}", repr=False)


def kept(folder: Path) -> Kept:
    """That of before, or a new one: ports that are free just now."""
    file = folder / FILE
    if file.exists():
        return Kept(**json.loads(file.read_text()))
    made = Kept(seaweedfs.free_ports(PORTS))
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(asdict(made), out, indent=1)
    return made
