"""The audit page: the last verdict, the anchors, the newest checkpoint to be copied, the newest events.

An event is shown by its type, time and actor only: subjects and reasons may speak of confidential cases.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from flows.console.drawing import pages_of
from flows.console.verifying import verifier_of
from flows.console.visitors import House, Meant, Signed
from infra import anchoring, checkpoints
from infra.installation import Installation
from tasks.audit_query import Entry, Filter, events

router = APIRouter()
SHOWN = 100


@router.get("/audit")
def audit(request: Request, house: House, visit: Signed, type: str = "") -> Response:
    check = verifier_of(request).check
    return pages_of(request).page(
        request,
        "audit.html",
        visit,
        live=check.busy,
        check=check,
        anchors=anchoring.standing(house),
        few=anchoring.warning(len(house.settings.audit.anchors)),
        newest=_newest(house),
        type=type,
        events=_newest_events(house, type),
    )


@router.post("/audit/verify")
def verify(request: Request, visit: Meant, all: Annotated[str, Form()] = "") -> Response:
    verifier_of(request).start(everything=all == "yes")
    return RedirectResponse("/audit", HTTPStatus.SEE_OTHER)


def _newest(house: Installation) -> dict[str, Any] | None:
    with house.ledger.read() as connection:
        last = checkpoints.newest(connection)
        if last is None:
            return None
        return {
            "size": last.size,
            "at": last.signed_at,
            "note": anchoring.cosigned_note(connection, last.size),
        }


def _newest_events(house: Installation, type: str) -> list[dict[str, Any]]:
    wanted = Filter(types=(type,) if type else (), newest_first=True, limit=SHOWN)
    return [_told(entry) for entry in events(house, wanted)]


def _told(entry: Entry) -> dict[str, Any]:
    event = entry.event
    who, where = event["actor"]["ref"], event.get("collection")
    return {
        "seq": event["seq"],
        "occurred_at": event["occurred_at"],
        "type": event["type"],
        "who": entry.names.get(who, f"{who[:12]}…"),
        "role": event["actor"]["role"],
        "collection": None if where is None else entry.names.get(where, f"{where[:12]}…"),
        "run_id": event.get("run_id"),
    }
