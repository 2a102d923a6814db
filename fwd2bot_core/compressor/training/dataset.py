"""Images with questions and captions, from JSONL or Parquet, checked row by row.

    image      path of the image file, relative to the data file
    question   and answer: one pair a row; rows of one image belong together
    kind       of the question, for the table of figures
    caption    a short one, or a list of them
    negatives  a list of captions that are false of the image
    key        of the image in an archive: for ``fwd2bot check-labels``, of no use here
    group      images of one group are no negatives of each other, and are held out together

A row needs its image, and a question with its answer or a caption. Knows files and rows. Knows nothing of
tokens or models; imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fwd2bot_core.errors import UsageError

COLUMNS = ("image", "question", "answer", "kind", "caption", "negatives", "group", "key")
DEFAULT_KIND = "question"
LONGEST_LINE = 2**20  # bytes
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: str
    kind: str
    row: str  # "file:number", for errors


@dataclass(slots=True)
class Item:
    """One image and all that is said of it."""

    path: Path
    name: str  # as the data has it
    named_group: str = ""
    questions: list[Question] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    negatives: list[str] = field(default_factory=list)

    @property
    def group(self) -> str:
        """Its own name, where the data gives none."""
        return self.named_group or self.name


def read(files: Sequence[str], *, ignore: Sequence[str] = ()) -> list[Item]:
    """The images of all files in the order of their first rows; raises ``UsageError`` naming file and row."""
    items: dict[Path, Item] = {}
    for file in map(Path, files):
        for row, values in rows_of(file):
            where = f"{file.name}, row {row}"
            wanted = {name: value for name, value in values.items() if name not in ignore}
            _add(items, file, where, known(wanted, where, "; list it in data.ignore to skip it"))
    missing = [item.path for item in items.values() if not _is_file(item.path)]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise UsageError(f"{missing[0]}{more} do not exist: paths of images are relative to the data file")
    if not items:
        raise UsageError(f"{', '.join(files)}: there is no row")
    return list(items.values())


def split(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """For training and held out: about ``share`` of the groups, by a hash of name and seed, whatever the order."""
    kept: list[Item] = []
    held: list[Item] = []
    for item in items:
        digest = hashlib.sha256(f"{seed}:{item.group}".encode()).digest()
        (held if int.from_bytes(digest[:8]) < share * 2**64 else kept).append(item)
    if share and not held:
        raise UsageError("none of the images is held out: add images, or raise data.held_out")
    if not kept:
        raise UsageError("all of the images are held out: add images, or lower data.held_out")
    return kept, held


def digest(files: Iterable[str]) -> str:
    """sha256 over the bytes of all data files, images aside."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return whole.hexdigest()


def rows_of(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row numbers, from 1, and values without the empty ones; raises ``UsageError`` for what is no such file."""
    if not file.is_file():
        raise UsageError(f"{file} does not exist: name a JSONL or Parquet file")
    with _opened(file) as data:
        yield from rows_in(data, file.name)


def rows_in(data: BinaryIO, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The same of the bytes of a file called ``name``, whose end tells Parquet from JSONL."""
    rows = _parquet(data, name) if name.endswith(".parquet") else _json_lines(data, name)
    for number, values in rows:
        yield number, {column: value for column, value in values.items() if value not in (None, "", [])}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name of 5,000 letters
        return False


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


def _json_lines(data: BinaryIO, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(iter(lambda: data.readline(LONGEST_LINE + 1), b""), start=1):
        if len(line) > LONGEST_LINE:
            raise UsageError(f"{name}, row {number}: longer than {LONGEST_LINE:,} bytes, which no row is")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            values = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{name}, row {number}: no JSON in UTF-8 ({error})") from None
        if not isinstance(values, dict):
            raise UsageError(f"{name}, row {number}: a row is an object with an image, not {text[:40]!r}")
        if text:
            yield number, values


def _parquet(data: BinaryIO, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(data) as table:
            for batch in table.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield number, values
    except (pa.ArrowException, OSError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"{name} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def known(values: Mapping[str, Any], where: str, hint: str = "") -> dict[str, Any]:
    """The values of one row, each a text of one of our columns; raises ``UsageError``, which names the row, for any
    other, with a ``hint`` what to do about a column that there is not."""
    for name, value in values.items():
        if name not in COLUMNS:
            raise UsageError(f"{where}: there is no column {name[:60]!r} ({', '.join(COLUMNS)}){hint}")
        several = isinstance(value, list) and all(_is_text(one) and one.strip() for one in value)
        if not (_is_text(value) or (several and name in ("caption", "negatives"))):
            raise UsageError(f"{where}: {name} is {reprlib.repr(value)}, which is no text")
    return dict(values)


def _is_text(value: Any) -> bool:
    """A text that a ledger can hold: Unicode without NUL and half characters."""
    return isinstance(value, str) and "\0" not in value and not _HALVES.search(value)


def _add(items: dict[Path, Item], file: Path, where: str, values: dict[str, Any]) -> None:
    if "image" not in values:
        raise UsageError(f"{where}: image is missing")
    if ("question" in values) != ("answer" in values):
        raise UsageError(f"{where}: a question and its answer come together")
    if "question" not in values and "caption" not in values:
        raise UsageError(f"{where}: there is neither a question nor a caption")
    path = file.parent / values["image"]
    item = items.setdefault(path, Item(path, values["image"]))
    group = values.get("group", item.named_group)
    if item.named_group not in ("", group):
        raise UsageError(
            f"{where}: group is {group!r}, and {item.named_group!r} in an earlier row of this image"
        )
    item.named_group = group
    if "question" in values:
        kind = values.get("kind", DEFAULT_KIND)
        item.questions.append(Question(values["question"], values["answer"], kind, where))
    item.captions += _listed(values.get("caption", []))
    item.negatives += _listed(values.get("negatives", []))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
