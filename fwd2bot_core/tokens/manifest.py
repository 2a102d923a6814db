"""The list of committed shards, for readers without access to the database.

Knows the JSON document and how four engines read from it, the shards of one codec at a time. Knows nothing about
SQL or where it is put. Version 1 named no codecs, since there was one; both versions are read.
Readers take paths from here and never list a bucket: a listing also shows shards that were never committed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.codec_name import CodecName

DUCKDB = """\
SET VARIABLE shards = (SELECT list(root || '/' || shard.path)
                       FROM (SELECT root, unnest(shards) AS shard FROM read_json('{manifest}'))
                       WHERE shard.codec = '{codec}');
SELECT key, width, height, tokens FROM read_parquet(getvariable('shards'));"""

PYARROW = """\
import json, pathlib, pyarrow.dataset as ds, pyarrow.fs as fs
manifest = json.loads(pathlib.Path("{manifest}").read_bytes())
store, root = fs.FileSystem.from_uri(manifest["root"])
paths = [root + "/" + shard["path"] for shard in manifest["shards"] if shard["codec"] == "{codec}"]
table = ds.dataset(paths, filesystem=store, format="parquet").to_table()"""

POLARS = """\
import json, pathlib, polars as pl
manifest = json.loads(pathlib.Path("{manifest}").read_bytes())
paths = [manifest["root"] + "/" + shard["path"] for shard in manifest["shards"] if shard["codec"] == "{codec}"]
frame = pl.scan_parquet(paths, glob=False).collect()"""

PANDAS = """\
import json, pathlib, pandas as pd
manifest = json.loads(pathlib.Path("{manifest}").read_bytes())
paths = [manifest["root"] + "/" + shard["path"] for shard in manifest["shards"] if shard["codec"] == "{codec}"]
frame = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)"""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ManifestCompressor(_Part):
    """Which compressor made every shard of the manifest."""

    name: str
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")
    k: int = Field(gt=0)
    d: int = Field(gt=0)
    dtype: Literal["float32", "float16", "bfloat16"]


class ManifestShard(_Part):
    """One committed shard; ``path`` is relative to the manifest's ``root``."""

    path: str = Field(pattern=r"^tokens/[^\x00]+\.parquet$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0)
    rows: int = Field(gt=0)
    codec: CodecName = "exact"


class Manifest(_Part):
    """Every committed shard of one collection and compressor, at one generation."""

    format: Literal["fwd2bot-manifest-1", "fwd2bot-manifest-2"] = "fwd2bot-manifest-2"
    generation: int = Field(ge=0)  # grows with each commit
    root: str  # an s3:// URI, or a local store's absolute path: not every engine decodes file: URIs
    collection: str
    compressor: ManifestCompressor
    shards: tuple[ManifestShard, ...]
    rows: int = Field(ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if self.rows != sum(shard.rows for shard in self.shards):
            raise ValueError("rows is not the sum of the shards' rows")
        partition = f"tokens/compressor={self.compressor.fingerprint[:12]}/"
        strays = [
            s.path for s in self.shards if not s.path.startswith(partition) or ".." in s.path.split("/")
        ]
        if strays:
            raise ValueError(f"shards of another compressor: {strays[:3]}")
        if len({shard.path for shard in self.shards}) != len(self.shards):
            raise ValueError("a shard is listed twice")
        return self


def manifest_of(
    spec: CompressorSpec,
    *,
    generation: int,
    root: str,
    collection: str,
    shards: tuple[ManifestShard, ...],
) -> Manifest:
    """The manifest over committed ``shards``, sorted by path so that equal states give equal bytes.

    ``root`` is an ``s3://`` URI or an absolute path, where the shards' paths start.
    """
    ordered = tuple(sorted(shards, key=lambda shard: shard.path))
    return Manifest(
        generation=generation,
        root=root.rstrip("/"),
        collection=collection,
        compressor=_compressor(spec),
        shards=ordered,
        rows=sum(shard.rows for shard in ordered),
    )


def _compressor(spec: CompressorSpec) -> ManifestCompressor:
    said = {name: getattr(spec, name) for name in ManifestCompressor.model_fields}
    return ManifestCompressor.model_validate(said)


def write_manifest(manifest: Manifest) -> bytes:
    """Its JSON, readable by people: fields in a fixed order, two spaces, a newline at the end."""
    return manifest.model_dump_json(indent=2).encode() + b"\n"


def read_manifest(data: bytes) -> Manifest:
    """The manifest in ``data``; raises ``IntegrityError`` that says which field is wrong."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise IntegrityError(f"not a manifest of Fwd2Bot: {place}: {first['msg']}") from error
