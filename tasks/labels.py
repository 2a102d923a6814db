"""Answers from stored tokens against a person's labels: the one check that does not ask the model about itself.

Reads labels and committed tokens, never an original; writes the result down, with an audit event. Knows nothing about
what a result is good for.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.events import Event
from fwd2bot_core.compressor.protocol import Compressor
from fwd2bot_core.compressor.scoring import same_words, wilson
from fwd2bot_core.compressor.training.dataset import DEFAULT_KIND, known, rows_in
from fwd2bot_core.errors import NotInArchive, UsageError
from infra import archive, audit_log, pairing
from infra.installation import Installation
from infra.lookup import Stored, locate
from infra.tables import collections, compressors, label_checks, shards

NAMED = 50  # wrong answers that a result shows
MILLION = 1_000_000  # an audit record holds no fractions


@dataclass(frozen=True, slots=True)
class Label:
    """What a person says about one image."""

    key: str
    question: str
    answer: str
    kind: str
    where: str  # "file, row number", for errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """An answer that is not the person's."""

    key: str
    question: str
    said: str
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Right answers among ``questions``, with the 95 % interval of their share (Wilson).

    Questions about one image are right or wrong together, at worst all of them: the interval is that of as many
    ``independent`` ones, (sum of n)^2 / sum of n^2 over the images' numbers n of questions. Source: Leslie Kish,
    "Survey Sampling" (1965), the effective sample size.
    """

    right: int
    questions: int
    independent: float

    @property
    def accuracy(self) -> float:
        return self.right / self.questions

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.accuracy * self.independent, self.independent)

    def as_json(self) -> dict[str, Any]:
        low, high = self.interval
        figures = {"accuracy": self.accuracy, "low": low, "high": high}
        figures |= {"independent": self.independent}
        return {"right": self.right, "questions": self.questions} | {
            name: round(value, 6) for name, value in figures.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCheck:
    """The result. ``missing`` says of labelled images without tokens why there are none; they are not in the shares."""

    collection: str
    compressor: str  # fingerprint
    codec: str
    labels_sha256: str
    all: Share
    kinds: dict[str, Share]
    at_least: float | None
    wrong: list[Wrong]  # at most ``NAMED``
    missing: dict[str, str]  # key -> why

    @property
    def passed(self) -> bool | None:
        """Whether accuracy is at least what was asked for, beyond doubt (the interval's low end) and for every
        label; None if nothing was asked for."""
        if self.at_least is None:
            return None
        return not self.missing and self.all.interval[0] >= self.at_least

    def as_json(self) -> dict[str, Any]:
        return {
            "collection": self.collection,
            "compressor": self.compressor,
            "codec": self.codec,
            "labels_sha256": self.labels_sha256,
            **self.all.as_json(),
            "kinds": {kind: share.as_json() for kind, share in self.kinds.items()},
            "at_least": self.at_least,
            "passed": self.passed,
            "wrong": [{name: getattr(one, name) for name in Wrong.__slots__} for one in self.wrong],
            "missing": self.missing,
        }


def check_labels(
    installation: Installation,
    collection: str,
    file: Path,
    *,
    at_least: float | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> LabelCheck:
    """Ask every label's question of its image's stored tokens, and write the result down.

    ``progress`` hears (done, in all). Raises ``UsageError`` for a file that holds no labels, or a question that the
    compressor cannot read, ``NotInArchive`` when no
    labelled image has tokens.
    """
    labels, sha256 = read_labels(file)
    compressor, size = installation.compressor(collection), installation.settings.compressor.micro_batch
    _check_questions(compressor, labels)
    places, missing = _located(installation, collection, {label.key: None for label in labels})
    asked = [label for label in labels if label.key in places]
    if not asked:
        key, why = next(iter(missing.items()))
        raise NotInArchive(f"none of the labelled images has summary tokens; of {key!r}: {why}")
    said: list[str] = []
    for start in range(0, len(asked), size):
        few = asked[start : start + size]
        tokens = archive.many_tokens(installation, [places[label.key] for label in few])
        said += [answer.text for answer in compressor.answers(tokens, [label.question for label in few])]
        progress(len(said), len(asked))
    return _written(installation, collection, sha256, asked, said, places, missing, at_least)


def read_labels(file: Path) -> tuple[list[Label], str]:
    """The rows of a JSONL or Parquet file (key, question, answer, and kind where there is one), and the sha256 of the
    bytes that they were read from. Raises ``UsageError``, also for a question that is put to one key twice."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    labels, seen = [], dict[tuple[str, str], str]()
    for number, row in rows_in(io.BytesIO(data), file.name):
        label = _label(row, f"{file.name}, row {number}")
        labels.append(label)
        same = label.key, " ".join(label.question.casefold().split())
        if same in seen:
            raise UsageError(
                f"{label.where}: the same key and question as {seen[same]}; a copy proves nothing"
            )
        seen[same] = label.where
    if not labels:
        raise UsageError(f"{file} holds no labels: write one object with key, question and answer a line")
    return labels, hashlib.sha256(data).hexdigest()


def _label(row: dict[str, Any], where: str) -> Label:
    known(row, where)
    if missing := [name for name in ("key", "question", "answer") if name not in row]:
        raise UsageError(f"{where}: a label needs key, question and answer as texts; {missing[0]} is none")
    return Label(row["key"], row["question"], row["answer"], row.get("kind", DEFAULT_KIND), where)


def _check_questions(compressor: Compressor, labels: Sequence[Label]) -> None:
    for label in labels:
        try:
            compressor.check([label.question])
        except UsageError as error:
            raise UsageError(f"{label.where}: {error}") from error


def _located(
    installation: Installation, collection: str, keys: dict[str, None]
) -> tuple[dict[str, Stored], dict[str, str]]:
    places, missing = {}, {}
    for key in keys:
        try:
            places[key] = locate(installation, key, collection)
        except NotInArchive as error:
            missing[key] = str(error)
    return places, missing


def _written(
    installation: Installation,
    collection: str,
    sha256: str,
    asked: Sequence[Label],
    said: Sequence[str],
    places: Mapping[str, Stored],
    missing: dict[str, str],
    at_least: float | None,
) -> LabelCheck:
    answers = [(label, text, same_words(text, label.answer)) for label, text in zip(asked, said, strict=True)]
    contents = [(label.kind, places[label.key].sha256, right) for label, _, right in answers]
    with installation.ledger.write() as connection:
        audit_log.hold(connection)
        pairing.check(connection, installation.archive)
        check = LabelCheck(
            collection=collection,
            compressor=installation.spec(collection).fingerprint,
            codec=_codec(connection, list(places.values())),
            labels_sha256=sha256,
            all=_share([(content, right) for _, content, right in contents]),
            kinds={
                kind: _share([(content, right) for its, content, right in contents if its == kind])
                for kind in sorted({label.kind for label in asked})
            },
            at_least=at_least,
            wrong=[
                Wrong(key=label.key, question=label.question, said=text, wanted=label.answer)
                for label, text, right in answers
                if not right
            ][:NAMED],
            missing=missing,
        )
        _record(connection, check)
    return check


def _share(answers: Sequence[tuple[str, bool]]) -> Share:
    """Of answers, each with the hash of the photo that it is about: two keys may hold the same photo."""
    each = Counter(content for content, _ in answers).values()
    return Share(
        right=sum(right for _, right in answers),
        questions=len(answers),
        independent=len(answers) ** 2 / sum(count * count for count in each),
    )


def _codec(connection: sa.Connection, places: Sequence[Stored]) -> str:
    """Of the tokens that answered; several names joined where shards differ."""
    paths = {stored.shard for stored in places}
    found = connection.execute(sa.select(shards.c.codec).where(shards.c.path.in_(paths)).distinct())
    return "+".join(sorted(found.scalars()))


def _record(connection: sa.Connection, check: LabelCheck) -> None:
    mine = {
        "collection_id": sa.select(collections.c.id).where(collections.c.name == check.collection),
        "compressor_id": sa.select(compressors.c.id).where(compressors.c.fingerprint == check.compressor),
    }
    at = audit_log.now()
    figures = {"questions": check.all.questions, "right_answers": check.all.right, "passed": check.passed}
    kinds = json.dumps({kind: [share.right, share.questions] for kind, share in check.kinds.items()})
    connection.execute(
        label_checks.insert().values(
            **{name: query.scalar_subquery() for name, query in mine.items()},
            **figures,
            codec=check.codec,
            labels_sha256=check.labels_sha256,
            kinds=kinds,
            at_least=check.at_least,
            checked_at=at,
        )
    )
    audit_log.append(
        connection,
        Event(
            type="labels.checked",
            occurred_at=at,
            actor=audit_log.actor(connection, "operator"),
            collection=audit_log.reference(connection, "collection", check.collection),
            compressor=check.compressor,
            subject={"labels": audit_log.reference(connection, "labels", check.labels_sha256)},
            after=figures
            | {
                "codec": check.codec,
                "kinds": audit_log.reference(connection, "kinds", kinds),
                "missing": len(check.missing),
                "at_least_millionths": None if check.at_least is None else round(check.at_least * MILLION),
            },
        ),
    )
