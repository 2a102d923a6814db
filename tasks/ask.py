"""Questions to many images at once: their answers as they come, and as a file that is finished where it was stopped.

Work is cut into parts, each named by all that its answers depend on; a part that lies there is not computed again. An
image that cannot be asked is a row with the reason, never an omission. Reads tokens, never an original. Knows nothing
about how a model answers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fwd2bot_core.errors import NotInArchive, UsageError
from infra.archive_face import Archive
from infra.finding import Query, check_text
from infra.lookup import Stored, by_number, why_no_tokens
from infra.search_scope import ALL, Filters, matching, scope_of
from tasks.answers_file import Row, check_out, join_parts, write_part

PART = 500  # images
MOST_QUESTIONS = 1_000
Named = str | int  # an image by key or sha256, or by the number of its object version


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which images are asked: those named, else those that a search finds, else all that the filters let through."""

    images: tuple[str, ...] = ()
    query: Query | None = None
    collection: str | None = None
    filters: Filters = field(default=ALL)


@dataclass(frozen=True, slots=True)
class Written:
    """What is in the file."""

    images: int
    answers: int
    unanswered: int  # images that could not be asked; the reason is in their rows
    resumed: int  # parts that lay there from a run that was stopped


def chosen(archive: Archive, selection: Selection) -> Sequence[Named]:
    """The images, in the order in which they are asked. Raises ``NotInArchive``, ``UsageError``."""
    if selection.images:
        return list(dict.fromkeys(selection.images))
    if selection.query is not None:
        return [hit.object_version_id for hit in archive.find(selection.query).hits]
    scope = scope_of(archive.house, selection.collection)
    with archive.house.ledger.read() as connection:
        return array("q", (number for number, _, _ in matching(connection, scope, selection.filters)))


def answers(
    archive: Archive, images: Sequence[Named], questions: Sequence[str], collection: str | None = None
) -> Iterator[Row]:
    """One row for each image and question, image by image."""
    for start in range(0, len(images), PART):
        some = images[start : start + PART]
        yield from _part(archive, some, _places(archive, some, collection), questions)


def write_answers(
    archive: Archive,
    images: Sequence[Named],
    questions: Sequence[str],
    out: Path,
    *,
    collection: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """The same into a new file, whose ending says how: .parquet, .csv or .jsonl.

    Run again after a stop, it goes on. Raises ``UsageError`` for a file that is there already, an ending that is not
    known, or questions that cannot be asked.
    """
    check_out(out)
    check_questions(questions)
    work, parts, resumed = out.with_name(f"{out.name}.parts"), list[Path](), 0
    for start in range(0, len(images), PART):
        some = images[start : start + PART]
        places = _places(archive, some, collection)
        part = work / f"{_name(some, places, questions)}.parquet"
        if part.exists():
            resumed += 1
        else:
            write_part(part, list(_part(archive, some, places, questions)))
        parts.append(part)
        progress(min(start + PART, len(images)), len(images))
    rows, without = join_parts(parts, out)
    shutil.rmtree(work, ignore_errors=True)
    return Written(len(images), rows - without, without // max(len(questions), 1), resumed)


def check_questions(questions: Sequence[str]) -> None:
    """Raises ``UsageError``; what only the model can refuse, it refuses before its first answer."""
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise UsageError(f"{len(questions):,} questions were given; give 1 to {MOST_QUESTIONS:,}")
    for question in questions:
        check_text(question, "question")


def read_lines(file: Path, what: str) -> list[str]:
    """The lines of a UTF-8 file that are not empty. Raises ``UsageError`` where there are none."""
    try:
        lines = [line.strip("\r") for line in file.read_text(encoding="utf-8").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    if not (found := [line for line in lines if line.strip()]):
        raise UsageError(f"{file} holds no {what}: write one a line")
    return found


def _part(
    archive: Archive, images: Sequence[Named], places: Sequence[Stored | str], questions: Sequence[str]
) -> Iterator[Row]:
    stored = [place for place in places if isinstance(place, Stored)]
    said = iter(archive.answers(stored, questions))
    for image, place in zip(images, places, strict=True):
        if isinstance(place, Stored):
            pairs = zip(questions, next(said), strict=True)
            yield from (Row.answered(place, question, answer) for question, answer in pairs)
        else:
            yield from (Row.unanswered(str(image), question, place) for question in questions)


def _places(archive: Archive, images: Sequence[Named], collection: str | None) -> list[Stored | str]:
    """Where each image's tokens lie, or why there are none."""
    numbers = [image for image in images if isinstance(image, int)]
    known: dict[int, Stored | str] = {}
    if numbers:
        scope = scope_of(archive.house, collection)
        with archive.house.ledger.read() as connection:
            known |= by_number(connection, numbers, scope.spec)
            known |= {n: why_no_tokens(connection, n) for n in numbers if n not in known}
    return [_place(archive, image, known, collection) for image in images]


def _place(
    archive: Archive, image: Named, known: dict[int, Stored | str], collection: str | None
) -> Stored | str:
    if isinstance(image, int):
        return known[image]
    try:
        return archive.locate(image, collection)[0]
    except (NotInArchive, UsageError) as error:
        return str(error)


def _name(images: Sequence[Named], places: Sequence[Stored | str], questions: Sequence[str]) -> str:
    """A hash of all that a part's answers depend on: a key may show another version by the time of the next try."""
    known = [[p.fingerprint, p.object_version_id] if isinstance(p, Stored) else p for p in places]
    said = json.dumps([list(images), known, list(questions)], ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()[:32]
