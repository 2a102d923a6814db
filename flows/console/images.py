"""The page of one image: its whole life with proofs, why its original stays or goes, a look at it, questions to it.

Looking at the original takes a role and a form of one's own, because it is written down; everything else only reads.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from flows.console.answers import answers_of
from flows.console.drawing import pages_of
from flows.console.visitors import House, Meant, Signed, Visit
from fwd2bot_core.errors import NotInArchive
from fwd2bot_core.retention.roles import Act, may
from infra import archive
from infra.installation import Installation
from infra.lookup import find
from tasks import seeing
from tasks.certificates import certificates_of
from tasks.explain import explain
from tasks.life import proven_life

router = APIRouter()


@router.get("/images")
def image(
    request: Request, house: House, visit: Signed, key: str = "", collection: str = "", question: str = ""
) -> Response:
    if not key:
        return pages_of(request).page(
            request, "images.html", visit, collections=sorted(house.settings.collections)
        )
    answer = None
    if question:
        ((_, answer),) = answers_of(request).ask([key], question, collection or None)
    return _page(request, house, visit, key, collection or None, question=question, answer=answer)


@router.post("/images/picture")
def picture(
    request: Request,
    house: House,
    visit: Meant,
    version: Annotated[int, Form()],
    key: Annotated[str, Form()],
    collection: Annotated[str, Form()] = "",
) -> Response:
    data = seeing.picture(house, visit.person.name, version)
    shown = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    return _page(request, house, visit, key, collection or None, picture=shown, picture_of=version)


def _page(
    request: Request, house: Installation, visit: Visit, key: str, collection: str | None, **more: Any
) -> Response:
    plain = {"question": None, "answer": None, "picture": None, "picture_of": None}
    return pages_of(request).page(
        request,
        "image.html",
        visit,
        key=key,
        collection=collection,
        versions=_versions(house, key, collection),
        may_see=may(visit.person.roles, Act.SEE_ORIGINAL),
        **plain | more,
    )


def _versions(house: Installation, key: str, collection: str | None) -> list[dict[str, Any]]:
    """Newest first. Raises ``NotInArchive``."""
    lives = archive.life(house, key, collection)
    facts = proven_life(house, key, collection)
    with house.ledger.read() as connection:
        numbers = [int(row.id) for row in find(connection, key, collection)]
    gone, decided = _certificates(house, key, collection), explain(house, key, collection)
    return [
        life
        | {
            "number": number,
            "facts": told,
            "certificate": gone.get((life["collection"], life["key"], life["identity"])),
            "decisions": [
                one
                for one in decided
                if (one.collection, one.key, one.identity)
                == (life["collection"], life["key"], life["identity"])
            ],
        }
        for life, told, number in zip(lives, facts, numbers, strict=True)
    ][::-1]


def _certificates(house: Installation, key: str, collection: str | None) -> dict[tuple[str, str, str], Any]:
    try:
        found = certificates_of(house, key, collection)
    except NotInArchive:  # nothing of it was destroyed
        return {}
    return {(one.collection, one.key, one.identity): one for one in found}
