from __future__ import annotations

import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens import manifest as module
from fwd2bot_core.tokens.codec import encode
from fwd2bot_core.tokens.codec_name import CodecName
from fwd2bot_core.tokens.manifest import Manifest, ManifestShard, manifest_of, read_manifest, write_manifest
from fwd2bot_core.tokens.shard import read_head, read_tokens
from tests.core.tokens.shards import Made, made, spec_of

FIRST, SECOND, ORPHAN = made(70), made(5, first=70), made(3, first=900)
SMALL = made(9, first=100, codec="bits4")  # stored after the collection changed its codec


def entry(shard: Made) -> ManifestShard:
    return ManifestShard(
        path=shard.path,
        sha256=shard.sha256,
        bytes=len(shard.data),
        rows=len(shard.rows),
        codec=read_head(io.BytesIO(shard.data)).codec,
    )


def manifest(root: str = "s3://tokens", *shards: Made) -> Manifest:
    listed = tuple(entry(shard) for shard in shards or (FIRST, SECOND))
    return manifest_of(spec_of(), generation=7, root=root, collection="press é", shards=listed)


@pytest.fixture(params=["plain", "with space é %"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store with two committed shards, one of another codec, an orphan that must not be read, and the manifest."""
    root: Path = tmp_path / request.param
    for shard in (FIRST, SECOND, SMALL, ORPHAN):
        (root / shard.path).parent.mkdir(parents=True, exist_ok=True)
        (root / shard.path).write_bytes(shard.data)
    (root / "manifest.json").write_bytes(write_manifest(manifest(str(root), FIRST, SECOND, SMALL)))
    return root


CODECS = pytest.mark.parametrize("codec", ["exact", "bits4"])


def filled(recipe: str, archive: Path, codec: str) -> str:
    return recipe.format(manifest=archive / "manifest.json", codec=codec)


def check(rows: list[tuple[str, bytes]], codec: CodecName) -> None:
    """The shards of that codec, whole; nothing of the orphan."""
    expected = {
        row.key: stored
        for shard in ((FIRST, SECOND) if codec == "exact" else (SMALL,))
        for row, stored in zip(shard.rows, encode(shard.tokens, shard.spec, codec).to_pylist(), strict=True)
    }
    assert dict(rows) == expected
    assert len(rows) == len(expected)


@CODECS
def test_the_duckdb_recipe(archive: Path, codec: CodecName) -> None:
    rows = duckdb.connect().execute(filled(module.DUCKDB, archive, codec)).fetchall()
    check([(key, tokens) for key, _, _, tokens in rows], codec)


@CODECS
def test_the_pyarrow_recipe(archive: Path, codec: CodecName) -> None:
    names: dict[str, Any] = {}
    exec(filled(module.PYARROW, archive, codec), names)
    check([(row["key"], row["tokens"]) for row in names["table"].to_pylist()], codec)


@CODECS
def test_the_polars_recipe(archive: Path, codec: CodecName) -> None:
    names: dict[str, Any] = {}
    exec(filled(module.POLARS, archive, codec), names)
    check(names["frame"]["key", "tokens"].rows(), codec)


@CODECS
def test_the_pandas_recipe(archive: Path, codec: CodecName) -> None:
    pytest.importorskip("pandas")  # which nothing of ours needs
    names: dict[str, Any] = {}
    exec(filled(module.PANDAS, archive, codec), names)
    check(list(zip(names["frame"]["key"], names["frame"]["tokens"], strict=True)), codec)


@pytest.mark.parametrize("recipe", [module.DUCKDB, module.PYARROW, module.POLARS, module.PANDAS])
def test_no_recipe_lists_the_store(recipe: str) -> None:
    assert "*" not in recipe
    assert "glob(" not in recipe


def test_the_document(archive: Path) -> None:
    document = json.loads(write_manifest(manifest("s3://tokens/")))
    assert list(document) == [
        "format", "generation", "root", "collection", "compressor", "shards", "rows",
    ]  # fmt: skip
    assert document["format"] == "fwd2bot-manifest-2"
    assert document["root"] == "s3://tokens"
    assert document["compressor"] == {
        "name": "nano", "fingerprint": "ab" * 32, "k": 4, "d": 8, "dtype": "bfloat16",
    }  # fmt: skip
    assert document["rows"] == 75
    assert {shard["path"] for shard in document["shards"]} == {FIRST.path, SECOND.path}
    assert {shard["codec"] for shard in document["shards"]} == {"exact"}


def test_equal_states_give_equal_bytes() -> None:
    assert write_manifest(manifest("r", FIRST, SECOND)) == write_manifest(manifest("r", SECOND, FIRST))


def test_it_comes_back() -> None:
    assert read_manifest(write_manifest(manifest())) == manifest()
    empty = manifest_of(spec_of(), generation=0, root="r", collection="c", shards=())
    assert read_manifest(write_manifest(empty)) == empty


def test_a_manifest_of_the_first_version_is_read_as_exact() -> None:
    document = json.loads(changed(format="fwd2bot-manifest-1"))
    for shard in document["shards"]:
        del shard["codec"]
    old = read_manifest(json.dumps(document).encode())
    assert {shard.codec for shard in old.shards} == {"exact"}
    assert old.shards == manifest().shards


def test_the_size_and_hash_are_those_of_the_file() -> None:
    listed = manifest().shards[0]
    shard = {FIRST.path: FIRST, SECOND.path: SECOND}[listed.path]
    assert (listed.sha256, listed.bytes) == (sha256(shard.data).hexdigest(), len(shard.data))
    token = read_tokens(io.BytesIO(shard.data), 0, manifest().compressor.fingerprint)
    assert (token == np.asarray(shard.tokens[0])).all()


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(write_manifest(manifest())) | fields).encode()


def shards(**fields: Any) -> list[dict[str, Any]]:
    first, *others = json.loads(write_manifest(manifest()))["shards"]
    return [first | fields, *others]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the document"),
        (b"\xff\xfe", "the document"),
        (b"[]", "the document"),
        (write_manifest(manifest())[:-40], "the document"),
        (changed(format="fwd2bot-manifest-3"), "format"),
        (changed(generation=-1), "generation"),
        (changed(generation="7"), "generation"),
        (changed(rows=76), "rows is not the sum"),
        (changed(extra=1), "extra"),
        (changed(shards=shards(sha256="AB" * 32)), "shards.0.sha256"),
        (changed(shards=shards(codec="rot4")), "shards.0.codec"),
        (changed(shards=shards(path="../secrets.parquet")), "shards.0.path"),
        (changed(shards=shards(path="tokens/compressor=abababababab/../../x.parquet")), "another compressor"),
        (changed(shards=shards(path=f"tokens/compressor={'cd' * 6}/x.parquet")), "another compressor"),
        (changed(shards=[*shards()[:1], *shards()[:1]], rows=2 * shards()[0]["rows"]), "listed twice"),
    ],
)
def test_what_is_no_manifest_says_where_it_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(IntegrityError, match=says):
        read_manifest(data)


@given(st.binary(max_size=60))
def test_no_other_error_for_any_bytes(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        read_manifest(data)
