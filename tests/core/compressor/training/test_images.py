from __future__ import annotations

import numpy as np

from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.compressor.training.images import Images


def test_lately_used_images_are_kept_within_their_room(tmp_path):
    read: list[bytes] = []

    def prepare(data: bytes) -> Prepared:
        read.append(data)
        return Prepared(np.zeros((1, 3, 10, 10), np.uint8), 10, 10, "PNG")  # 300 bytes

    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(path.name.encode())
    a, b, c = paths
    images = Images(prepare, threads=1, cache_bytes=700, limit=0)
    images.ahead([a, b])
    assert all(image is not None for image in images.get([a, b, a]))
    assert sorted(read) == [b"a", b"b"]
    images.get([c])  # b was used longest ago
    images.get([a, c])
    assert sorted(read) == [b"a", b"b", b"c"]
    images.get([b])
    assert sorted(read) == [b"a", b"b", b"b", b"c"]
    images.close()
