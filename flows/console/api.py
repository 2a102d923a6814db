"""The HTTP API for programs: search and questions from stored tokens, nights, images. It only reads.

Each request carries the token of a registered person. Described at /api/openapi.json.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from flows.console.answers import MOST_HITS, MOST_IMAGES, answers_of
from flows.console.visitors import Bearer, House
from fwd2bot_core.errors import NotInArchive
from fwd2bot_core.retention.roles import Act
from infra import archive, history
from tasks.exporting import allowed
from tasks.life import proven_life

router = APIRouter(prefix="/api")
NAMED = 500  # failures of a run


class _Asked(BaseModel):
    """What a program sends; unknown names are refused."""

    model_config = ConfigDict(extra="forbid")


class Search(_Asked):
    """A text, or images of the archive that are to be like it; one of the two."""

    text: str | None = Field(None, description="what to look for")
    like: list[str] = Field([], max_length=MOST_IMAGES, description="keys, or sha256 of the files")
    collection: str | None = None
    since: AwareDatetime | None = Field(None, description="photos from this moment on")
    until: AwareDatetime | None = Field(None, description="photos before this moment")
    k: int = Field(10, ge=1, le=MOST_HITS, description="how many")


class Question(_Asked):
    """One question about one or more images."""

    images: list[str] = Field(
        min_length=1, max_length=MOST_IMAGES, description="keys, or sha256 of the files"
    )
    question: str
    collection: str | None = None


class Answered(BaseModel):
    """What the stored tokens of one image say."""

    collection: str
    key: str
    sha256: str = Field(description="of the original's bytes")
    compressor: str = Field(description="fingerprint of whose tokens they are")
    answer: str
    confidence: float


@router.post("/search")
def search(request: Request, person: Bearer, wanted: Search) -> dict[str, Any]:
    """The nearest images by their stored tokens, best first; no original is touched."""
    found = answers_of(request).search(
        wanted.text,
        wanted.like,
        collection=wanted.collection,
        since=wanted.since,
        until=wanted.until,
        k=wanted.k,
    )
    return found.as_json()


@router.post("/ask")
def ask(request: Request, house: House, person: Bearer, wanted: Question) -> list[Answered]:
    """An answer for each image, in their order, from its stored tokens. Several at once need a role, and are logged."""
    if len(wanted.images) > 1:
        what = f"answers about {len(wanted.images)} images"
        allowed(house, person.name, Act.EXPORT, what, images=len(wanted.images))
    said = answers_of(request).ask(wanted.images, wanted.question, wanted.collection)
    return [
        Answered(
            collection=stored.collection,
            key=stored.key,
            sha256=stored.sha256,
            compressor=stored.fingerprint,
            answer=answer.text,
            confidence=answer.confidence,
        )
        for stored, answer in said
    ]


@router.get("/images/{image:path}")
def image(house: House, person: Bearer, image: str, collection: str | None = None) -> list[dict[str, Any]]:
    """Every version of an image, oldest first, with its tokens, failures and facts, each with whether it is proven."""
    lives = archive.life(house, image, collection)
    facts = proven_life(house, image, collection)
    return [life | {"audit": told} for life, told in zip(lives, facts, strict=True)]


@router.get("/nights")
def nights(house: House, person: Bearer, limit: Annotated[int, Query(ge=0, le=1000)] = 30) -> dict[str, Any]:
    """The last runs, totals, open failures and who works now."""
    return archive.status(house, limit=limit)


@router.get("/nights/{run_id}")
def night(house: House, person: Bearer, run_id: str) -> dict[str, Any]:
    """One run and what it could not compress."""
    found = history.read_run(house.ledger, run_id, named=NAMED)
    if found is None:
        raise NotInArchive(f"there was no run {run_id!r}")
    past, failed, named = found
    shown = ("id", "kind", "collection", "state", "started_at", "ended_at", "message", "summary")
    return {
        **{name: getattr(past, name) for name in shown},
        "night": past.night,
        "compressor": past.fingerprint,
        "failed": failed,
        "failures": [{"key": one.key, "reason": one.reason, "detail": one.detail} for one in named],
    }
