"""The archive's face for many visitors: searches and questions, as many at once as the model has patience for.

A model answers one visitor at a time; a few may wait for it, and who comes after them is told so, instead of holding a
place that pages need. Names are always looked up in the archive, so that no visitor's text is taken for a file's path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from threading import BoundedSemaphore

from fastapi import Request

from flows.console.shield import Refused
from fwd2bot_core.compressor.protocol import Answer
from infra.archive import Archive
from infra.finding import Query
from infra.installation import Installation
from infra.lookup import Stored
from infra.search_hits import Found
from infra.search_scope import Filters

PATIENT = 8  # visitors that are answered or wait
MOST_IMAGES = 100  # of one question
MOST_HITS = 100


class Answers:
    """Searches and asks."""

    def __init__(self, house: Installation) -> None:
        self._archive = Archive(house)
        self._patient = BoundedSemaphore(PATIENT)

    def ask(
        self, images: Sequence[str], question: str, collection: str | None = None
    ) -> list[tuple[Stored, Answer]]:
        """What the tokens of each image say. Raises as ``Archive.ask`` does, and ``Refused``."""
        if len(images) > MOST_IMAGES:
            raise Refused(HTTPStatus.BAD_REQUEST, f"ask about {MOST_IMAGES} images at most in one request")
        with self._patience():
            stored = self._archive.locate(images, collection)
            said = self._archive.ask(
                [one.object_version_id for one in stored], question, collection=collection
            )
        return list(zip(stored, said, strict=True))

    def search(
        self,
        text: str | None,
        like: Sequence[str] = (),
        *,
        collection: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        k: int = 10,
    ) -> Found:
        """The nearest images. Raises as ``Archive.find`` does, and ``Refused``."""
        if k > MOST_HITS or len(like) > MOST_IMAGES:
            raise Refused(
                HTTPStatus.BAD_REQUEST, f"ask for {MOST_HITS} hits, by {MOST_IMAGES} examples, at most"
            )
        with self._patience():
            known = self._archive.locate(list(like), collection) if like else []
            query = Query(
                text=text,
                like=tuple(one.sha256 for one in known),  # not the visitor's words: those might be a path
                collection=collection,
                filters=Filters(since=since, until=until),
                k=k,
            )
            return self._archive.find(query)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        if not self._patient.acquire(blocking=False):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "others are being answered; ask again in a moment")
        try:
            yield
        finally:
            self._patient.release()


def answers_of(request: Request) -> Answers:
    answers: Answers = request.app.state.answers
    return answers
