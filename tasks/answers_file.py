"""Answers as rows, and as files: Parquet in between, and Parquet, CSV or JSONL for whoever asked.

What a spreadsheet would take for a formula is written as text. Knows files. Knows nothing about who answers.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from fwd2bot_core.compressor.protocol import Answer
from fwd2bot_core.errors import UsageError
from infra.lookup import Stored
from tasks.units import cell

ENDINGS = (".parquet", ".csv", ".jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question to one image. Without an answer, ``problem`` says why."""

    collection: str | None = None
    key: str  # or what the image was called, where it is not known
    version: str | None = None
    object_version_id: int | None = None
    sha256: str | None = None
    compressor: str | None = None  # fingerprint
    question: str
    answer: str | None = None
    confidence: float | None = None
    problem: str | None = None

    @classmethod
    def answered(cls, place: Stored, question: str, answer: Answer) -> Self:
        return cls(
            collection=place.collection,
            key=place.key,
            version=place.identity,
            object_version_id=place.object_version_id,
            sha256=place.sha256,
            compressor=place.fingerprint,
            question=question,
            answer=answer.text,
            confidence=answer.confidence,
        )

    @classmethod
    def unanswered(cls, image: str, question: str, problem: str) -> Self:
        return cls(key=image, question=question, problem=problem)


NAMES = tuple(Row.__slots__)


def check_out(out: Path) -> None:
    """Raises ``UsageError`` before any work is done for nothing."""
    if out.suffix not in ENDINGS:
        raise UsageError(f"{out}: the name's ending says how to write it; end it in {', '.join(ENDINGS)}")
    if out.exists():
        raise UsageError(f"{out} is there already, and is not overwritten: name another file")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"{out.parent} is no folder: make it first")


def write_part(file: Path, rows: Sequence[Row]) -> None:
    """Whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file.parent.mkdir(exist_ok=True)
    new = file.with_suffix(".new")
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=_schema()), new)
    new.replace(file)


def join_parts(parts: Sequence[Path], out: Path) -> tuple[int, int]:
    """All parts in their order as one file, whole or not at all; how many rows, and how many without an answer."""
    new = out.with_name(f".{out.name}.new")
    write = {".parquet": _as_parquet, ".csv": _as_csv, ".jsonl": _as_jsonl}[out.suffix]
    counts = [0, 0]
    write(new, _counted(parts, counts))
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(out)
    return counts[0], counts[1]


def _counted(parts: Sequence[Path], counts: list[int]) -> Iterator[Any]:
    import pyarrow.parquet as pq

    for part in parts:
        table = pq.read_table(part)
        counts[0] += table.num_rows
        counts[1] += table.num_rows - table.column("problem").null_count
        yield table


def _as_parquet(file: Path, tables: Iterator[Any]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, _schema(), compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)


def _as_csv(file: Path, tables: Iterator[Any]) -> None:
    with file.open("w", encoding="utf-8", newline="", errors="backslashreplace") as sink:
        writer = csv.writer(sink)
        writer.writerow(NAMES)
        for table in tables:
            writer.writerows([cell(row[name]) for name in NAMES] for row in table.to_pylist())


def _as_jsonl(file: Path, tables: Iterator[Any]) -> None:
    with file.open("w", encoding="utf-8") as sink:
        for table in tables:
            sink.writelines(json.dumps(row) + "\n" for row in table.to_pylist())


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"object_version_id": pa.int64(), "confidence": pa.float64()}
    return pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in NAMES])
