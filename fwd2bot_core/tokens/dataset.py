"""Summary tokens as a torch dataset, for training probes and heads on what is stored.

Map-style, so that torch's samplers and loaders work as they are; a loader's batch reads each row group once. Knows
shards and how many rows each has, and opens them through a function that it is given. Knows nothing about stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import torch
from torch.utils.data import Dataset

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens.numbers import widened
from fwd2bot_core.tokens.shard import read_head, read_many

Place = tuple[str, int, int]  # shard, row, object version


class TokenDataset(Dataset[tuple[torch.Tensor, int]]):
    """Items are the tokens [k, d] float32 of one image, and the number of its object version.

    Pickled to a loader's worker processes as the list of places; tokens are read there.
    """

    def __init__(
        self, places: Sequence[Place], open_shard: Callable[[str], BinaryIO], fingerprint: str
    ) -> None:
        """``open_shard`` gives a seekable file for a shard's path. ``fingerprint``: of the compressor whose tokens
        they are; another one's raise ``CompressorMismatch`` when they are read."""
        self._places, self._open, self._fingerprint = list(places), open_shard, fingerprint
        self._spec: CompressorSpec | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        """Several items in their order; torch's loader asks for a whole batch this way. Raises ``IntegrityError`` for a
        row that shows another image."""
        wanted = [self._places[index] for index in indices]
        found: dict[Place, torch.Tensor] = {}
        for shard in dict.fromkeys(path for path, _, _ in wanted):
            mine = list(dict.fromkeys(place for place in wanted if place[0] == shard))
            found |= dict(zip(mine, self._read(shard, mine), strict=True))
        return [(found[place], place[2]) for place in wanted]

    def _read(self, shard: str, mine: Sequence[Place]) -> Any:
        with self._open(shard) as file:
            if self._spec is None:
                self._spec = read_head(file).spec
            tokens = read_many(file, [p[1] for p in mine], self._fingerprint, [p[2] for p in mine])
        return torch.from_numpy(widened(tokens, self._spec))
