"""A log in memory, signed, for the tests of anchors."""

from __future__ import annotations

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.merkle import leaf_hash, root
from fwd2bot_core.audit.notes import Ed25519Signer

ORIGIN = "plant.example/audit"
KEY = Ed25519Signer.generate(ORIGIN)


class Log:
    """``size`` leaves; ``salt`` makes another history."""

    def __init__(self, size: int, salt: str = "") -> None:
        self.leaves = [leaf_hash(f"{salt}{number}".encode()) for number in range(size)]

    def tile(self, level: int, number: int, width: int = 256) -> bytes:
        first = number * 256
        return b"".join(self.subtree(8 * level, place) for place in range(first, first + width))

    def subtree(self, level: int, n: int) -> bytes:
        return root(self.leaves[n << level : (n + 1) << level])

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(ORIGIN, size, root(self.leaves[:size]))

    def note(self, size: int) -> str:
        return checkpoints.sign(self.checkpoint(size), [KEY])
