"""An archive in a few words, for other programs: open it, search it, ask it, read its tokens.

    from infra.archive import Archive

    with Archive.open("fwd2bot.toml") as archive:
        for hit in archive.search("red sneaker", collection="line-1", k=5):
            print(hit.score, hit.key, archive.ask(hit.key, "is it broken?")[0].text)

Reads only. One object may serve several threads; a model then answers one of them at a time. Knows nothing about how
anything is found or made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.protocol import Answer, Compressor
from fwd2bot_core.errors import CompressorMismatch, NotInArchive, UsageError
from fwd2bot_core.tokens.numbers import widened
from infra.finding import Example, Query, check_text, find
from infra.installation import Installation
from infra.lookup import Stored, by_number, locate, why_no_tokens
from infra.search_hits import Found, Hit
from infra.search_scope import ALL, Filters, matching, scope_of
from infra.settings import DEFAULT_FILE, Settings, load_settings
from infra.stored_tokens import many_tokens, tokens

if TYPE_CHECKING:
    from fwd2bot_core.tokens.dataset import TokenDataset

Image = str | int  # a key or sha256, or the number of an object version
AT_ONCE = 32  # answers that are computed together
MOST_READ = 256  # images whose tokens are in memory at once


class Archive:
    """An open archive; use it as a context manager, or ``close`` it."""

    def __init__(self, house: Installation) -> None:
        """Over an installation that somebody else closes, too."""
        self.house = house
        self._models: dict[str, Compressor] = {}
        self._lock = RLock()

    @classmethod
    def open(cls, settings: Settings | Path | str | None = None) -> Self:
        """By settings, their file, the folder of it, or as the command finds them. Raises ``SettingsError``."""
        if isinstance(settings, Settings):
            return cls(Installation(settings))
        file = None if settings is None else Path(settings)
        return cls(Installation(load_settings(file / DEFAULT_FILE if file and file.is_dir() else file)))

    def close(self) -> None:
        """End the connections to the ledger."""
        if "ledger" in self.house.__dict__:
            self.house.ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def search(
        self,
        text: str | None = None,
        image: Example | Sequence[Example] | None = None,
        *,
        collection: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        run: str | None = None,
        tags: Iterable[str] = (),
        k: int = 10,
    ) -> list[Hit]:
        """The ``k`` images nearest to a text, or like images: keys of the archive, files, or bytes of pictures.

        ``since`` (included) and ``until`` (not) are aware. Raises as ``finding.find`` does.
        """
        like = (image,) if isinstance(image, str | bytes | Path) else tuple(image or ())
        filters = Filters(since=since, until=until, run=run, tags=tuple(tags))
        return self.find(Query(text=text, like=like, collection=collection, filters=filters, k=k)).hits

    def find(self, query: Query) -> Found:
        """The same for a whole ``Query``, with figures of the search."""
        with self._lock:
            return find(self.house, query, self.model)

    def ask(
        self, images: Image | Sequence[Image], question: str, *, collection: str | None = None
    ) -> list[Answer]:
        """What the stored tokens of each image say, in their order; the originals are not touched.

        Raises ``NotInArchive`` for an image without tokens, which says why; ``UsageError`` for a question that the
        model cannot read.
        """
        return [said for (said,) in self.answers(self.locate(images, collection), [question])]

    def answers(self, stored: Sequence[Stored], questions: Sequence[str]) -> list[list[Answer]]:
        """What each place says to each question: [B][Q]; its tokens are read once. Raises ``UsageError`` for a question
        that a model cannot read, before anything is answered."""
        for question in questions:
            check_text(question, "question")
        said: list[list[Answer]] = [[] for _ in stored]
        makers: dict[str, list[int]] = {}
        for at, one in enumerate(stored):
            makers.setdefault(one.fingerprint, []).append(at)
        for rows in makers.values():
            some = [stored[row] for row in rows]
            for row, answers in zip(rows, self._of_one_compressor(some, questions), strict=True):
                said[row] = answers
        return said

    def _of_one_compressor(self, stored: Sequence[Stored], questions: Sequence[str]) -> list[list[Answer]]:
        found: list[Answer] = []
        with self._lock:
            model = self.model(stored[0].collection)
            model.check(questions)
            asked = len(questions)
            for start in range(0, len(stored), MOST_READ):
                tokens = many_tokens(self.house, stored[start : start + MOST_READ])
                pairs = [(row, question) for row in range(len(tokens)) for question in questions]
                for at in range(0, len(pairs), AT_ONCE):
                    some = pairs[at : at + AT_ONCE]
                    found += model.answers(tokens[[row for row, _ in some]], [q for _, q in some])
        return [found[start : start + asked] for start in range(0, len(found), asked)]

    def tokens(
        self, images: Image | Sequence[Image], *, collection: str | None = None
    ) -> npt.NDArray[np.float32]:
        """Summary tokens [B, k, d] as float32, in the order of ``images``; of one compressor only."""
        stored = self.locate(images, collection)
        if len({one.fingerprint for one in stored}) > 1:
            raise CompressorMismatch(
                "these images are of several compressors or views, whose tokens never mix: read them apart"
            )
        if not stored:
            raise UsageError("no image was named")
        return widened(many_tokens(self.house, stored), self.house.spec(stored[0].collection))

    def dataset(self, collection: str | None = None, filters: Filters = ALL) -> TokenDataset:
        """Every image that counts, as a torch dataset of (tokens, number of the object version)."""
        from fwd2bot_core.tokens.dataset import TokenDataset

        scope = scope_of(self.house, collection)
        with self.house.ledger.read() as connection:
            places = [(path, row, number) for number, path, row in matching(connection, scope, filters)]
        return TokenDataset(places, self.house.archive.open, scope.spec.fingerprint)

    def locate(self, images: Image | Sequence[Image], collection: str | None = None) -> list[Stored]:
        """Where the tokens of images lie. Raises ``NotInArchive``."""
        wanted = [images] if isinstance(images, str | int) else list(images)
        numbers = [image for image in wanted if isinstance(image, int)]
        known: dict[int, Stored] = {}
        if numbers:
            scope = scope_of(self.house, collection)
            with self.house.ledger.read() as connection:
                known = by_number(connection, numbers, scope.spec)
        if missing := [number for number in numbers if number not in known]:
            with self.house.ledger.read() as connection:
                raise NotInArchive(why_no_tokens(connection, missing[0]))
        return [known[i] if isinstance(i, int) else locate(self.house, i, collection) for i in wanted]

    def model(self, collection: str) -> Compressor:
        """The compressor of a collection, loaded once."""
        with self._lock:
            fingerprint = self.house.spec(collection).fingerprint
            if fingerprint not in self._models:
                self._models[fingerprint] = self.house.compressor(collection)
            return self._models[fingerprint]


def ask(
    installation: Installation, image: str, question: str, collection: str | None = None
) -> tuple[Stored, Answer]:
    """Second pass: an answer from the stored tokens; the original is not touched."""
    check_text(question, "question")
    stored = locate(installation, image, collection)
    numbers: npt.NDArray[Any] = tokens(installation, stored)
    return stored, installation.compressor(stored.collection).answer(numbers, question)
