"""The plant's object store: the hardened SeaweedFS of the tests, with a folder, ports and credentials that stay."""

from __future__ import annotations

from pathlib import Path

from tests.parts.kept import Kept
from tests.parts.process import Process
from tests.servers import seaweedfs

ORIGINALS, TOKENS = "originals", "summary-tokens"


class Store:
    """``server`` says how it is reached."""

    def __init__(self, folder: Path, kept: Kept) -> None:
        self._home = folder
        self._ports = {name: kept.ports[name] for name in seaweedfs.PORTS}
        endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        self.server = seaweedfs.S3Server(endpoint, kept.s3_key, kept.s3_secret, self._ports)
        self.process = Process("store", folder)

    @property
    def address(self) -> str:
        return self.server.endpoint

    def start(self) -> None:
        """Until it takes objects, with a bucket for originals, which has versions, and one for what we make."""
        self._home.mkdir(parents=True, exist_ok=True)
        seaweedfs.sweep_sockets(self._ports)
        environment = seaweedfs.environment_of(self._home, self.server)
        words = seaweedfs.command(self._home, self._ports)
        process = Process("store", self._home, words, environment)
        process.start()
        seaweedfs.wait_until_ready(self.server, process.lives, process.log)
        seaweedfs.fsync_each_object(environment, self._home, self._ports)
        self._make_buckets()

    def _make_buckets(self) -> None:
        client = self.server.client()
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        client.close()
        for name, versioned in ((ORIGINALS, True), (TOKENS, False)):
            if name not in there:
                self.server.make_bucket(name, versioned=versioned)
