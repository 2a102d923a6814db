"""A column of equally long rows of bytes, as numpy sees it. Knows Arrow; knows nothing about what the bytes mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fwd2bot_core.errors import IntegrityError


def byte_rows(array: Any, width: int) -> npt.NDArray[np.uint8]:
    """[B, width] bytes, as a read-only view; raises ``IntegrityError`` for nulls or another width."""
    if array.type != pa.binary(width) or array.null_count:
        raise IntegrityError(f"expected {width} bytes in each row, found {array.type}")
    if not len(array):
        return np.empty((0, width), np.uint8)
    flat = np.frombuffer(array.buffers()[1], np.uint8, count=len(array) * width, offset=array.offset * width)
    return flat.reshape(len(array), width)
