from __future__ import annotations

import io
import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwd2bot_core.errors import CompressorMismatch, IntegrityError, StoreUnreachable
from fwd2bot_core.tokens.codec import as_stored
from fwd2bot_core.tokens.codec_name import NAMES, CodecName
from fwd2bot_core.tokens.schema import Head
from fwd2bot_core.tokens.shard import (
    ShardWriter,
    read_head,
    read_many,
    read_rows,
    read_tokens,
    shard_path,
    write_shard,
)
from tests.core.tokens.shards import NIGHT, Made, made, row, spec_of

MADE = made(150)
DTYPES = ["float32", "float16", "bfloat16"]


def reader(shard: Made = MADE) -> io.BytesIO:
    return io.BytesIO(shard.data)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 64, 65, 150])
def test_everything_comes_back(count: int, dtype: str) -> None:
    shard = made(count, spec_of(dtype))
    assert read_head(reader(shard)) == Head(shard.spec, "exact")
    assert read_rows(reader(shard)) == shard.rows
    for place in {0, 63, 64, count - 1} & set(range(count)):
        found = read_tokens(reader(shard), place, shard.spec.fingerprint)
        assert found.dtype == shard.tokens.dtype
        assert found.tobytes() == shard.tokens[place].tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", NAMES)
def test_every_codec_comes_back_as_it_rounds(codec: CodecName, dtype: str) -> None:
    shard = made(70, spec_of(dtype, d=40), codec=codec)
    assert read_head(reader(shard)) == Head(shard.spec, codec)
    assert read_rows(reader(shard)) == shard.rows
    expected = as_stored(shard.tokens, shard.spec, codec)
    for place in (0, 63, 64, 69):
        found = read_tokens(reader(shard), place, shard.spec.fingerprint, place)
        assert (found.dtype, found.tobytes()) == (shard.tokens.dtype, expected[place].tobytes())


def test_a_shard_of_the_first_format_is_read_as_exact() -> None:
    """Written by the software of before there were codecs."""
    data = Path(__file__).with_name("version-1.parquet").read_bytes()
    spec = spec_of()
    assert read_head(io.BytesIO(data)) == Head(spec, "exact")
    assert read_rows(io.BytesIO(data)) == [row(0), row(1), row(2)]
    tokens = read_many(io.BytesIO(data), [0, 1, 2], spec.fingerprint)
    assert sha256(tokens.tobytes()).hexdigest()[:16] == "5e014f5dcd0f14c1"


VERSION = b"fwd2bot.format_version"


def of_metadata(metadata: dict[bytes, bytes]) -> io.BytesIO:
    """The shard MADE, saying something else about itself."""
    sink = io.BytesIO()
    pq.write_table(pq.read_table(reader()).replace_schema_metadata(metadata), sink)
    return sink


@pytest.mark.parametrize(
    ("said", "matches"),
    [
        ({VERSION: b"3"}, "format 3 is unknown .* reads 1 and 2"),
        ({b"fwd2bot.codec": b"rot4"}, "codec 'rot4' is unknown"),
        ({b"fwd2bot.codec": b"bits4"}, "8 bytes in each row|16 bytes in each row"),
    ],
)
def test_a_format_or_codec_that_is_unknown_or_untrue_is_not_guessed_at(
    said: dict[bytes, bytes], matches: str
) -> None:
    file = of_metadata(pq.read_schema(reader()).metadata | said)
    with pytest.raises(IntegrityError, match=matches):
        read_tokens(file, 0, MADE.spec.fingerprint)


def test_equal_input_gives_equal_bytes() -> None:
    assert made(70).data == made(70).data
    assert made(70).data != made(70, spec_of(fingerprint="cd" * 32)).data


@pytest.mark.parametrize("step", [1, 7, 64, 100, 150])
def test_a_shard_that_grew_is_the_one_that_was_written_at_once(step: int) -> None:
    writer = ShardWriter(MADE.spec, "press é")
    for first in range(0, 150, step):
        part = slice(first, first + step)
        assert writer.append(MADE.rows[part], MADE.tokens[part], MADE.pooled[part]) == first
    assert writer.rows == 150
    assert writer.finish() == MADE.data


def test_the_layout_is_the_one_that_was_designed() -> None:
    file = pq.ParquetFile(reader())
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [64, 64, 22]
    assert str(file.schema_arrow.field("tokens").type) == "fixed_size_binary[64]"
    assert str(file.schema_arrow.field("pooled").type) == "fixed_size_list<element: float not null>[8]"
    assert str(file.schema_arrow.field("modified").type) == "timestamp[us, tz=UTC]"
    columns = {
        group.column(i).path_in_schema: group.column(i)
        for group in [file.metadata.row_group(0)]
        for i in range(group.num_columns)
    }
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert "PLAIN_DICTIONARY" not in columns["tokens"].encodings
    assert "RLE_DICTIONARY" not in columns["tokens"].encodings


