"""Shards of made-up images, for the tests of this folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens.codec_name import CodecName
from fwd2bot_core.tokens.shard import ShardRow, shard_path, write_shard

NIGHT = date(2026, 11, 24)


def spec_of(dtype: str = "bfloat16", fingerprint: str = "ab" * 32, k: int = 4, d: int = 8) -> CompressorSpec:
    return CompressorSpec(
        name="nano",
        fingerprint=fingerprint,
        k=k,
        d=d,
        dtype=dtype,
        prompt="summarise é:",
        preprocessing={"size": [64, 64], "mean": [0.5, 0.5, 0.5]},
        demonstration_only=True,
    )


@dataclass(frozen=True)
class Made:
    """One shard, and what went into it."""

    spec: CompressorSpec
    rows: list[ShardRow]
    tokens: np.ndarray[Any, Any]
    pooled: np.ndarray[Any, np.dtype[np.float32]]
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def path(self) -> str:
        return shard_path(self.spec, NIGHT, self.sha256[::-1], self.sha256)


def made(count: int, spec: CompressorSpec | None = None, first: int = 0, codec: CodecName = "exact") -> Made:
    spec = spec or spec_of()
    random = np.random.default_rng(first)
    numbers = random.standard_normal((count, spec.k, spec.d)).astype(np.float32)
    tokens = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    if spec.dtype != "bfloat16":
        tokens = numbers.astype(spec.dtype)
    pooled = random.standard_normal((count, spec.d)).astype(np.float32)
    rows = [row(first + i) for i in range(count)]
    return Made(spec, rows, tokens, pooled, write_shard(spec, "press é", rows, tokens, pooled, codec))


def row(number: int) -> ShardRow:
    return ShardRow(
        object_version_id=number,
        content_sha256=hashlib.sha256(str(number).encode()).hexdigest(),
        key=f"line 1/Jürgen%20 {number}.jpg",
        identity=f"v:{number}",
        modified=datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC) + timedelta(minutes=number),
        width=640 + number,
        height=480,
        format="JPEG",
        source_bytes=100_000 + number,
    )
