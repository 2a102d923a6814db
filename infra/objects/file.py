"""A folder as an object store: ``file:///path``.

Knows POSIX files, links and durability. Knows nothing of images, collections or what a key means.

Identity is the modification time in nanoseconds and the size. Inode number and change time are left out on
purpose: a restore, a move to another disk or a chmod changes them and would make every image of an archive
new. The limit: content rewritten to the same size by a tool that also puts back the old time (``cp -p``,
``rsync -t``), or twice within the file system's clock tick (up to 4 ms), is not seen.

Links: a link to a file inside the root is that file. A link to a folder inside the root is not followed, as
its images are listed where they are. Anything that leads out of the root is listed, so that it becomes a row
with a reason, and refused on read; so are pipes, sockets and devices, which are never opened. Whoever can
swap folders of the root for links at the very moment of a read is not defended against.
"""

# Paths are bytes here, which pathlib does not take.
# ruff: noqa: PTH102, PTH105, PTH108, PTH112, PTH116, PTH118, PTH120, PTH123

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from fwd2bot_core.errors import (
    KeyRefused,
    ObjectChanged,
    ObjectExists,
    ObjectForbidden,
    ObjectMissing,
    SettingsError,
    StoreError,
    StoreUnreachable,
)
from infra.objects.file_listing import describe, walk
from infra.objects.file_names import relative_path, temporary_name
from infra.objects.keys import check_prefix
from infra.objects.protocol import ObjectInfo

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_SUCH_KEY_POSSIBLE = {errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}


