"""Which events differ from those that an anchor keeps the hashes of: exact, whoever rewrote what with whichever key.

Reads an anchor's tiles and the bodies again, from the last state on that everybody agrees about. The tiles are believed
only if they give the root that the anchor's checkpoint was signed over. Knows nothing about what a difference means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from fwd2bot_core.audit.merkle import Frontier, Subtree, frontier_of
from fwd2bot_core.audit.tiles import SubtreeFromTiles
from fwd2bot_core.errors import IntegrityError
from infra.anchors import Anchor
from infra.database import Ledger
from tasks.audit_bodies import leaves

MOST_RUNS = 100  # named; a log that was rewritten throughout must not fill the memory


@dataclass(slots=True)
class Run:
    """Events that differ, one after the other; both ends included."""

    first: int
    last: int


def differing(ledger: Ledger, anchor: Anchor, size: int, root: bytes, first: int, last: int) -> list[Run]:
    """The events from ``first`` up to, not including, ``last`` that are not those under the anchor's checkpoint.

    ``size`` and ``root``: of that checkpoint; ``last`` is not beyond it. Raises ``StoreError`` where a tile cannot be
    read, ``IntegrityError`` if the tiles do not give ``root``.
    """
    subtree = SubtreeFromTiles(anchor.read, size).subtree
    edge = frontier_of(first, subtree)
    kept = _appended(edge, subtree, size)
    pairs = zip(leaves(ledger, first, last), kept, strict=False)
    found = list(islice(_runs(first, pairs), MOST_RUNS))
    for _ in kept:  # the root needs them all
        pass
    if edge.root() != root:
        raise IntegrityError(
            f"the tiles of {anchor.place} do not give the checkpoint of {size:,} events that lies beside them"
        )
    return found


def _appended(edge: Frontier, subtree: Subtree, size: int) -> Iterator[bytes]:
    """The anchor's leaf hashes from ``edge`` on, which grows by each."""
    for seq in range(edge.size, size):
        leaf = subtree(0, seq)
        edge.append(leaf)
        yield leaf


def _runs(first: int, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[Run]:
    run: Run | None = None
    for seq, (leaf, kept) in enumerate(pairs, first):
        if leaf == kept:
            if run is not None:
                yield run
            run = None
        elif run is None:
            run = Run(seq, seq)
        else:
            run.last = seq
    if run is not None:
        yield run
