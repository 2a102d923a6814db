"""Where a ledger and an archive lie, read without the product's code: by sqlite3 or psycopg, as files or by boto3.

Knows nothing about what must hold there.
"""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

State = tuple[str, int, object]  # sha256, when it was written, and what a rewritten one would not share


class Ledger(Protocol):
    """A SQL database. Questions are the standard's."""

    def ask(self, question: str) -> list[Any]: ...
    def has(self, table: str) -> bool: ...


class Objects(Protocol):
    """Objects by their path in the archive."""

    def paths(self) -> list[str]: ...
    def read(self, path: str) -> bytes: ...
    def state(self, path: str) -> State | None: ...


@dataclass(frozen=True)
class SqliteFile:
    """A ledger in one file."""

    file: Path

    def ask(self, question: str) -> list[Any]:
        connection = sqlite3.connect(self.file, timeout=60)
        try:
            return connection.execute(question).fetchall()
        finally:
            connection.close()

    def has(self, table: str) -> bool:
        named = f"SELECT 1 FROM sqlite_master WHERE name = '{table}'"
        return self.file.exists() and bool(self.ask(named))


@dataclass(frozen=True)
class PostgresDatabase:
    """A ledger in a database; ``url`` as libpq takes it."""

    url: str

    def ask(self, question: str) -> list[Any]:
        import psycopg

        with psycopg.connect(self.url, connect_timeout=10) as connection:
            return list(connection.execute(question))  # type: ignore[call-overload]

    def has(self, table: str) -> bool:
        return bool(self.ask(f"SELECT 1 FROM information_schema.tables WHERE table_name = '{table}'"))


@dataclass(frozen=True)
class Folder:
    """An archive on a file system."""

    root: Path

    def paths(self) -> list[str]:
        return [str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()]

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def state(self, path: str) -> State | None:
        file = self.root / path
        if not file.is_file():
            return None
        status = file.stat()
        return hashlib.sha256(file.read_bytes()).hexdigest(), status.st_mtime_ns, status.st_ino


@dataclass(frozen=True)
class Bucket:
    """An archive below a prefix of a bucket; ``client`` is boto3's."""

    client: Any
    name: str
    prefix: str  # ends in a slash

    def paths(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.prefix)
        return [
            found["Key"].removeprefix(self.prefix) for page in pages for found in page.get("Contents", [])
        ]

    def read(self, path: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=self.prefix + path)["Body"].read())

    def state(self, path: str) -> State | None:
        try:
            found = self.client.get_object(Bucket=self.name, Key=self.prefix + path)
        except self.client.exceptions.NoSuchKey:
            return None
        written = int(found["LastModified"].timestamp())
        return hashlib.sha256(found["Body"].read()).hexdigest(), written, found["ETag"]


def ledger_at(place: Path | Ledger) -> Ledger:
    return SqliteFile(place) if isinstance(place, Path) else place


def objects_at(place: Path | Objects) -> Objects:
    return Folder(place) if isinstance(place, Path) else place
