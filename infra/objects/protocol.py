"""What the house asks of an object store, and nothing more.

Three implementations: ``file.FileStore``, ``s3.S3Store`` and ``memory.MemoryStore`` (the shipped fake).
Keys are ``/``-separated Unicode strings relative to the store's root. Every failure is a ``StoreError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object version, as a listing or a stat knows it without reading it."""

    key: str
    size: int  # bytes
    etag: str  # opaque; changes when the content does
    version: str | None  # the store's version id, where it has versions
    modified: datetime  # aware, UTC
    marker: bool = False  # a delete marker, which hides older versions and holds no bytes

    @property
    def identity(self) -> str:
        """What names this object version: its version id, or else its ETag and size."""
        return f"v:{self.version}" if self.version is not None else f"e:{self.etag}:{self.size}"


class ObjectStore(Protocol):
    """A place for objects under one root. Safe to use from many threads and to pickle (secrets travel in
    the environment, never in the pickle)."""

    @property
    def uri(self) -> str:
        """The root, as given in the settings; never holds a secret."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every current object under ``prefix``, streamed: memory stays flat. The order is the store's.

        An entry that the listing cannot stat is still yielded if its key is known; an unreadable
        directory raises ``ObjectForbidden`` and never silently hides images.
        """
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Raises ``ObjectMissing``."""
        ...

    def read(self, key: str, *, identity: str | None = None) -> bytes:
        """The whole object. With ``identity``, exactly that object version: ``ObjectChanged`` if the key
        now holds another one, also when it changes while being read; ``ObjectMissing`` if it is gone. A version
        id is read exactly, also when the key holds a newer version by now."""
        ...

    def open(self, key: str) -> BinaryIO:
        """A seekable binary reader that fetches ranges (Parquet footers, single row groups)."""
        ...

    def create(self, key: str, data: bytes) -> ObjectInfo:
        """Create-only put, atomic and durable: after it returns the object is whole and survives a crash
        of the caller. Raises ``ObjectExists`` and leaves the other object alone."""
        ...

    def replace(self, key: str, data: bytes) -> ObjectInfo:
        """Atomic put over whatever is there; for derived objects only (the manifest's pointer)."""
        ...

    def sha256(self, key: str) -> str:
        """Hex digest of the stored bytes, from the store's own verified checksum if it keeps one,
        else by reading them."""
        ...

    def delete_version(self, info: ObjectInfo) -> None:
        """Delete exactly this version. Raises ``ObjectMissing`` if it is gone already, ``ObjectForbidden`` if it
        is locked. On a store without versions raises ``ObjectChanged`` if the key holds another object now; there
        the check and the deletion are not atomic, so originals on such a store are never destroyed by policy."""
        ...


@runtime_checkable
class LegalHolds(Protocol):
    """A store that can itself refuse to delete one version, for whatever case."""

    def set_legal_hold(self, info: ObjectInfo, on: bool) -> None:
        """Raise or lower the version's one flag. Raises ``ObjectMissing``, and ``ObjectForbidden`` where the store has
        no such flags after all, or does not let us."""
        ...


@runtime_checkable
class Versions(Protocol):
    """A store that can say which versions of one key it holds, hidden ones and delete markers as well."""

    def versions_of(self, key: str) -> Sequence[ObjectInfo]:
        """Of exactly this key, in the store's order; empty if there are none."""
        ...


@runtime_checkable
class Spans(Protocol):
    """A store that reads a part of exactly one object version."""

    def read_span(self, key: str, start: int, length: int, *, identity: str) -> bytes:
        """``length`` bytes (1 or more) from ``start``, fewer at the object's end. Raises as ``ObjectStore.read``."""
        ...
