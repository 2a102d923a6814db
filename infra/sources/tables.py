"""Tables of rows in the forms that reports and manifests come in: CSV, Parquet, ORC, JSON lines; compressed or not.

Rows are streamed. Knows nothing of what they say.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

from fwd2bot_core.errors import UsageError

FORMS = ("csv", "parquet", "orc", "jsonl")


def form_of(name: str) -> str:
    """By the ending of a file's name. Raises ``UsageError``."""
    end = name.lower().removesuffix(".gz").rpartition(".")[2]
    form = {"ndjson": "jsonl", "json": "jsonl"}.get(end, end)
    if form not in FORMS:
        raise UsageError(
            f"{name} is no table that can be read here; there are .csv, .jsonl (also .gz), .parquet, .orc"
        )
    return form


def rows(file: BinaryIO, form: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Of a seekable file; ``columns``: of a CSV file without a line of them. Raises ``UsageError``."""
    try:
        if form == "parquet":
            yield from _parquet(file)
        elif form == "orc":
            yield from _orc(file)
        else:
            yield from _lines(file, form, columns)
    except (ValueError, OSError, EOFError, csv.Error) as error:  # ValueError: what Arrow and JSON raise, too
        raise UsageError(f"no {form} table: {error}") from error


def _lines(file: BinaryIO, form: str, columns: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    text = io.TextIOWrapper(cast(BinaryIO, _unpacked(file)), encoding="utf-8", newline="")
    try:
        yield from (
            csv.DictReader(text, columns) if form == "csv" else map(json.loads, filter(str.strip, text))
        )
    finally:
        text.detach()  # the file is the caller's to close


def _unpacked(file: BinaryIO) -> Any:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if packed else file


def _parquet(file: BinaryIO) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(batch_size=10_000):
        yield from batch.to_pylist()


def _orc(file: BinaryIO) -> Iterator[dict[str, Any]]:
    from pyarrow import orc

    table = orc.ORCFile(file)
    for stripe in range(table.nstripes):
        yield from table.read_stripe(stripe).to_pylist()