def test_no_name_or_hash_is_repeated_in_the_footer() -> None:
    file = pq.ParquetFile(reader())
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        for column in (group.column(i) for i in range(group.num_columns)):
            personal = column.path_in_schema in ("key", "identity", "content_sha256", "tokens")
            assert not (personal and column.is_stats_set)
    footer = MADE.data[-int.from_bytes(MADE.data[-8:-4], "little") - 8 :]
    assert "Jürgen".encode() not in footer


def test_the_file_says_how_to_read_it() -> None:
    said = {k.decode(): v.decode() for k, v in pq.read_schema(reader()).metadata.items()}
    assert said["fwd2bot.format_version"] == "2"
    assert said["fwd2bot.codec"] == "exact"
    assert (said["fwd2bot.k"], said["fwd2bot.d"], said["fwd2bot.dtype"]) == ("4", "8", "bfloat16")
    assert said["fwd2bot.fingerprint"] == "ab" * 32
    assert said["fwd2bot.prompt"] == "summarise é:"
    assert json.loads(said["fwd2bot.preprocessing"])["size"] == [64, 64]
    assert "numpy.frombuffer" in said["fwd2bot.layout"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_engines_read_it_without_our_code(dtype: str, tmp_path: Path) -> None:
    shard = made(150, spec_of(dtype))
    path = tmp_path / "shard.parquet"
    path.write_bytes(shard.data)
    query = f"SELECT object_version_id, key, tokens, pooled FROM '{path}' WHERE width = 740"
    results = [
        duckdb.connect().execute(query).fetchall(),
        pl.read_parquet(path)
        .filter(pl.col("width") == 740)["object_version_id", "key", "tokens", "pooled"]
        .rows(),
        [
            (r["object_version_id"], r["key"], r["tokens"], r["pooled"])
            for r in pq.read_table(path, filters=[("width", "=", 740)]).to_pylist()
        ],
    ]
    numpy_dtype = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[dtype]
    for [(number, key, tokens, pooled)] in results:
        assert (number, key) == (100, shard.rows[100].key)
        numbers = np.frombuffer(tokens, numpy_dtype).reshape(4, 8)
        if dtype == "bfloat16":  # as the layout text in the file says
            numbers = (numbers.astype("uint32") << 16).view("float32")
            expected = (shard.tokens[100].astype("uint32") << 16).view("float32")
            assert (numbers == expected).all()
        else:
            assert (numbers == shard.tokens[100]).all()
        assert list(pooled) == shard.pooled[100].tolist()


def test_one_row_costs_one_row_group() -> None:
    big = made(640, spec_of("float32", k=16, d=64))  # 4 KiB a row, 256 KiB a group, 2.5 MiB in all
    assert len(big.data) > 2_000_000

    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.read_bytes += len(data)
            return data

    file = Counting(big.data)
    found = read_tokens(file, 300, big.spec.fingerprint)
    assert (found == big.tokens[300]).all()
    assert file.read_bytes < 500_000


def test_many_rows_come_in_the_order_asked_for() -> None:
    rows, opened = [149, 3, 64, 3, 0, 140], reader()
    numbers = [MADE.rows[row].object_version_id for row in rows]
    found = read_many(opened, rows, MADE.spec.fingerprint, numbers)
    assert found.tobytes() == MADE.tokens[rows].tobytes()
    assert found.dtype == MADE.tokens.dtype
    assert read_many(reader(), [], MADE.spec.fingerprint).shape == (0, *MADE.tokens.shape[1:])
    with pytest.raises(IntegrityError, match=f"row 64 .* holds object version {numbers[2]}, not 0"):
        read_many(reader(), rows, MADE.spec.fingerprint, [*numbers[:2], 0, *numbers[3:]])


def test_tokens_of_another_compressor_are_refused() -> None:
    with pytest.raises(CompressorMismatch, match=r"made by nano \(abababababab\), not by cdcdcdcdcdcd"):
        read_tokens(reader(), 0, "cd" * 32)


@pytest.mark.parametrize("place", [-1, 150, 10**9])
def test_a_row_that_is_not_there(place: int) -> None:
    with pytest.raises(IntegrityError, match=f"150 rows, so no row {place}"):
        read_tokens(reader(), place, "ab" * 32)


@pytest.mark.parametrize("place", [0, 63, 64, 149])
def test_a_row_of_another_image_is_refused(place: int) -> None:
    fingerprint, number = MADE.spec.fingerprint, MADE.rows[place].object_version_id
    found = read_tokens(reader(), place, fingerprint, number)
    assert found.tobytes() == MADE.tokens[place].tobytes()
    with pytest.raises(
        IntegrityError, match=f"row {place} .* holds object version {number}, not {number + 1}"
    ):
        read_tokens(reader(), place, fingerprint, number + 1)


@pytest.mark.parametrize("codec", NAMES)
def test_a_flipped_bit_in_the_tokens_is_noticed_by_the_lookup(codec: CodecName) -> None:
    shard = made(150, codec=codec)
    data = bytearray(shard.data)
    group = pq.ParquetFile(reader(shard)).metadata.row_group(0)
    column = next(
        group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "tokens"
    )
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    with pytest.raises(IntegrityError):
        read_tokens(io.BytesIO(bytes(data)), 10, "ab" * 32)


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"not parquet at all, but long enough to look", MADE.data[:-100]]
)
def test_what_is_no_shard(data: bytes) -> None:
    for read in (read_head, read_rows, lambda file: read_tokens(file, 0, "ab" * 32)):
        with pytest.raises(IntegrityError, match="not a readable shard"):
            read(io.BytesIO(data))


