"""Checkpoints and tiles in an object store, or in a folder on other storage, in the C2SP tlog-tiles layout.

    checkpoint                        the newest one, the only object that is ever replaced
    checkpoints/00000000000000000123  each one, by size; create-only, and locked where the store has locks
    tile/...                          the tree's hashes, so that a changed event can be named; never its bodies

``checkpoint`` is for readers of that layout; nothing here believes it, since anybody could put it back. A folder is
never made: one that is gone is a disk that is not mounted. Knows nothing about signatures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.notes import MAX_NOTE_BYTES, split_note
from fwd2bot_core.audit.tiles import Tile, tiles_of
from fwd2bot_core.errors import IntegrityError, NoteInvalid, ObjectExists, StoreError
from infra.anchors.protocol import Held, Receipt, Tree
from infra.objects import ObjectInfo, ObjectStore, open_store
from infra.settings import AnchorSettings

if TYPE_CHECKING:
    from infra.objects.s3_lock import LockedS3Store

LATEST = "checkpoint"
EACH = "checkpoints/"
PROBE = "doctor/probe"
_KEY = re.compile(rf"{EACH}([0-9]{{20}})")
_THREADS = 16  # a new anchor of an old log gets many tiles
_AT_ONCE = 256  # tiles of 8 KB in memory


class StoreAnchor:
    """One store. Opened when it is first used."""

    keeps = True

    def __init__(self, name: str, given: AnchorSettings) -> None:
        self.name, self.kind, self.place = name, given.kind, given.place
        self._given = given

    def at(self, size: int) -> str:
        return self._at(key_of(size))

    def publish(self, note: str, checkpoint: Checkpoint, tree: Tree) -> Receipt:
        """The tiles first: whoever finds a checkpoint finds its tiles."""
        sizes = [size for size, _ in self._listed()]
        before = max((size for size in sizes if size <= checkpoint.size), default=0)
        self._put_tiles(tiles_of(before, checkpoint.size), tree)
        info = self._keep_note(key_of(checkpoint.size), note)
        if checkpoint.size >= max(sizes, default=0):
            self._store.replace(LATEST, note.encode())
        until = self._lock.locked_until(info) if self._lock else None
        return Receipt(self._at(info.key), info.version, until)

    def held(self) -> Iterator[Held]:
        for size, info in self._listed():
            yield self._read_back(size, info)

    def newest(self, last: str | None = None) -> list[Held]:
        listed = self._listed()
        return [self._read_back(size, info) for size, info in listed if size == listed[-1][0]]

    def read(self, path: str) -> bytes:
        return self._store.read(path)

    def examine(self) -> str:
        """One small object stays, since a locked one could not be removed; the next time it is the probe."""
        for _ in range(2):
            try:
                self._store.create(PROBE, b"fwd2bot doctor\n")
            except ObjectExists:
                break
        else:
            raise StoreError(
                f"{self.place} let a create-only put overwrite an object; do not use it as anchor"
            )
        held = len({size for size, _ in self._listed()})
        return f"{self.place} holds {held:,} checkpoints and takes create-only puts; {self._kept()}"

    @cached_property
    def _store(self) -> ObjectStore:
        if self.kind == "directory":
            return open_store(Path(self.place).as_uri())
        if self.place.startswith("s3://"):
            from infra.objects.s3_lock import LockedS3Store, Retention

            days = self._given.retain_days
            governed = self._given.retain_mode == "governance"
            retention = Retention(days, "GOVERNANCE") if governed else Retention(days)
            return LockedS3Store(self.place, self._given.s3, retention)
        return open_store(self.place)

    @property
    def _lock(self) -> LockedS3Store | None:
        """The store, if its objects can be under a lock."""
        if not self.place.startswith("s3://"):
            return None
        from infra.objects.s3_lock import LockedS3Store

        return self._store if isinstance(self._store, LockedS3Store) else None

    def _kept(self) -> str:
        if self._lock is None or not self._lock.locks:
            return "nothing but access rights keeps them there"
        if not self._given.retain_days:
            return "retain_days = 0, so they are not locked"
        return f"each is locked for {self._given.retain_days:,} days ({self._lock.retention.mode})"

    def _listed(self) -> list[tuple[int, ObjectInfo]]:
        """Smallest size first; of one size in the order in which they were put."""
        infos = self._lock.versions(EACH) if self._lock else self._store.list(EACH)
        found = ((_KEY.fullmatch(info.key), info) for info in infos)
        sizes = [(int(match[1]), info) for match, info in found if match]
        return sorted(sizes, key=lambda one: (one[0], one[1].modified))

    def _read_back(self, size: int, info: ObjectInfo) -> Held:
        place = self._at(info.key)
        if info.size > MAX_NOTE_BYTES:
            return Held(size, "", place, info.version)
        data = self._store.read(info.key, identity=info.identity if info.version else None)
        try:
            return Held(size, data.decode(), place, info.version)
        except UnicodeDecodeError:
            return Held(size, "", place, info.version)

    def _put_tiles(self, tiles: Iterator[Tile], tree: Tree) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            while some := list(islice(tiles, _AT_ONCE)):
                data = [tree.tile(*tile) for tile in some]  # from one connection, so in this thread
                list(pool.map(self._keep_tile, some, data))

    def _keep_tile(self, tile: Tile, data: bytes) -> None:
        try:
            self._store.create(tile.path, data)
        except ObjectExists:  # an earlier call was cut off here
            if self._store.read(tile.path) != data:
                raise IntegrityError(
                    f"{self._at(tile.path)} holds other hashes than the log has: the log was changed, or the tile. "
                    "Run `fwd2bot audit verify`; nothing was overwritten."
                ) from None

    def _keep_note(self, key: str, note: str) -> ObjectInfo:
        try:
            return self._store.create(key, note.encode())
        except ObjectExists:
            there = self._store.read(key).decode(errors="replace")
            if _text(there) != _text(note):
                raise IntegrityError(
                    f"{self._at(key)} holds another checkpoint of the same size than the one now signed: the log was "
                    "forked. Run `fwd2bot audit verify`; nothing was overwritten."
                ) from None
            return self._store.stat(key)

    def _at(self, key: str) -> str:
        return f"{self._store.uri.rstrip('/')}/{key}"


def key_of(size: int) -> str:
    """Where the checkpoint of that many events lies; names sort as sizes do."""
    return f"{EACH}{size:020}"


def _text(note: str) -> str | None:
    """What was signed; the same checkpoint may have been signed by an older key too."""
    try:
        return split_note(note)[0]
    except NoteInvalid:
        return None
