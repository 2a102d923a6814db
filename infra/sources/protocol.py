"""Where a look for new photos gets its entries from, whatever that is: a listing, a report, a queue.

A store is one. What another one says may be out of date: whoever takes it in asks the store about what would be news.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from infra.objects import ObjectInfo


class Source(Protocol):
    """Entries of a collection, streamed. May say one twice, and says nothing about what is not there any more."""

    @property
    def uri(self) -> str:
        """What it is called in messages."""
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Those whose keys start so. Raises ``StoreError``."""
        ...
