"""Images of a data set, decoded and prepared ahead of the steps that need them, the lately used ones kept.

Knows files and a compressor's ``prepare``. Knows nothing of questions or losses.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.errors import ImageRejected, TrainingFailed

Prepare = Callable[[bytes], Prepared]


class Images:
    """``unreadable`` lists, in words, the images that could not be used; more than ``limit`` are too many."""

    def __init__(self, prepare: Prepare, *, threads: int, cache_bytes: int, limit: int) -> None:
        self.unreadable: dict[Path, str] = {}
        self._prepare, self._limit = prepare, limit
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
        self._kept: OrderedDict[Path, Prepared] = OrderedDict()
        self._room = cache_bytes
        self._coming: dict[Path, Future[Prepared | str]] = {}

    def ahead(self, paths: Sequence[Path]) -> None:
        """Begin to read what will be needed next."""
        for path in paths:
            if path not in self._kept and path not in self._coming and path not in self.unreadable:
                self._coming[path] = self._pool.submit(self._read, path)

    def get(self, paths: Sequence[Path]) -> list[Prepared | None]:
        """The images, None for one that cannot be used; raises ``TrainingFailed`` when these are too many."""
        self.ahead(paths)
        return [self._one(path) for path in paths]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _one(self, path: Path) -> Prepared | None:
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        if path in self.unreadable:
            return None
        found = self._coming.pop(path).result() if path in self._coming else self._read(path)
        if isinstance(found, str):
            self._refuse(path, found)
            return None
        self._keep(path, found)
        return found

    def _read(self, path: Path) -> Prepared | str:
        try:
            return self._prepare(path.read_bytes())
        except (ImageRejected, OSError) as error:
            return " ".join(str(error).split())

    def _refuse(self, path: Path, why: str) -> None:
        self.unreadable[path] = why
        if len(self.unreadable) > self._limit:
            named = "; ".join(f"{bad.name} ({said})" for bad, said in list(self.unreadable.items())[:5])
            raise TrainingFailed(
                f"{len(self.unreadable)} images cannot be used, and data.unreadable is {self._limit}: {named}"
            )

    def _keep(self, path: Path, image: Prepared) -> None:
        size = image.pixels.nbytes
        while self._kept and self._room < size:
            self._room += self._kept.popitem(last=False)[1].pixels.nbytes
        if self._room >= size:
            self._kept[path] = image
            self._room -= size
