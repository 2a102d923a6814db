"""A person's labels against answers from tokens: counted right, kept, and in the audit log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.compressor.scoring import wilson
from fwd2bot_core.errors import NotInArchive, UsageError
from infra import archive
from infra.installation import Installation
from infra.tables import audit_values, label_checks
from tasks.labels import NAMED, Share, check_labels, read_labels
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.steps import events, everything, rows

WHOLE, LOT = "is it whole ?", "which lot ?"
LABEL = '{"key": "a", "question": "b", "answer": "c"}\n'
BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


@pytest.fixture
def made(house: BuildHouse, photos: Photos) -> Installation:
    photos(6)
    installation = house(compressor={"micro_batch": 4})
    night(installation)
    return installation


def true_labels(made: Installation) -> list[dict[str, str]]:
    """What the tokens do say, under two kinds."""
    return [
        {"key": key, "question": question, "answer": archive.ask(made, key, question)[1].text, "kind": kind}
        for key in (f"{n:04}.jpg" for n in range(6))
        for kind, question in (("whole", WHOLE), ("lot", LOT))
    ]


def written(path: Path, labels: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(label) + "\n" for label in labels))
    return path


def test_right_answers_are_counted_by_kind(made: Installation, tmp_path: Path) -> None:
    labels = true_labels(made)
    labels[0]["answer"] = labels[0]["answer"].upper()  # case does not matter
    labels[3]["answer"] = "something else"
    file = written(tmp_path / "labels.jsonl", labels)
    heard: list[tuple[int, int]] = []
    found = check_labels(made, COLLECTION, file, progress=lambda *at: heard.append(at))
    assert found.all == Share(right=11, questions=12, independent=6)
    assert found.kinds == {
        "lot": Share(right=5, questions=6, independent=6),
        "whole": Share(right=6, questions=6, independent=6),
    }
    assert found.all.accuracy == pytest.approx(11 / 12)
    assert found.all.interval == pytest.approx(wilson(5.5, 6))
    (wrong,) = found.wrong
    assert (wrong.key, wrong.question, wrong.wanted) == ("0001.jpg", LOT, "something else")
    assert found.missing == {}
    assert found.passed is None
    assert heard == [(4, 12), (8, 12), (12, 12)]


def test_the_result_is_kept_and_in_the_audit_log_without_a_name(made: Installation, tmp_path: Path) -> None:
    labels = true_labels(made)
    labels[3]["answer"] = "something else"
    found = check_labels(made, COLLECTION, written(tmp_path / "labels.jsonl", labels), at_least=0.5)
    assert found.passed is True
    (kept,) = rows(made, label_checks)
    assert (kept.questions, kept.right_answers, kept.at_least, kept.passed) == (12, 11, 0.5, True)
    assert (kept.codec, kept.labels_sha256) == ("exact", found.labels_sha256)
    assert json.loads(kept.kinds) == {"lot": [5, 6], "whole": [6, 6]}
    (event,) = events(made, "labels.checked")
    (kinds,) = rows(made, audit_values.select().where(audit_values.c.kind == "kinds"))
    assert event["after"] == {
        "kinds": commitment(kinds.salt, "kinds", kept.kinds),
        "questions": 12,
        "right_answers": 11,
        "passed": True,
        "codec": "exact",
        "missing": 0,
        "at_least_millionths": 500000,
    }
    assert event["compressor"] == made.spec(COLLECTION).fingerprint
    (value,) = rows(made, audit_values.select().where(audit_values.c.kind == "labels"))
    assert event["subject"] == {"labels": commitment(value.salt, "labels", found.labels_sha256)}
    assert found.labels_sha256 not in json.dumps(event)
    check_labels(made, COLLECTION, tmp_path / "labels.jsonl")
    assert len(rows(made, label_checks)) == 2


def test_a_few_right_labels_are_no_proof(made: Installation, tmp_path: Path) -> None:
    """All twelve right, two of each image: only what six images prove, 0.61 beyond doubt."""
    file = written(tmp_path / "labels.jsonl", true_labels(made))
    assert check_labels(made, COLLECTION, file, at_least=0.6).passed is True
    assert check_labels(made, COLLECTION, file, at_least=0.62).passed is False


def test_a_labelled_image_without_tokens_is_named_and_nothing_is_passed(
    made: Installation, tmp_path: Path
) -> None:
    labels = [*true_labels(made), {"key": "gone.jpg", "question": LOT, "answer": "bolt"}]
    found = check_labels(made, COLLECTION, written(tmp_path / "labels.jsonl", labels), at_least=0.5)
    assert found.all == Share(right=12, questions=12, independent=6)
    assert list(found.missing) == ["gone.jpg"]
    assert "nothing is known of" in found.missing["gone.jpg"]
    assert found.passed is False


def test_many_copies_of_one_photo_prove_as_little_as_it_alone(
    made: Installation, photos: Photos, tmp_path: Path
) -> None:
    for path in photos(20, start=20):
        path.write_bytes(tiny_jpeg(99))
    night(made)
    labels = [
        {"key": key, "question": LOT, "answer": archive.ask(made, key, LOT)[1].text}
        for key in (f"{n:04}.jpg" for n in range(20, 40))
    ]
    found = check_labels(made, COLLECTION, written(tmp_path / "labels.jsonl", labels), at_least=0.5)
    assert found.all == Share(right=20, questions=20, independent=1)
    assert found.passed is False


def test_a_file_that_is_written_anew_meanwhile_is_not_what_was_checked(
    made: Installation, tmp_path: Path
) -> None:
    file = written(tmp_path / "labels.jsonl", true_labels(made))
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    found = check_labels(made, COLLECTION, file, progress=lambda *_: file.unlink(missing_ok=True))
    assert found.labels_sha256 == before


def test_a_question_that_cannot_be_read_is_named_before_any_is_asked(
    made: Installation, tmp_path: Path
) -> None:
    labels = [*true_labels(made), {"key": "0000.jpg", "question": "long " * 65, "answer": "bolt"}]
    asked: list[int] = []
    with pytest.raises(UsageError, match=r"labels\.jsonl, row 13: "):
        check_labels(
            made,
            COLLECTION,
            written(tmp_path / "labels.jsonl", labels),
            progress=lambda *at: asked.append(at[0]),
        )
    assert asked == []


def test_labels_about_nothing_that_is_known_change_nothing(made: Installation, tmp_path: Path) -> None:
    file = written(tmp_path / "labels.jsonl", [{"key": "gone.jpg", "question": LOT, "answer": "bolt"}])
    before = everything(made)
    with pytest.raises(NotInArchive, match="none of the labelled images"):
        check_labels(made, COLLECTION, file)
    assert everything(made) == before


def test_parquet_and_json_lines_say_the_same(made: Installation, tmp_path: Path) -> None:
    labels = true_labels(made)
    pq.write_table(pa.Table.from_pylist(labels), tmp_path / "labels.parquet")
    assert [replace(label, where="") for label in read_labels(tmp_path / "labels.parquet")[0]] == [
        replace(label, where="") for label in read_labels(written(tmp_path / "l.jsonl", labels))[0]
    ]


def test_not_every_wrong_answer_is_shown(made: Installation, tmp_path: Path) -> None:
    labels = [{"key": "0000.jpg", "question": f"{n} ?", "answer": "nothing at all"} for n in range(NAMED + 5)]
    found = check_labels(made, COLLECTION, written(tmp_path / "labels.jsonl", labels))
    assert (found.all.right, len(found.wrong)) == (0, NAMED)
    assert found.kinds.keys() == {"question"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no labels"),
        ("not json\n", "row 1: no JSON in UTF-8"),
        ('{"key": "a", "question": "b"}\n', "row 1: a label needs .* answer is none"),
        (LABEL + '{"key": 7, "question": "b", "answer": "c"}\n', "row 2: key is 7"),
        (
            LABEL + "\n" + LABEL.replace('"b"', '" B"'),
            r"row 3: the same key and question as labels\.jsonl, row 1",
        ),
        (LABEL.replace("}", ', "knid": "d"}'), "row 1: there is no column 'knid'"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_labels(file)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_labels(tmp_path / "none.jsonl")
