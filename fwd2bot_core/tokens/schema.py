"""What a shard says about itself: its columns, its compressor and its codec, in Arrow's schema and its metadata.

Version 1 knew exact tokens only; version 2 names the codec and says in words how to decode it. Both are read.
Knows names and texts; knows nothing about rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens import codec as codecs
from fwd2bot_core.tokens import pooled
from fwd2bot_core.tokens.codec_name import CodecName

FORMAT_VERSION = "2"
_PREFIX = "fwd2bot."


@dataclass(frozen=True, slots=True)
class Head:
    """What every row of one shard has in common."""

    spec: CompressorSpec
    codec: CodecName


def layout(codec: CodecName) -> str:
    """How to read a row with numpy alone."""
    return (
        f"One row an image. tokens: {codecs.layout(codec)['layout']}. "
        f"pooled: {pooled.layout(codec)}. "
        "Tokens of two fingerprints must never be mixed."
    )


def schema_of(spec: CompressorSpec, codec: CodecName = "exact") -> Any:
    """The Arrow schema of a shard, with compressor and codec written into its metadata."""
    return pa.schema(
        [
            pa.field("object_version_id", pa.int64(), nullable=False),
            pa.field("content_sha256", pa.binary(32), nullable=False),
            pa.field("collection", pa.string(), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            pa.field("identity", pa.string(), nullable=False),
            pa.field("modified", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("format", pa.string(), nullable=False),
            pa.field("source_bytes", pa.int64(), nullable=False),
            pa.field("tokens", pa.binary(codecs.row_bytes(spec, codec)), nullable=False),
            pa.field("pooled", pooled.column_type(spec.d, codec), nullable=False),
        ],
        metadata={f"{_PREFIX}{name}": value for name, value in _metadata(spec, codec).items()},
    )


def _metadata(spec: CompressorSpec, codec: CodecName) -> dict[str, str]:
    return {
        "format_version": FORMAT_VERSION,
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "k": str(spec.k),
        "d": str(spec.d),
        "dtype": spec.dtype,
        "prompt": spec.prompt,
        "preprocessing": json.dumps(dict(spec.preprocessing), sort_keys=True),
        "demonstration_only": json.dumps(spec.demonstration_only),
        "codec": codec,
        **codecs.layout(codec),
        "layout": layout(codec),
    }


def head_of(metadata: Mapping[bytes, bytes] | None) -> Head:
    """Compressor and codec from a schema's metadata.

    Raises ``IntegrityError`` for a version or codec that is unknown here; ``KeyError``, ``TypeError`` or ``ValueError``
    for what is no shard.
    """
    said = {
        key.decode().removeprefix(_PREFIX): value.decode()
        for key, value in (metadata or {}).items()
        if key.startswith(_PREFIX.encode())
    }
    version = said["format_version"]
    if version not in ("1", FORMAT_VERSION):
        raise IntegrityError(
            f"shard format {version} is unknown to this version of Fwd2Bot, which reads 1 and {FORMAT_VERSION}"
        )
    spec = CompressorSpec(
        name=said["name"],
        fingerprint=said["fingerprint"],
        k=int(said["k"]),
        d=int(said["d"]),
        dtype=said["dtype"],
        prompt=said["prompt"],
        preprocessing=json.loads(said["preprocessing"]),
        demonstration_only=json.loads(said["demonstration_only"]),
    )
    return Head(spec, "exact" if version == "1" else codecs.known(said["codec"]))
