"""A place for originals that no store has: they lie where they were taken, and only their tokens and facts come here.

``edge://NAME`` in the settings of a collection. Every look at an original is refused with that reason, so that nobody
takes one that is elsewhere for lost; and since no version of it is named by a store, no policy ever destroys it. Knows
nothing about how tokens get here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from fwd2bot_core.errors import ObjectForbidden
from infra.objects.protocol import ObjectInfo

SCHEME = "edge"


@dataclass(frozen=True, slots=True)
class EdgeStore:
    """Holds nothing. Everything raises ``ObjectForbidden``."""

    uri: str

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self._refuse()

    def stat(self, key: str) -> ObjectInfo:
        self._refuse()

    def read(self, key: str, *, identity: str | None = None) -> bytes:
        self._refuse()

    def open(self, key: str) -> BinaryIO:
        self._refuse()

    def create(self, key: str, data: bytes) -> ObjectInfo:
        self._refuse()

    def replace(self, key: str, data: bytes) -> ObjectInfo:
        self._refuse()

    def sha256(self, key: str) -> str:
        self._refuse()

    def delete_version(self, info: ObjectInfo) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ObjectForbidden(
            f"the originals of {self.uri} stay at the line and were never in a store: only tokens and facts are here. "
            "Compress them there with `fwd2bot edge`."
        )
