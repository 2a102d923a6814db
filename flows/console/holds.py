"""Pages about legal holds: all of them, placing one, and releasing one by a signature that is made elsewhere."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from flows.console.drawing import pages_of
from flows.console.signing import download, sheet, unwrapped
from flows.console.visitors import House, Meant, Signed
from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.roles import Act, may
from infra.installation import Installation
from tasks import hold_list, holds
from tasks.members import matching, named

router = APIRouter()


@router.get("/holds")
def show(
    request: Request,
    house: House,
    visit: Signed,
    placed: int = 0,
    released: int = 0,
    objects: int = 0,
    untold: int = 0,
) -> Response:
    roles = visit.person.roles
    confidential = may(roles, Act.SEE_CONFIDENTIAL)
    return pages_of(request).page(
        request,
        "holds.html",
        visit,
        found=hold_list.holds(house.ledger, visit.person.name if confidential else None),
        confidential=confidential,
        may_place=may(roles, Act.PLACE_HOLD),
        may_release=may(roles, Act.RELEASE_HOLD),
        collections=sorted(house.settings.collections),
        placed=placed,
        released=released,
        objects=objects,
        untold=untold,
    )


@router.post("/holds")
def place(
    request: Request,
    house: House,
    visit: Meant,
    case: Annotated[str, Form(max_length=200)],
    reason: Annotated[str, Form(max_length=2000)],
    collection: Annotated[str, Form()] = "",
    pattern: Annotated[str, Form()] = "",
    images: Annotated[str, Form()] = "",
    confidential: Annotated[str, Form()] = "",
) -> Response:
    members = _members(house, collection, pattern, images)
    number, told = holds.place(
        house,
        visit.person.name,
        case,
        reason,
        members,
        confidential=confidential == "yes",
        patterns=[(collection, pattern)] if pattern else (),  # what comes later and matches is held, too
    )
    to = f"/holds?placed={number}&objects={len(members)}&untold={len(told.failed or {})}"
    return RedirectResponse(to, HTTPStatus.SEE_OTHER)


@router.get("/holds/{number}/release")
def write(request: Request, visit: Signed, number: int, reason: str = "") -> Response:
    said = holds.statement(number, visit.person.name, reason) if reason.strip() else None
    heading, address = f"Release hold {number}", f"/holds/{number}/release"
    return sheet(
        request, visit, heading, address, {"reason": reason}, said, f"release-hold-{number}", grave=True
    )


@router.get("/holds/{number}/release/statement")
def statement(visit: Signed, number: int, reason: str) -> Response:
    return download(holds.statement(number, visit.person.name, reason), f"release-hold-{number}")


@router.post("/holds/{number}/release")
def release(
    house: House, visit: Meant, number: int, reason: Annotated[str, Form()], signature: Annotated[str, Form()]
) -> Response:
    holds.release(house, number, visit.person.name, reason, unwrapped(signature))
    return RedirectResponse(f"/holds?released={number}", HTTPStatus.SEE_OTHER)


def _members(house: Installation, collection: str, pattern: str, images: str) -> list[int]:
    wanted = [line.strip() for line in images.splitlines() if line.strip()]
    if not wanted and not pattern:
        raise UsageError("name images, or a pattern of keys; nothing was held")
    if collection not in house.settings.collections:
        raise UsageError(f"there is no collection {collection!r} in the settings; nothing was held")
    with house.ledger.read() as connection:
        found = set(named(connection, wanted, collection))
        if pattern:
            found |= set(matching(connection, pattern, collection))
    return sorted(found)
