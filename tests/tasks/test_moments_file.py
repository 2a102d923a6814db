"""Files that say when photos were taken: three kinds, one meaning; what cannot be read stops everything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fwd2bot_core.errors import UsageError
from tasks.moments_file import Line, moment, read

TAKEN = datetime(2026, 11, 20, 4, 5, 7, tzinfo=UTC)
DAY = datetime(2026, 11, 30, 14, 59, 59, 999_999, tzinfo=UTC)  # its end, in Tokyo
LINES = [
    Line("a.jpg", captured=TAKEN, tags=frozenset({"reject", "x"})),
    Line("b.jpg", dates={"end-of-production": DAY}, untags=frozenset({"disputed"})),
]


def test_csv(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_text(
        "\ufeffkey,captured_at,tags,untags,event:end-of-production\n"
        "a.jpg,2026-11-20T13:05:07,reject x,,\nb.jpg,,,disputed,2026-11-30\n"
    )
    assert read(file, "Asia/Tokyo") == LINES


def test_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text(
        '{"key": "a.jpg", "captured_at": "2026-11-20T04:05:07Z", "tags": ["reject", "x"]}\n'
        '{"key": "b.jpg", "events": {"end-of-production": "2026-11-30"}, "untags": "disputed"}\n'
    )
    assert read(file, "Asia/Tokyo") == LINES


def test_parquet(tmp_path: Path) -> None:
    file = tmp_path / "m.parquet"
    table = {
        "key": ["a.jpg", "b.jpg"],
        "captured_at": pa.array([TAKEN, None], pa.timestamp("us", "UTC")),
        "tags": [["reject", "x"], None],
        "untags": [None, ["disputed"]],
        "event:end-of-production": [None, "2026-11-30"],
    }
    pq.write_table(pa.table(table), file)
    assert read(file, "Asia/Tokyo") == LINES


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.csv", "key,captured_at\na,2026-11-20T09:00\n", "line 2: .*zone"),
        ("m.csv", "key,captured_at\na,yesterday\n", "line 2: 'yesterday' is neither"),
        ("m.csv", "key,taken\na,2026-11-20\n", "'taken' is no column"),
        ("m.csv", "captured_at\n2026-11-20T09:00Z\n", "no key"),
        ("m.csv", "key\na,b\n", "no column"),
        ("m.csv", "key,event:End Of\na,2026-11-20T09:00Z\n", "no name of an event"),
        ("m.csv", "key,tags\na,re;ject\n", "no name of a tag"),
        ("m.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("m.jsonl", '{"key": "a", "events": 5}\n', "line 1"),
        ("m.jsonl", '{"key": 5}\n', "no key"),
        ("m.jsonl", "[" * 70_000, "line 1 is no JSON object"),
        ("m.parquet", "no parquet", "is no Parquet file"),
        ("m.xlsx", "", "none of .csv"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=said):
        read(tmp_path / name, None)


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "gone.csv", None)
    (tmp_path / "m.csv").write_bytes(b"key\n\xff\n")
    with pytest.raises(UsageError, match="no UTF-8"):
        read(tmp_path / "m.csv", None)


def test_a_day_is_its_end_and_a_time_says_its_zone() -> None:
    assert moment("2026-11-30", "Asia/Tokyo") == DAY
    assert moment("2026-11-30T14:00+09:00", None) == datetime(2026, 11, 30, 5, tzinfo=UTC)
