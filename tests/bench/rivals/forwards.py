"""The forward pass inside a rival: ours, or the one that a user of ``transformers`` would write.

Knows compressors. Knows nothing of engines; imports torch only where a model does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from fwd2bot_core.compressor.loading import load
from fwd2bot_core.compressor.protocol import Compressor
from tests.bench.rivals.rows import Ready, table
from tests.bench.rivals.task import Task


class Forward(Protocol):
    """Prepares one photo, on any process or thread, and compresses several."""

    def prepare(self, key: str, body: bytes) -> Ready: ...

    def table(self, photos: Sequence[Ready]) -> Any:
        """An Arrow table with a row for each of ``photos``."""
        ...


class Ours:
    """``prepare`` and ``compress`` of the product."""

    def __init__(self, compressor: Compressor) -> None:
        self._compressor = compressor

    def prepare(self, key: str, body: bytes) -> Ready:
        made = self._compressor.prepare(body)
        return Ready(key, hashlib.sha256(body).digest(), len(body), made.width, made.height, made)

    def table(self, photos: Sequence[Ready]) -> Any:
        made = self._compressor.compress([photo.pixels for photo in photos])
        return table(self._compressor.spec, photos, made.tokens, made.pooled)


def load_forward(task: Task) -> Forward:
    """The model in this process, on one torch thread."""
    compressor = load(task.bundle, threads=1)
    if task.forward == "ours":
        return Ours(compressor)
    from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
    from tests.bench.rivals.plain import Plain

    if not isinstance(compressor, Fwd2BotCompressor):
        raise SystemExit(f"{task.bundle} has no model that transformers knows")
    return Plain(compressor, task.micro_batch)
