"""The verb that asks: one image, or many at once into a file.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, terminal
from flows.searching import ANY, Narrowed
from fwd2bot_core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from infra.archive import Archive
    from tasks.ask import Selection, Written

SHOWN = 1_000  # rows that a screen or --json takes; more go into a file


@Parameter(name="*")
@dataclass(frozen=True)
class Several:
    """Which images, where it is not one."""

    list: Annotated[Path | None, Parameter(help="A file with one key or sha256 a line.")] = None
    search: Annotated[str | None, Parameter(help="Those that a text finds.")] = None
    limit: Annotated[int, Parameter(help="How many of them.", validator=Number(gte=1, lte=1000))] = 10
    every: Annotated[
        bool, Parameter(help="All of the collection; also with --since, --run, --tag.", negative="")
    ] = False

    def any(self, which: Narrowed) -> bool:
        return bool(self.list or self.search is not None or self.every or which.narrows)

    def selection(self, collection: str | None, which: Narrowed) -> Selection:
        """Raises ``UsageError``."""
        from infra.finding import Query
        from tasks.ask import Selection, read_lines

        if self.list is not None and (self.search is not None or self.every or which.narrows):
            raise UsageError("--list names the images: leave out what would choose others")
        images = tuple(read_lines(self.list, "keys")) if self.list else ()
        query = None
        if self.search is not None:
            query = Query(text=self.search, collection=collection, filters=which.filters(), k=self.limit)
        return Selection(images=images, query=query, collection=collection, filters=which.filters())


ONE = Several()


@app.command
def ask(
    *words: str,
    collection: str | None = None,
    several: Several = ONE,
    which: Narrowed = ANY,
    questions: Annotated[Path | None, Parameter(help="A file with one question a line.")] = None,
    out: Annotated[
        Path | None,
        Parameter(help="Write all answers there: .parquet, .csv or .jsonl. Goes on after a stop."),
    ] = None,
    person: Annotated[
        str | None, Parameter("--as", help="You, for --out where people are registered.")
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """Answer questions about images from their stored tokens; the originals are not touched.

    Exit code 3 if some of several images could not be asked; each has a row that says why.

    Example: fwd2bot ask line-1/2026-11-23/tray-000007.jpg "what is in b2?"

    Example: fwd2bot ask "is there a scratch?" --since 2026-11-01 --out scratches.parquet

    Parameters
    ----------
    words
        IMAGE and QUESTION; the image is a key, or the sha256 of the file. Without IMAGE where others are chosen, and
        without QUESTION where --questions has them.
    """
    from infra.archive import Archive

    many = several.any(which)
    image, asked = _taken_apart(words, questions, many)
    with Archive.open(common.settings()) as archive:
        if not many and questions is None and out is None:
            return _one(archive, str(image), asked[0], collection, common.json)
        images = [image] if image is not None else None
        return _many(archive, images, asked, collection, several, which, out, person, common.json)


def _taken_apart(words: tuple[str, ...], questions: Path | None, many: bool) -> tuple[str | None, list[str]]:
    """The one image, if it is one, and the questions."""
    from tasks.ask import read_lines

    wanted = [*([] if many else ["IMAGE"]), *([] if questions else ["QUESTION"])]
    if len(words) != len(wanted):
        meant = " and ".join(wanted) or "neither IMAGE nor QUESTION"
        raise UsageError(f"give {meant} here, and not {len(words)} words; put a question in quotes")
    asked = read_lines(questions, "questions") if questions else [words[-1]]
    return (None if many else words[0]), asked


def _one(archive: Archive, image: str, question: str, collection: str | None, as_json: bool) -> int:
    from flows.render import show_answer
    from infra.lookup import destruction

    (stored,) = archive.locate(image, collection)
    ((answer,),) = archive.answers([stored], [question])
    with archive.house.ledger.read() as connection:
        gone = destruction(connection, stored.object_version_id)
    if as_json:
        named = ("collection", "key", "identity", "sha256", "superseded", "shard", "row")
        said: dict[str, Any] = {"question": question, "answer": answer.text, "confidence": answer.confidence}
        said |= {"destroyed_at": gone[0].isoformat(), "list_id": gone[1]} if gone else {}
        print(json.dumps(said | {name: getattr(stored, name) for name in named}, sort_keys=True))
    else:
        show_answer(terminal(), stored, answer)
        if gone:
            how = f"its original was destroyed on {gone[0]:%Y-%m-%d %H:%M} UTC by list {gone[1]}"
            terminal().print(f"{how}; `fwd2bot certificate` proves it", style="dim", highlight=False)
    return ExitCode.OK


def _many(
    archive: Archive,
    named: list[str] | None,
    asked: list[str],
    collection: str | None,
    several: Several,
    which: Narrowed,
    out: Path | None,
    person: str | None,
    as_json: bool,
) -> int:
    from flows.screens import counting
    from fwd2bot_core.retention.roles import Act
    from tasks.answers_file import check_out
    from tasks.ask import check_questions, chosen, write_answers
    from tasks.exporting import allowed

    check_questions(asked)
    if out is not None:
        check_out(out)
    images = named or chosen(archive, several.selection(collection, which))
    if out is None:
        return _shown(archive, images, asked, collection, as_json)
    allowed(archive.house, person, Act.EXPORT, f"answers to {len(asked)} questions", images=len(images))
    console = terminal()
    with counting(console, "asking", as_json) as progress:
        done = write_answers(archive, images, asked, out, collection=collection, progress=progress)
    _told(done, out, as_json)
    return ExitCode.PARTLY_FAILED if done.unanswered else ExitCode.OK


def _shown(archive: Archive, images: object, asked: list[str], collection: str | None, as_json: bool) -> int:
    from collections.abc import Sequence

    from flows.render import table
    from tasks.ask import answers

    assert isinstance(images, Sequence)
    if len(images) * len(asked) > SHOWN:
        raise UsageError(f"{len(images) * len(asked):,} answers are more than a screen takes: add --out FILE")
    rows = list(answers(archive, images, asked, collection))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], sort_keys=True))
    else:
        said = [
            (r.key, r.question, r.problem or r.answer, r.confidence if r.confidence is not None else "-")
            for r in rows
        ]
        terminal().print(
            table(f"{len(images):,} images", ("image", "question", "answer", "confidence"), said)
        )
    return ExitCode.PARTLY_FAILED if any(row.problem for row in rows) else ExitCode.OK


def _told(done: Written, out: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(done) | {"out": str(out.resolve())}, sort_keys=True))
        return
    left = f", {done.unanswered:,} images could not be asked (column problem)" if done.unanswered else ""
    again = f", {done.resumed:,} parts were there from before" if done.resumed else ""
    terminal().print(
        f"{done.answers:,} answers of {done.images:,} images in {out}{left}{again}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
