"""Walking a folder without holding it: every file below a root, as it is met.

Knows what the operating system says of an entry. Knows nothing of reading or writing one.
"""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH116

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from infra.objects.file_names import is_temporary, segment_of
from infra.objects.protocol import ObjectInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Entries(Protocol):
    """What ``os.scandir`` returns: entries, and a way to stop early."""

    def __next__(self) -> os.DirEntry[bytes]: ...
    def __iter__(self) -> _Entries: ...
    def close(self) -> None: ...


_Level = tuple[_Entries, str]  # the rest of a folder, and what its keys start with


def describe(key: str, status: os.stat_result) -> ObjectInfo:
    """What a file's status says of the object."""
    return ObjectInfo(
        key=key,
        size=status.st_size,
        etag=f"{status.st_mtime_ns}-{status.st_size}",
        version=None,
        modified=_instant(status.st_mtime_ns),
    )


def walk(folder: bytes, key_prefix: str, prefix: str, *, root: bytes) -> Iterator[ObjectInfo]:
    """Objects whose key starts with ``prefix``, depth first.

    All keys in ``folder`` start with ``key_prefix``. Holds one open folder a level. ``root`` ends in a slash.
    A folder that vanishes under way is skipped; raises ``PermissionError`` for one that may not be read.
    """
    levels: list[_Level] = []
    try:
        _descend(levels, folder, key_prefix)
        while levels:
            entries, above = levels[-1]
            entry = next(entries, None)
            if entry is None:
                levels.pop()
                continue
            key = above + segment_of(entry.name)
            if entry.is_dir(follow_symlinks=False):
                if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                    _descend(levels, entry.path, f"{key}/")
            elif key.startswith(prefix) and not is_temporary(entry.name):
                info = _describe_entry(entry, key, root)
                if info is not None:
                    yield info
    finally:
        for entries, _ in levels:  # an exhausted one has closed itself
            entries.close()


def _descend(levels: list[_Level], folder: bytes, key_prefix: str) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        levels.append((os.scandir(folder), key_prefix))


def _describe_entry(entry: os.DirEntry[bytes], key: str, root: bytes) -> ObjectInfo | None:
    """None for what is no object here: gone already, or a link to a folder whose files are listed anyway."""
    try:
        own = entry.stat(follow_symlinks=False)
        if not stat.S_ISLNK(own.st_mode):
            return describe(key, own)
    except FileNotFoundError:
        return None
    except PermissionError:
        return ObjectInfo(key=key, size=0, etag="unreadable", version=None, modified=_EPOCH)
    target = os.path.realpath(entry.path)
    if not (target + b"/").startswith(root):
        return describe(key, own)
    try:
        there = os.stat(target)
    except OSError:
        return describe(key, own)
    return None if stat.S_ISDIR(there.st_mode) else describe(key, there)


def _instant(nanoseconds: int) -> datetime:
    """A file's time can be anything; what no calendar holds becomes the epoch."""
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return _EPOCH
