"""One installation's parts on this machine: store, database, Dask, Prefect; and the settings that use them.

Everything lies in one folder: data, logs, pid files, secrets. Knows in which order parts need each other. Knows
nothing about nights.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from tests.houses import fwd2bot
from tests.parts import store
from tests.parts.cluster import Certified, Scheduler, Worker
from tests.parts.database import Database
from tests.parts.kept import Kept, kept
from tests.parts.prefect_parts import POOL, PoolWorker, Server
from tests.parts.process import Process

KEY, SECRET = "PLANT_S3_KEY", "PLANT_S3_SECRET"  # variables that hold the store's credentials


class Part(Protocol):
    """A program of the plant. ``start`` returns when it serves."""

    @property
    def process(self) -> Process: ...
    @property
    def address(self) -> str: ...
    def start(self) -> None: ...


@dataclass
class Plant:
    """``folder`` may hold one from before: then it is that one."""

    folder: Path
    workers: int = 2
    with_prefect: bool = True

    @cached_property
    def kept(self) -> Kept:
        return kept(self.folder)

    @cached_property
    def store(self) -> store.Store:
        return store.Store(self.folder / "store", self.kept)

    @cached_property
    def database(self) -> Database:
        return Database(self.folder / "database", self.kept)

    @cached_property
    def certified(self) -> Certified:
        return Certified(self.folder / "certs", self.kept.ports["scheduler"])

    @cached_property
    def scheduler(self) -> Scheduler:
        return Scheduler(self.folder / "dask", self.certified)

    @cached_property
    def dask_workers(self) -> list[Worker]:
        return [
            Worker(f"worker-{n + 1}", self.folder / "dask", self.certified, self.secrets)
            for n in range(self.workers)
        ]

    @cached_property
    def prefect(self) -> Server:
        return Server(self.folder / "prefect", self.kept, self.database)

    @cached_property
    def pool_worker(self) -> PoolWorker:
        return PoolWorker(self.folder / "prefect", self.prefect, self.secrets)

    @property
    def secrets(self) -> dict[str, str]:
        """What who reads or writes the store has in its environment."""
        return {KEY: self.kept.s3_key, SECRET: self.kept.s3_secret}

    @property
    def variables(self) -> dict[str, str]:
        """What who starts nights has in its environment."""
        return self.secrets | (self.prefect.client() if self.with_prefect else {})

    def parts(self) -> Iterator[Part]:
        """Each after those that it needs."""
        yield from (self.store, self.database, self.scheduler, *self.dask_workers)
        if self.with_prefect:
            yield from (self.prefect, self.pool_worker)

    def up(self) -> list[str]:
        """Start what is not there; the names of what was started."""
        started = []
        for part in self.parts():
            if not part.process.lives():
                part.start()
                started.append(part.process.name)
        return started

    def down(self, *, clean: bool = False) -> list[str]:
        """Stop what is there, the last first; the names of what was stopped. ``clean``: forget all data, too."""
        stopped = [part.process.name for part in reversed(list(self.parts())) if part.process.stop()]
        if clean:
            shutil.rmtree(self.folder, ignore_errors=True)
        return stopped

    def write_settings(
        self,
        file: Path,
        collection: str,
        *,
        archive: str,
        ledger: str,
        night: Mapping[str, Any],
        bundle: str = "nano",
    ) -> Path:
        """Settings of an installation on these parts, for this user alone, since the ledger's URL has a password.
        ``archive`` is a prefix in the bucket of tokens, ``ledger`` the name of a database, which is made."""
        s3 = {
            "endpoint": self.store.address,
            "region": self.store.server.region,
            "addressing": "path",
            "access_key_id_env": KEY,
            "secret_access_key_env": SECRET,
        }
        sections = {
            "archive": {
                "store": f"s3://{store.TOKENS}/{archive}",
                "ledger": self.database.make(ledger),
            },
            "archive.s3": s3,
            f"collections.{collection}": {"originals": f"s3://{store.ORIGINALS}/photos"},
            f"collections.{collection}.s3": {**s3, "versioned": True},
            "execution": {
                "executor": self.scheduler.address,
                "certificates": str(self.certified.folder),
                "workers": self.workers,
            },
            "compressor": {"bundle": bundle},
            "night": night,
            "prefect": {"pool": POOL},
        }
        write_for_me(file, _toml(sections))
        return file

    def deploy(self, config: Path, *options: str) -> None:
        """Register an installation's schedules at the plant's Prefect, by the real command."""
        done = fwd2bot("deploy", "--config", config, *options, env=self.variables)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())


def write_for_me(file: Path, text: str) -> None:
    """A file that nobody else may read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)


def _toml(sections: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
    return "\n".join(lines)
