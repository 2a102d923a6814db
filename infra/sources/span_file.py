"""One version of a large object as a file that is read in parts, for the libraries that look for what is in it.

Reads ahead a block at a time, since headers lie near each other. Knows nothing of what the file holds.
"""

from __future__ import annotations

import io

from fwd2bot_core.errors import ImageRejected, RejectReason
from infra.objects import ObjectInfo, Spans

BLOCK = 256 * 1024
MOST = 64 * 1024**2  # bytes that a header or directory may have: more is meant to fill the memory


class SpanFile(io.RawIOBase):
    """Seekable and readable. Raises ``StoreError``, and ``ImageRejected`` for a read that no honest file asks for."""

    def __init__(self, store: Spans, info: ObjectInfo) -> None:
        super().__init__()
        self._store, self._info = store, info
        self._at = 0
        self._held_from, self._held = 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._info.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._info.size - self._at)
        wanted = left if size < 0 else min(size, left)
        if wanted > MOST:
            raise ImageRejected(RejectReason.NOT_AN_IMAGE, f"a header or directory of {wanted:,} bytes in it")
        first = self._at - self._held_from
        if not 0 <= first <= first + wanted <= len(self._held):
            self._fetch(wanted)
            first = 0
        self._at += wanted
        return self._held[first : first + wanted]

    def _fetch(self, wanted: int) -> None:
        length = min(max(wanted, BLOCK), self._info.size - self._at)
        self._held_from, self._held = self._at, b""
        if length > 0:
            self._held = self._store.read_span(self._info.key, self._at, length, identity=self._info.identity)
