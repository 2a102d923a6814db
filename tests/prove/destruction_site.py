"""Originals on a real S3 server that may go, a process of its own that destroys them, and what must hold.

What is still there is asked of the server's own client, and what is said of it of the database in plain SQL; only the
log is verified by the product itself. Knows nothing of which cases there are.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import Fwd2BotError
from infra.checkpoints import sign_checkpoint
from infra.crashpoints import VARIABLE
from tasks.audit_verify import verify_log
from tasks.destroy import execute
from tests.servers.seaweedfs import S3Server
from tests.tasks.disposals import World, make_world

PHOTOS = 6
LIST = "list-1"  # as the world names its first one
PATIENCE = 300.0  # seconds for one command
ENDS = (0, 3, 4, -9)  # in which a command may end here: well, to be asked again, blocked, killed
_STATES = sa.text("SELECT state, count(*) FROM disposition_items GROUP BY state")
_INTENTS = sa.text(
    "SELECT v.identity, i.intent_seq FROM disposition_items i JOIN object_versions v ON v.id = i.object_version_id "
    "WHERE i.intent_seq IS NOT NULL"
)
_SAID_GONE = sa.text(
    "SELECT v.identity, c.intent_seq, c.confirmed_seq, v.destroyed_seq FROM object_versions v "
    "LEFT JOIN certificates c ON c.object_version_id = v.id WHERE v.destroyed_seq IS NOT NULL"
)
_EVENTS = sa.text("SELECT seq, type, body FROM audit_events WHERE type LIKE 'destruction.%' ORDER BY seq")
_fresh = itertools.count()


@dataclass
class Site:
    """One list of ``PHOTOS`` originals that may all go."""

    world: World
    server: S3Server
    bucket: str
    exits: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def destroy(self, crash_at: str | None = None) -> int:
        """A dry run here, and what it showed by a process of its own, or any token where nothing may go any more; how
        that one ended."""
        try:
            token = execute(self.world.house, LIST).token
        except Fwd2BotError:
            token = "none"
        words = ("disposition", "run", LIST, "--yes", token, "--json", "--config")
        done = subprocess.run(
            [sys.executable, "-m", "tests.prove.destruction_child", *words, self.world.root / "fwd2bot.toml"],
            env=os.environ | ({VARIABLE: crash_at} if crash_at else {}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.exits.append(done.returncode)
        if done.returncode not in ENDS:
            self._wrong(f"the run ended with {done.returncode}: {done.stderr[-300:]}")
        return done.returncode

    def look(self) -> None:
        """What must hold at any moment, such as when a process has just been killed."""
        there, last = self.present(), self._outside()
        for identity, seq in self._ask(_INTENTS):
            if identity not in there and seq >= last:
                self._wrong(
                    f"{identity} is gone, and its intent {seq} lies beyond what is kept outside ({last})"
                )
        intended = {identity for identity, _ in self._ask(_INTENTS)}
        for identity in self.listed - there - intended:
            self._wrong(f"{identity} is gone without an intent")
        for identity, intent, confirmed, destroyed in self._ask(_SAID_GONE):
            if identity in there:
                self._wrong(f"{identity} is said to be destroyed, and is there")
            if intent is None or not intent < confirmed == destroyed:
                self._wrong(f"{identity}: intent {intent}, confirmed {confirmed}, destroyed {destroyed}")

    def judge(self, expected: dict[str, int]) -> None:
        """What must hold at the end: ``expected`` items in each state, what they say is so, and the log is whole."""
        self.look()
        states = {state: int(count) for state, count in self._ask(_STATES)}
        if states != expected:
            self._wrong(f"items are {states}, not {expected}")
        if (gone := len(self.listed - self.present())) != expected.get("destroyed", 0):
            self._wrong(f"{gone} versions are gone")
        ends = [
            json.loads(bytes(body)) for _, type_, body in self._ask(_EVENTS) if type_.endswith("confirmed")
        ]
        versions = [one["subject"]["object_version"] for one in ends]
        if len(versions) != len(set(versions)):
            self._wrong(f"some were destroyed twice: {versions}")
        sign_checkpoint(self.world.house, reason="test")
        self.problems += [f"the log: {one}" for one in verify_log(self.world.house).findings]

    @property
    def listed(self) -> set[str]:
        """Identities of all that the list names."""
        return {self.world.row(number).identity for number in self.world.numbers}

    def present(self) -> set[str]:
        """What the server holds, by its own client."""
        prefix = self.world.store.uri.removeprefix(f"s3://{self.bucket}/")
        client = self.server.client()
        pages = client.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=f"{prefix}/")
        found = {f"v:{one['VersionId']}" for page in pages for one in page.get("Versions", [])}
        client.close()
        return found

    def _outside(self) -> int:
        """How many events the checkpoints in the anchor's folder cover."""
        return max((int(one.name) for one in self.world.root.glob("vault/checkpoints/*")), default=0)

    def _ask(self, question: sa.TextClause) -> list[Any]:
        with self.world.house.ledger.engine.connect() as connection:
            return list(connection.execute(question))

    def _wrong(self, what: str) -> None:
        if what not in self.problems:
            self.problems.append(what)


@contextmanager
def site(folder: Path, ledger_url: str, server: S3Server, bucket: str) -> Iterator[Site]:
    """A new one; ``bucket`` has versions."""
    reached = {
        "endpoint": server.endpoint, "region": server.region, "addressing": "path", "versioned": True,
        "access_key_id": server.access_key, "secret_access_key": server.secret_key, "attempts": 2,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FWD2BOT_COLLECTIONS", json.dumps({"line-1": {"s3": reached}}))
        originals = {"originals": f"s3://{bucket}/{folder.name}-{next(_fresh)}"}
        world = make_world(folder, ledger_url, patch, photos=PHOTOS, originals=originals)
        world.list(world.numbers)
        yield Site(world, server, bucket)
        world.house.ledger.close()
