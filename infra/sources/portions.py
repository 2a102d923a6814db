"""A source's entries in portions, and what is true of those that a store has to be asked about.

Only of what would be news: a report of a million known keys asks nothing. Of a file that holds several photos the store
is always asked, since only what it holds now can be opened. Knows stores. Knows nothing of ledgers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from fwd2bot_core.errors import ObjectMissing
from infra.objects import ObjectInfo, ObjectStore
from infra.sources.containers import Containers
from infra.sources.protocol import Source

ASKING = 16  # keys that a store is asked about at once


def portions(
    source: Source, prefix: str, size: int, truth: ObjectStore | None
) -> Iterator[tuple[list[ObjectInfo], ObjectStore | None]]:
    """At most ``size`` entries, and who to ask about their news; None: they are as they are."""
    for chunk in _chunks(source.list(prefix), size):
        if not isinstance(truth, Containers):
            yield chunk, truth
            continue
        plain = [entry for entry in chunk if not truth.rules.opens(entry.key)]
        if plain:
            yield plain, truth
        for key in sorted({entry.key for entry in chunk} - {entry.key for entry in plain}):
            if (info := _stat(truth, key)) is not None:
                yield from ((part, None) for part in _chunks(truth.opened(info), size))


def as_it_is(store: ObjectStore, keys: Iterable[str]) -> list[ObjectInfo]:
    """What the store holds under these keys now; nothing for those that are gone."""
    with ThreadPoolExecutor(ASKING, thread_name_prefix="stat") as pool:
        return [info for info in pool.map(lambda key: _stat(store, key), sorted(keys)) if info is not None]


def _stat(store: ObjectStore, key: str) -> ObjectInfo | None:
    try:
        return store.stat(key)
    except ObjectMissing:
        return None


def _chunks(entries: Iterator[ObjectInfo], size: int) -> Iterator[list[ObjectInfo]]:
    while chunk := list(islice(entries, size)):
        yield chunk
