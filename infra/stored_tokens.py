"""Tokens of located images, read from their shards. Knows nothing about what they are read for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fwd2bot_core.tokens.shard import read_many
from infra.installation import Installation
from infra.lookup import Stored


def tokens(installation: Installation, stored: Stored) -> npt.NDArray[Any]:
    """The [k, d] summary tokens of one image, read from one row group of its shard.

    Raises ``IntegrityError`` if that row is damaged or shows another image.
    """
    found: npt.NDArray[Any] = many_tokens(installation, [stored])[0]
    return found


def many_tokens(installation: Installation, wanted: Sequence[Stored]) -> npt.NDArray[Any]:
    """The same of several images, [B, k, d] in their order; each shard is opened once."""
    found: dict[Stored, npt.NDArray[Any]] = {}
    for shard in dict.fromkeys(stored.shard for stored in wanted):
        mine = list(dict.fromkeys(stored for stored in wanted if stored.shard == shard))
        numbers = [stored.object_version_id for stored in mine]
        with installation.archive.open(shard) as file:
            rows = read_many(file, [stored.row for stored in mine], mine[0].fingerprint, numbers)
        found |= dict(zip(mine, rows, strict=True))
    return np.stack([found[stored] for stored in wanted])
