"""The shipped fake: an object store in this process's memory, with or without versions.

Keeps every promise of ``protocol.ObjectStore`` except surviving the process. Deterministic: ETags come from
the bytes, version ids and times from a counter. Knows nothing of files or networks.

A pickled store finds the store of the same name again in the process that made it; in another process the
same name is an empty store.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO
from weakref import WeakValueDictionary

from fwd2bot_core.errors import ObjectChanged, ObjectExists, ObjectForbidden, ObjectMissing
from infra.objects.keys import check_key, check_prefix
from infra.objects.protocol import ObjectInfo

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

_ALIVE: WeakValueDictionary[str, MemoryStore] = WeakValueDictionary()
_NAMED: dict[str, MemoryStore] = {}
_REGISTRY_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Version:
    info: ObjectInfo
    data: bytes


class MemoryStore:
    """Objects in a dictionary. Thread-safe.

    With ``versions``, every put adds a version and deleting the newest one uncovers the one before it.
    Without a ``name`` the store is one of its own that nobody else can open.
    """

    def __init__(self, name: str | None = None, *, versions: bool = False) -> None:
        self.name = name if name is not None else f"unnamed-{id(self):x}"
        self.versions = versions
        self._keys: dict[str, list[_Version]] = {}  # newest last; never empty
        self._puts = 0
        self._held: set[tuple[str, str]] = set()  # key and identity of versions under a legal hold
        self._lock = threading.Lock()
        _ALIVE[self.name] = self

    @classmethod
    def named(cls, name: str) -> MemoryStore:
        """The store of that name in this process, made at the first call and kept until the process ends."""
        with _REGISTRY_LOCK:
            return _NAMED.setdefault(name, _ALIVE.get(name) or cls(name))

    @property
    def uri(self) -> str:
        return f"memory://{self.name}"

    def __repr__(self) -> str:
        return f"MemoryStore({self.name!r}, versions={self.versions})"

    def __reduce__(self) -> tuple[Callable[[str, bool], MemoryStore], tuple[str, bool]]:
        return _find_again, (self.name, self.versions)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """In the order of the keys. Objects put while the listing runs may or may not be in it."""
        check_prefix(prefix)
        with self._lock:
            keys = sorted(key for key in self._keys if key.startswith(prefix))
        for key in keys:
            with self._lock:
                held = self._keys.get(key)
                info = held[-1].info if held else None
            if info is not None and not info.marker:
                yield info

    def stat(self, key: str) -> ObjectInfo:
        return self._newest(key).info

    def read(self, key: str, *, identity: str | None = None) -> bytes:
        if identity is None:
            return self._newest(key).data
        check_key(key)
        with self._lock:
            held = self._keys.get(key, [])
            found = next((version for version in held if version.info.identity == identity), None)
        if found is not None and not found.info.marker:
            return found.data
        raise self._gone_or_changed(key, identity)

    def read_span(self, key: str, start: int, length: int, *, identity: str) -> bytes:
        """As ``Spans``."""
        return self.read(key, identity=identity)[start : start + length]

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self._newest(key).data)

    def create(self, key: str, data: bytes) -> ObjectInfo:
        return self._put(key, data, over=False)

    def replace(self, key: str, data: bytes) -> ObjectInfo:
        return self._put(key, data, over=True)

    def sha256(self, key: str) -> str:
        return hashlib.sha256(self._newest(key).data).hexdigest()

    def delete_version(self, info: ObjectInfo) -> None:
        check_key(info.key)
        with self._lock:
            held = self._keys.get(info.key, [])
            if (info.key, info.identity) in self._held:
                raise ObjectForbidden(f"{self.uri} keeps {info.key!r} as {info.identity} under a legal hold.")
            kept = [version for version in held if version.info.identity != info.identity]
            if len(kept) < len(held):
                self._keys[info.key] = kept
                if not kept:
                    del self._keys[info.key]
                return
        raise self._gone_or_changed(info.key, info.identity)

    def set_legal_hold(self, info: ObjectInfo, on: bool) -> None:
        """As ``LegalHolds``."""
        self.read(info.key, identity=info.identity)
        with self._lock:
            change = self._held.add if on else self._held.discard
            change((info.key, info.identity))

    def versions_of(self, key: str) -> Sequence[ObjectInfo]:
        """As ``Versions``, the newest first."""
        check_key(key)
        with self._lock:
            return [version.info for version in reversed(self._keys.get(key, []))]

    def hide(self, key: str) -> ObjectInfo:
        """Put a delete marker over the newest version, as a DELETE that names no version does where there are any."""
        return self._put(key, b"", over=True, marker=True)

    def _newest(self, key: str) -> _Version:
        check_key(key)
        with self._lock:
            held = self._keys.get(key)
        if not held or held[-1].info.marker:
            raise ObjectMissing(f"{self.uri} holds no object {key!r}.")
        return held[-1]

    def _put(self, key: str, data: bytes, *, over: bool, marker: bool = False) -> ObjectInfo:
        check_key(key)
        content = bytes(data)
        with self._lock:
            held = self._keys.get(key, [])
            if held and not held[-1].info.marker and not over:
                raise ObjectExists(f"{self.uri} already holds an object {key!r}; it was left alone.")
            self._puts += 1
            version = _Version(self._describe(key, content, marker), content)
            self._keys[key] = [*held, version] if self.versions else [version]
            return version.info

    def _describe(self, key: str, content: bytes, marker: bool) -> ObjectInfo:
        return ObjectInfo(
            key=key,
            size=len(content),
            etag=hashlib.sha256(content).hexdigest()[:32],
            version=f"{self._puts:08d}" if self.versions else None,
            modified=EPOCH + timedelta(seconds=self._puts),
            marker=marker,
        )

    def _gone_or_changed(self, key: str, identity: str) -> ObjectChanged | ObjectMissing:
        with self._lock:
            held = key in self._keys
        if held and not identity.startswith("v:"):
            return ObjectChanged(
                f"{self.uri} now holds another object {key!r} than {identity}; list it again."
            )
        return ObjectMissing(f"{self.uri} no longer holds {key!r} as {identity}.")


def _find_again(name: str, versions: bool) -> MemoryStore:
    with _REGISTRY_LOCK:
        return _ALIVE.get(name) or _NAMED.setdefault(name, MemoryStore(name, versions=versions))
