"""What an anchor is: a place outside the ledger that keeps signed checkpoints, or swears to have seen them.

Four kinds. ``store`` and ``directory`` keep checkpoints and tiles and give them back. ``timestamp`` and
``witness`` keep nothing for us: what they swore is their receipt's evidence. Knows nothing about who signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fwd2bot_core.audit.checkpoints import Checkpoint


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an anchor gave for a checkpoint."""

    place: str  # where exactly: a URI, or the address of who swore
    evidence: str | None = None  # a version id; a time stamp in base64; a witness's signature line
    retain_until: datetime | None = None  # until when the store itself says that it keeps it


@dataclass(frozen=True, slots=True)
class Held:
    """A checkpoint as it really lies outside, read back and not yet believed."""

    size: int
    note: str | None  # None: only the size is known; empty: what lies there is no text
    place: str
    evidence: str | None = None  # its version id


class Tree(Protocol):
    """The log's tree at a checkpoint that is published, or later; ``infra.audit_tree.SqlTree`` is one."""

    def tile(self, level: int, number: int, width: int = 256) -> bytes: ...

    def subtree(self, level: int, n: int) -> bytes: ...


class Anchor(Protocol):
    """One place. Every method raises ``StoreError`` when the place does not do what was asked."""

    @property
    def name(self) -> str:
        """As the settings call it."""
        ...

    @property
    def kind(self) -> str: ...

    @property
    def place(self) -> str: ...

    @property
    def keeps(self) -> bool:
        """Whether checkpoints and tiles can be read back from it."""
        ...

    def at(self, size: int) -> str:
        """Where exactly the checkpoint of that size lies, or would lie: what its receipt names as place."""
        ...

    def publish(self, note: str, checkpoint: Checkpoint, tree: Tree) -> Receipt:
        """Keep ``note``, which says ``checkpoint``, and what else the place keeps of ``tree``. May run twice.

        Raises ``IntegrityError`` if the place holds, or has seen, another log under this name.
        """
        ...

    def held(self) -> Iterator[Held]:
        """All checkpoints that are really there, hidden versions included, largest last; none unless it ``keeps``."""
        ...

    def newest(self, last: str | None = None) -> list[Held]:
        """Those of the largest size: several only where somebody put another one over it. Empty: nothing known.

        ``last``: the newest signed note of the ledger, by which a witness may be asked what it has seen.
        """
        ...

    def read(self, path: str) -> bytes:
        """What lies at a path of the C2SP tlog-tiles layout, as ``SubtreeFromTiles`` asks for it.

        Raises ``ObjectMissing`` for what is not there, and always unless the anchor ``keeps``.
        """
        ...

    def examine(self) -> str:
        """Use it once without harm, and say how it is. For the doctor."""
        ...
