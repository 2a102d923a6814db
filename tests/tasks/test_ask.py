"""Questions to many images: every image has its row, a stopped run goes on, and no spreadsheet runs what is in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Answer
from fwd2bot_core.errors import UsageError
from infra.archive import Archive
from infra.finding import Query
from infra.installation import Installation
from infra.search_scope import Filters
from infra.settings import load_settings
from tasks import ask
from tasks.ask import Selection, answers, chosen, read_lines, write_answers
from tests.houses import lay_out, night, tiny_jpeg, write_settings

FAKE = FakeCompressor()
QUESTIONS = ["what is it ?", "is it whole ?"]
EVIL = "=cmd|'calc'!A1.jpg"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("archive")
    lay_out(folder / "photos", 12)
    (folder / "photos" / EVIL).write_bytes(tiny_jpeg(77))
    (folder / "photos" / "broken.jpg").write_bytes(b"no picture")
    house = Installation(load_settings(write_settings(folder / "fwd2bot.toml", night={"batch_size": 5})))
    night(house)
    yield Archive(house)
    house.ledger.close()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "PART", 4)


def expected(number: int, question: str) -> Answer:
    return FAKE.answer(FAKE.compress([FAKE.prepare(tiny_jpeg(number))]).tokens[0], question)


def test_every_image_and_question_has_its_row_in_order(archive: Archive) -> None:
    rows = list(answers(archive, ["0003.jpg", "nobody.jpg", "0001.jpg"], QUESTIONS))
    assert [(row.key, row.question) for row in rows] == [
        (key, question) for key in ("0003.jpg", "nobody.jpg", "0001.jpg") for question in QUESTIONS
    ]
    said = expected(3, QUESTIONS[1])
    assert (rows[1].answer, rows[1].confidence, rows[1].problem) == (said.text, said.confidence, None)
    assert rows[2].answer is None
    assert "nothing is known of 'nobody.jpg'" in (rows[2].problem or "")


def test_an_image_that_could_not_be_compressed_says_why(archive: Archive) -> None:
    (row,) = answers(archive, ["broken.jpg"], QUESTIONS[:1])
    assert "not_an_image" in (row.problem or "")


def test_images_by_search_and_by_filters(archive: Archive) -> None:
    found = chosen(archive, Selection(query=Query(text="a", k=3)))
    assert list(found) == [hit.object_version_id for hit in archive.search("a", k=3)]
    assert len(chosen(archive, Selection())) == 13
    assert len(chosen(archive, Selection(filters=Filters(run="another")))) == 0
    assert chosen(archive, Selection(images=("b", "a", "b"))) == ["b", "a"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_file_of_all_answers(archive: Archive, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"answers.{ending}"
    done = write_answers(archive, ["0001.jpg", EVIL, "nobody.jpg", "0002.jpg", "0003.jpg"], QUESTIONS, out)
    assert (done.images, done.answers, done.unanswered, done.resumed) == (5, 8, 1, 0)
    rows = {
        "parquet": lambda: pq.read_table(out).to_pylist(),
        "csv": lambda: list(csv.DictReader(io.StringIO(out.read_text(), newline=""))),
        "jsonl": lambda: [json.loads(line) for line in out.read_text().splitlines()],
    }[ending]()
    assert len(rows) == 10
    assert rows[0]["answer"] == expected(1, QUESTIONS[0]).text
    assert rows[2]["key"] == (f"'{EVIL}" if ending == "csv" else EVIL)
    assert list(tmp_path.iterdir()) == [out]


def test_a_run_that_was_stopped_goes_on(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, images = tmp_path / "answers.parquet", list(chosen(archive, Selection()))
    asked: list[int] = []
    really = FakeCompressor.answers

    def counted(self: FakeCompressor, tokens: Any, questions: Sequence[str]) -> list[Answer]:
        asked.append(len(questions))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return really(self, tokens, questions)

    monkeypatch.setattr(FakeCompressor, "answers", counted)
    with pytest.raises(KeyboardInterrupt):
        write_answers(archive, images, QUESTIONS, out)
    assert not out.exists()
    asked.clear()
    monkeypatch.setattr(FakeCompressor, "answers", lambda *args: (asked.append(1), really(*args))[1])
    done = write_answers(archive, images, QUESTIONS, out)
    assert (done.resumed, len(asked)) == (2, 2)
    assert pq.read_table(out).column("object_version_id").to_pylist() == np.repeat(images, 2).tolist()


def test_other_questions_are_not_answered_from_old_parts(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "answers.csv"
    with monkeypatch.context() as broken:
        broken.setattr(ask, "join_parts", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            write_answers(archive, ["0001.jpg"], QUESTIONS[:1], out)
    done = write_answers(archive, ["0001.jpg"], QUESTIONS[1:], out)
    assert done.resumed == 0
    assert expected(1, QUESTIONS[1]).text in out.read_text()


@pytest.mark.parametrize(
    ("name", "questions", "says"),
    [
        ("a.xlsx", QUESTIONS, r"end it in \.parquet, \.csv, \.jsonl"),
        ("there.csv", QUESTIONS, "is there already, and is not overwritten"),
        ("no/folder.csv", QUESTIONS, "is no folder"),
        ("a.csv", [], "0 questions were given"),
        ("a.csv", ["?" * 1_000_000], "the question has 1,000,000 characters"),
        ("a.csv", ["word " * 100], "too long"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(
    archive: Archive, tmp_path: Path, name: str, questions: list[str], says: str
) -> None:
    (tmp_path / "there.csv").write_text("mine")
    with pytest.raises(UsageError, match=says):
        write_answers(archive, ["0001.jpg"], questions, tmp_path / name)
    assert (tmp_path / "there.csv").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]


def test_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("a b.jpg\r\n\n  \nü.jpg".encode())
    assert read_lines(tmp_path / "list.txt", "keys") == ["a b.jpg", "ü.jpg"]
    (tmp_path / "list.txt").write_bytes(b"\n")
    with pytest.raises(UsageError, match="holds no keys: write one a line"):
        read_lines(tmp_path / "list.txt", "keys")
    with pytest.raises(UsageError, match="cannot be read"):
        read_lines(tmp_path / "none.txt", "keys")


def test_an_image_that_is_gone_meanwhile_is_a_row(
    house: Callable[..., Installation], photos: Callable[..., Any]
) -> None:
    photos(1)
    made = house()
    night(made)
    (row,) = answers(Archive(made), [4711], QUESTIONS[:1])
    assert row.problem == "object version 4711 has no tokens of the compressor in use"