class FileStore:
    """Objects are the files below ``root``, an absolute path or a ``file://`` URI.

    Raises ``StoreUnreachable`` if the root is no folder, unless ``create_root`` is set, and ``SettingsError``
    for a relative path or another scheme.
    """

    def __init__(self, root: str | os.PathLike[str], *, create_root: bool = False) -> None:
        path = _path_of(os.fspath(root))
        self._uri = os.fspath(root) if "://" in os.fspath(root) else path.as_uri()
        if create_root:
            _make_root(path)
        self._root = os.path.realpath(os.fsencode(path))
        self._below = self._root.rstrip(b"/") + b"/"
        self._check_root()

    @property
    def uri(self) -> str:
        return self._uri

    def __repr__(self) -> str:
        return f"FileStore({self._uri!r})"

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """In the folders' own order: sorting would hold a whole folder in memory."""
        check_prefix(prefix)
        self._check_root()
        folder = prefix.rpartition("/")[0]
        start = self._below + relative_path(folder) if folder else self._root
        if folder and os.path.realpath(start) != start:
            raise KeyRefused(f"{folder!r} in {self.uri} is a link: open a store at the folder it leads to.")
        return self._listing(start, folder, prefix)

    def stat(self, key: str) -> ObjectInfo:
        path = self._resolve(key)
        with self._translated(key):
            status = os.stat(path, follow_symlinks=False)
        self._require_file(key, status)
        return describe(key, status)

    def read(self, key: str, *, identity: str | None = None) -> bytes:
        with self._translated(key), self.open(key) as file:
            before = describe(key, os.fstat(file.fileno()))
            if identity not in {None, before.identity}:
                raise self._changed(key)
            data = file.read()
            if describe(key, os.fstat(file.fileno())) != before or len(data) != before.size:
                raise self._changed(key)
        return data

    def read_span(self, key: str, start: int, length: int, *, identity: str) -> bytes:
        """As ``Spans``."""
        with self._translated(key), self.open(key) as file:
            if describe(key, os.fstat(file.fileno())).identity != identity:
                raise self._changed(key)
            file.seek(start)
            data = file.read(length)
            if describe(key, os.fstat(file.fileno())).identity != identity:
                raise self._changed(key)
        return data

    def open(self, key: str) -> BinaryIO:
        path = self._resolve(key)
        with self._translated(key):
            self._require_file(key, os.stat(path, follow_symlinks=False))  # before: opening may wake a device
            file = open(os.open(path, _READ), "rb")  # noqa: SIM115 - the caller closes it
        try:
            self._require_file(key, os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file

    def create(self, key: str, data: bytes) -> ObjectInfo:
        return self._write(key, data, over=False)

    def replace(self, key: str, data: bytes) -> ObjectInfo:
        return self._write(key, data, over=True)

    def sha256(self, key: str) -> str:
        with self._translated(key), self.open(key) as file:
            return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()

    def delete_version(self, info: ObjectInfo) -> None:
        """Raises ``KeyRefused`` for a link: removing it would leave the bytes where they are."""
        path = self._locate(info.key)
        if self._resolve(info.key) != path:
            raise KeyRefused(f"{info.key!r} in {self.uri} is or passes a link; delete it where it really is.")
        if self.stat(info.key).identity != info.identity:
            raise self._changed(info.key)
        with self._translated(info.key):
            os.unlink(path)
            _sync_folder(os.path.dirname(path))

    def _listing(self, start: bytes, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        try:
            yield from walk(start, f"{folder}/" if folder else "", prefix, root=self._below)
            self._check_root()  # a disk unmounted under way looks like folders that vanished
        except PermissionError as error:
            where = os.fsdecode(error.filename or start)
            message = (
                f"The folder {where!r} may not be read, so its images would be missed: grant access to it."
            )
            raise ObjectForbidden(message) from error
        except OSError as error:
            raise StoreError(f"Listing {self.uri} failed: {error.strerror} ({error.filename!r}).") from error

    def _write(self, key: str, data: bytes, *, over: bool) -> ObjectInfo:
        """Whole and on disk under a temporary name first, then given its own name in one step."""
        folder, name = os.path.split(self._locate(key))
        folder = os.path.realpath(folder)
        self._require_inside(key, folder)
        with self._translated(key, writing=True):
            self._make_folder(folder)
            temporary = os.path.join(folder, temporary_name())
            try:
                status = _write_to_disk(temporary, data)
                self._give_name(key, temporary, os.path.join(folder, name), over=over)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
            _sync_folder(folder)
        return describe(key, status)

    def _give_name(self, key: str, temporary: bytes, path: bytes, *, over: bool) -> None:
        if over:
            os.replace(temporary, path)
            return
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, "is a folder") from error
            raise ObjectExists(f"{self.uri} already holds an object {key!r}; it was left alone.") from error
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            message = (
                f"The disk under {self.uri} has no hard links, which create-only writing needs: use another."
            )
            raise StoreError(message) from error

    def _make_folder(self, path: bytes) -> None:
        """Never makes the root: a root that is gone is a disk that is not mounted."""
        if os.path.isdir(path):
            return
        if path == self._root:
            raise FileNotFoundError(errno.ENOENT, "the root is gone")
        self._make_folder(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        _sync_folder(os.path.dirname(path))

    def _locate(self, key: str) -> bytes:
        return self._below + relative_path(key)

    def _resolve(self, key: str) -> bytes:
        path = os.path.realpath(self._locate(key))
        self._require_inside(key, path)
        return path

    def _require_inside(self, key: str, real_path: bytes) -> None:
        if real_path != self._root and not real_path.startswith(self._below):
            raise KeyRefused(f"{key!r} in {self.uri} is a link that leads out of the store's root.")

    def _require_file(self, key: str, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise KeyRefused(
                f"{key!r} in {self.uri} is no regular file (a folder, pipe, socket, device or link)."
            )

    def _check_root(self) -> None:
        if not os.path.isdir(self._root):
            raise StoreUnreachable(
                f"There is no folder {os.fsdecode(self._root)!r} for {self.uri}: create it, mount its disk, "
                "or correct the setting."
            )

    def _changed(self, key: str) -> ObjectChanged:
        return ObjectChanged(
            f"{key!r} in {self.uri} is not what was listed, or changed while it was read: list again."
        )

    @contextlib.contextmanager
    def _translated(self, key: str, *, writing: bool = False) -> Iterator[None]:
        """The operating system's errors as ours."""
        try:
            yield
        except FileNotFoundError as error:
            self._check_root()
            raise ObjectMissing(f"{self.uri} holds no object {key!r}.") from error
        except (NotADirectoryError, IsADirectoryError) as error:
            if writing:
                raise KeyRefused(
                    f"{key!r} in {self.uri} needs a folder where a file is, or the reverse."
                ) from error
            raise ObjectMissing(f"{self.uri} holds no object {key!r}.") from error
        except PermissionError as error:
            action = "written" if writing else "read"
            raise ObjectForbidden(
                f"{key!r} in {self.uri} may not be {action}: check owner and mode."
            ) from error
        except OSError as error:
            kind = KeyRefused if error.errno in _NO_SUCH_KEY_POSSIBLE else StoreError
            raise kind(f"{key!r} in {self.uri}: {error.strerror or error}.") from error


def _path_of(root: str) -> Path:
    if "://" in root:
        parts = urlsplit(root)
        if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
            raise SettingsError(
                f"{root!r} is no folder: write file:///absolute/path ('?' as %3F, '#' as %23)."
            )
        root = unquote(parts.path, errors="surrogateescape")
    path = Path(root)
    if not path.is_absolute():
        raise SettingsError(f"The folder {root!r} is relative: write file:///absolute/path.")
    return path


def _make_root(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = (
            f"The folder {str(path)!r} cannot be made ({error.strerror}): correct the setting, or make it."
        )
        raise StoreUnreachable(message) from error


def _write_to_disk(path: bytes, data: bytes) -> os.stat_result:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
        return os.fstat(descriptor)


def _sync_folder(path: bytes) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
