"""The verbs that search and ask, as people meet them: results, exit codes, errors of one sentence."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.settings import load_settings
from tasks import people
from tests.houses import COLLECTION, lay_out, night, tiny_jpeg, write_settings
from tests.tasks.signers import Signer

FAKE = FakeCompressor()
EVIL = "=1+2.jpg"


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven compressed photos, one of them with a hostile name."""
    root = tmp_path_factory.mktemp("house")
    lay_out(root / "photos", 6)
    (root / "photos" / EVIL).write_bytes(tiny_jpeg(60))
    house = Installation(load_settings(write_settings(root / "fwd2bot.toml")))
    night(house)
    house.ledger.close()
    return root


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments), "--config", str(folder / "fwd2bot.toml")])
        shown = capsys.readouterr()
        return Ended(int(ended.value.code or 0), shown.out, shown.err)

    return call


def test_search_shows_the_best_first(run: Run) -> None:
    ended = run("search", "a cracked weld", "--limit", "3")
    assert (ended.code, ended.err) == (0, "")
    assert "found, best first" in ended.out
    assert "7 compared in" in ended.out
    said = run("search", "a cracked weld", "--limit", "3", "--json").json
    assert len(said["hits"]) == 3
    assert [hit["score"] for hit in said["hits"]] == sorted((h["score"] for h in said["hits"]), reverse=True)
    assert {hit["collection"] for hit in said["hits"]} == {COLLECTION}
    assert said["compressor"] == FAKE.spec.fingerprint


def test_search_by_examples_with_a_page(run: Run, tmp_path: Path) -> None:
    ended = run("search", "--like", "0001.jpg", "0002.jpg", "--html", tmp_path / "page.html")
    assert ended.code == 0
    assert (tmp_path / "page.html").as_uri() in ended.out
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 5
    assert "0001.jpg" not in page


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["search"], 2, "say what to look for: a text, or examples with --like"),
        (["search", "a", "--like", "0001.jpg"], 2, "and not both"),
        (["search", "a", "--since", "soon"], 2, "--since: 'soon' is no time"),
        (["search", "x" * 3000], 2, "the text has 3,000 characters"),
        (["search", "--like", "nobody.jpg"], 1, "nothing is known of 'nobody.jpg'"),
        (["search", "a", "--collection", "line-9"], 2, "no collection 'line-9' in the settings"),
        (["search", "a", "--html", "/nowhere/page.html"], 2, "cannot write /nowhere/page.html"),
        (["ask", "0001.jpg"], 2, "give IMAGE and QUESTION here, and not 1 words"),
        (["ask", "0001.jpg", "what?", "--every"], 2, "give QUESTION here, and not 2 words"),
        (["ask", "what?", "--list", "nothing.txt"], 2, "nothing.txt cannot be read"),
        (["ask", "0001.jpg", "?" * 1_000_000], 2, "the question has 1,000,000 characters"),
        (["ask", "nobody.jpg", "what?"], 1, "nothing is known of 'nobody.jpg'"),
        (["ask", "what?", "--every", "--out", "answers.docx"], 2, "the name's ending says how to write it"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run: Run, words: list[str], code: int, says: str) -> None:
    ended = run(*words)
    assert ended.code == code, ended
    assert says in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_filters_that_leave_nothing_are_no_error(run: Run) -> None:
    ended = run("search", "a", "--until", "1999-01-01")
    assert (ended.code, "the filters leave nothing" in ended.out) == (0, True)


def test_one_question_about_one_image(run: Run) -> None:
    said = run("ask", "0003.jpg", "what is it ?", "--json").json
    answer = FAKE.answer(FAKE.compress([FAKE.prepare(tiny_jpeg(3))]).tokens[0], "what is it ?")
    assert (said["answer"], said["key"]) == (answer.text, "0003.jpg")
    assert answer.text in run("ask", "0003.jpg", "what is it ?").out


def test_a_question_about_what_a_search_finds(run: Run) -> None:
    found = [hit["key"] for hit in run("search", "a bolt", "--limit", "2", "--json").json["hits"]]
    rows = run("ask", "what is it ?", "--search", "a bolt", "--limit", "2", "--json").json
    assert [row["key"] for row in rows] == found
    assert "2 images" in run("ask", "what is it ?", "--search", "a bolt", "--limit", "2").out


def test_many_questions_about_a_list_as_csv(run: Run, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text(f"0001.jpg\n{EVIL}\nnobody.jpg\n")
    (tmp_path / "questions.txt").write_text("what is it ?\nis it whole ?\n")
    out = tmp_path / "answers.csv"
    ended = run(
        "ask", "--list", tmp_path / "keys.txt", "--questions", tmp_path / "questions.txt", "--out", out
    )
    assert ended.code == 3
    assert "4 answers of 3 images" in ended.out
    assert "1 images could not be asked" in ended.out
    rows = list(csv.DictReader(io.StringIO(out.read_text(), newline="")))
    assert [row["key"] for row in rows] == ["0001.jpg"] * 2 + [f"'{EVIL}"] * 2 + ["nobody.jpg"] * 2


def test_a_question_about_everything_into_a_file(run: Run, tmp_path: Path) -> None:
    said = run("ask", "what is it ?", "--since", "2000-01-01", "--out", tmp_path / "a.parquet", "--json").json
    assert (said["images"], said["answers"], said["unanswered"], said["resumed"]) == (7, 7, 0, 0)


def test_too_many_answers_for_a_screen_want_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.asking.SHOWN", 5)
    ended = run("ask", "what is it ?", "--every")
    assert (ended.code, "add --out FILE" in ended.err) == (2, True)


def test_the_index_is_built_and_shown(run: Run) -> None:
    assert run("search-index", "show", "--json").json["why"] == "not needed"
    assert run("search-index", "build", "--json").json["indexed"] == 7
    shown = run("search-index", "show")
    assert "of these in the index" in shown.out
    assert run("search", "a", "--json").json["indexed"] == 7
    assert run("search", "a", "--exact", "--json").json["scanned"] == 7


def test_where_people_are_registered_files_and_pictures_need_one_of_them(
    house: Callable[..., Installation], photos: Callable[..., Any], tmp_path: Path, capsys: Any
) -> None:
    photos(1)
    made = house()
    night(made)
    people.register(made.ledger, "Dana", Signer().public, [Role.DATA_TEAM])

    def code(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--config", str(tmp_path / "fwd2bot.toml")])
        capsys.readouterr()
        return int(ended.value.code or 0)

    file, page = str(tmp_path / "a.csv"), str(tmp_path / "page.html")
    assert code("ask", "what?", "--every", "--out", file) == 4
    assert code("search", "a", "--html", page) == 4
    assert not Path(file).exists()
    assert not Path(page).exists()
    assert code("ask", "what?", "--every", "--out", file, "--as", "Dana") == 0
    assert code("search", "a", "--html", page, "--as", "Dana") == 0
    assert code("search", "a") == 0