@pytest.mark.parametrize("said", [{b"fwd2bot.k": b"900000000"}, {b"fwd2bot.d": b"900000000"}])
def test_no_memory_is_taken_for_what_only_the_metadata_says(said: dict[bytes, bytes]) -> None:
    table = pq.read_table(reader())
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **said}), sink)
    with pytest.raises(IntegrityError, match="bytes in each row"):
        read_tokens(sink, 0, MADE.spec.fingerprint)


def test_parquet_that_is_no_shard() -> None:
    sink = io.BytesIO()
    pl.DataFrame({"tokens": [b"1"], "key": ["a"]}).write_parquet(sink)
    for read in (read_head, read_rows, lambda file: read_tokens(file, 0, "ab" * 32)):
        with pytest.raises(IntegrityError):
            read(io.BytesIO(sink.getvalue()))


def test_a_store_that_fails_while_reading_is_not_called_a_damaged_shard() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise StoreUnreachable("no answer")

    with pytest.raises(StoreUnreachable):
        read_head(Failing(MADE.data))


def test_what_cannot_be_a_shard_is_not_written() -> None:
    rows, tokens, pooled = MADE.rows[:2], MADE.tokens[:2], MADE.pooled[:2]
    bad = tokens.copy()
    bad[1, 0, 0] = 0x7F80
    nan = pooled.copy()
    nan[0, 0] = np.nan
    wrong: list[tuple[Any, Any]] = [
        (tokens[:1], pooled),
        (tokens, pooled[:1]),
        (tokens, pooled.astype(np.float64)),
        (bad, pooled),
        (tokens, nan),
    ]
    for wrong_tokens, wrong_pooled in wrong:
        with pytest.raises(ValueError, match=r"rows need|not finite"):
            write_shard(MADE.spec, "c", rows, wrong_tokens, wrong_pooled)
    with pytest.raises(CompressorMismatch):
        write_shard(MADE.spec, "c", rows, tokens.view(np.int16), pooled)


def test_the_path_names_compressor_night_inputs_and_body() -> None:
    path = shard_path(MADE.spec, NIGHT, "0123456789abcdef" * 2, "fedcba9876543210" * 4)
    assert path == (
        "tokens/compressor=abababababab/date=2026-11-24/0123456789abcdef-fedcba9876543210.parquet"
    )


def test_hive_partitions_are_understood(tmp_path: Path) -> None:
    (tmp_path / MADE.path).parent.mkdir(parents=True)
    (tmp_path / MADE.path).write_bytes(MADE.data)
    query = f"SELECT DISTINCT compressor, date::VARCHAR FROM read_parquet(['{tmp_path / MADE.path}'])"
    assert duckdb.connect().execute(query).fetchall() == [("abababababab", "2026-11-24")]


keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(keys, max_size=5))
@settings(deadline=None, max_examples=50)
def test_any_key_comes_back(names: list[str]) -> None:
    rows = [replace(row(i), key=key) for i, key in enumerate(names)]
    count = len(rows)
    data = write_shard(MADE.spec, "c", rows, MADE.tokens[:count], MADE.pooled[:count])
    assert read_rows(io.BytesIO(data)) == rows
