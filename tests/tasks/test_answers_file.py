"""Answers as files: whole or not at all, in three forms, and never a formula."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fwd2bot_core.errors import UsageError
from tasks.answers_file import NAMES, Row, check_out, join_parts, write_part

ROWS = [
    Row(key="a.jpg", question="what?", answer="=1+2", confidence=0.5, object_version_id=3),
    Row(key="-b.jpg", question="what?", problem="gone"),
    Row(key="c\u202e\n.jpg", question="@what?", answer="bolt", confidence=1.0),
]


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "work" / f"{number}.parquet" for number in range(2)]
    write_part(made[0], ROWS[:2])
    write_part(made[1], ROWS[2:])
    assert sorted(path.name for path in made[0].parent.iterdir()) == ["0.parquet", "1.parquet"]
    return made


def test_parquet_keeps_every_value_as_it_is(parts: list[Path], tmp_path: Path) -> None:
    assert join_parts(parts, tmp_path / "out.parquet") == (3, 1)
    read = pq.read_table(tmp_path / "out.parquet")
    assert tuple(read.column_names) == NAMES
    assert [row["key"] for row in read.to_pylist()] == [row.key for row in ROWS]
    assert read.column("object_version_id").to_pylist() == [3, None, None]


def test_jsonl_is_one_object_a_line(parts: list[Path], tmp_path: Path) -> None:
    join_parts(parts, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == ["=1+2", None, "bolt"]


def test_in_csv_no_text_is_a_formula_or_hides(parts: list[Path], tmp_path: Path) -> None:
    join_parts(parts, tmp_path / "out.csv")
    first, second, third = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(), newline=""))
    assert (first["answer"], first["confidence"], first["object_version_id"]) == ("'=1+2", "0.5", "3")
    assert (second["key"], second["answer"], second["problem"]) == ("'-b.jpg", "", "gone")
    assert (third["key"], third["question"]) == (r"c\u202e\n.jpg", "'@what?")


def test_a_file_that_cannot_be_finished_is_not_there(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts[1].write_bytes(b"damaged")
    with pytest.raises(Exception, match="Parquet"):
        join_parts(parts, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("name", "says"), [("a.txt", "end it in"), ("work", "end it in"), ("no/a.csv", "is no folder")]
)
def test_a_name_that_cannot_be(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_out(tmp_path / name)
