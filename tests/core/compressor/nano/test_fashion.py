from __future__ import annotations

import gzip

import numpy as np
import pytest

from fwd2bot_core.compressor.nano import fashion
from fwd2bot_core.errors import UsageError


def test_photos_and_kinds_come_in_the_order_of_the_files(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels.tobytes()))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + bytes([9, 0, 4])))
    photos, kinds = fashion.photos("test", tmp_path)
    assert np.array_equal(photos, pixels)
    assert kinds.tolist() == [9, 0, 4]


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(UsageError, match="apt install dataset-fashion-mnist"):
        fashion.photos("train", tmp_path)
