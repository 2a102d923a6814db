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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fwd2bot_core.errors import UsageError

COLUMNS = ("image", "question", "answer", "kind", "caption", "negatives", "group", "key")
DEFAULT_KIND = "question"


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
            _add(items, file, f"{file.name}, row {row}", _known(values, ignore, f"{file.name}, row {row}"))
    missing = [item.path for item in items.values() if not item.path.is_file()]
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
    rows = _parquet(file) if file.suffix == ".parquet" else _json_lines(file)
    for number, values in rows:
        yield number, {name: value for name, value in values.items() if value not in (None, "", [])}


def _json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{file.name}, row {number}: no JSON ({error})") from None
            if not isinstance(values, dict):
                raise UsageError(
                    f"{file.name}, row {number}: a row is an object with an image, not {line[:40]!r}"
                )
            yield number, values


def _parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield number, values
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())[:200]}") from None


def _known(values: dict[str, Any], ignore: Sequence[str], where: str) -> dict[str, Any]:
    """The values of our columns, each of its kind."""
    found = {name: value for name, value in values.items() if name not in ignore}
    for name, value in found.items():
        if name not in COLUMNS:
            raise UsageError(
                f"{where}: there is no column {name!r} ({', '.join(COLUMNS)}); list it in data.ignore to skip it"
            )
        several = isinstance(value, list) and all(isinstance(one, str) and one.strip() for one in value)
        if not (isinstance(value, str) or (several and name in ("caption", "negatives"))):
            raise UsageError(f"{where}: {name} is {value!r}, which is no text")
    return found


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
