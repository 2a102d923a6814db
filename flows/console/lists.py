"""Pages about disposition lists: all, one with its counts and samples, and a person's signed decision about it.

None of them makes a list or carries one out.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from flows.console.drawing import pages_of
from flows.console.signing import download, sheet, unwrapped
from flows.console.visitors import House, Meant, Signed
from fwd2bot_core.audit.verifier.verify import csv_line
from fwd2bot_core.retention.roles import Act, may
from infra.installation import Installation
from tasks import review
from tasks.disposition_view import COLUMNS, lines, overviews
from tasks.disposition_view import show as look
from tasks.units import cell

router = APIRouter()
Decision = Literal["approve", "refuse"]


@router.get("/lists")
def all_lists(request: Request, house: House, visit: Signed) -> Response:
    with house.ledger.read() as connection:
        found = overviews(connection)
    return pages_of(request).page(request, "lists.html", visit, found=found)


@router.get("/lists/{list_id}")
def one_list(request: Request, house: House, visit: Signed, list_id: str) -> Response:
    roles = visit.person.roles
    return pages_of(request).page(
        request,
        "list.html",
        visit,
        found=look(house, list_id),
        may_approve=may(roles, Act.APPROVE_LIST),
        may_refuse=may(roles, Act.REFUSE_LIST),
    )


@router.get("/lists/{list_id}/items.csv")
def items(house: House, visit: Signed, list_id: str) -> Response:
    with house.ledger.read() as connection:
        review.find(connection, list_id)
    headers = {"content-disposition": f'attachment; filename="{list_id}.csv"'}
    return StreamingResponse(_csv(house, list_id), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/lists/{list_id}/decide")
def write(
    request: Request, house: House, visit: Signed, list_id: str, decision: Decision, reason: str = ""
) -> Response:
    said = _statement(house, list_id, visit.person.name, decision, reason) if reason.strip() else None
    heading = f"{'Approve' if decision == 'approve' else 'Refuse'} list {list_id}"
    about = {"decision": decision, "reason": reason}
    address, name = f"/lists/{list_id}/decide", f"{decision}-{list_id}"
    return sheet(request, visit, heading, address, about, said, name, grave=decision == "approve")


@router.get("/lists/{list_id}/decide/statement")
def statement(house: House, visit: Signed, list_id: str, decision: Decision, reason: str) -> Response:
    return download(_statement(house, list_id, visit.person.name, decision, reason), f"{decision}-{list_id}")


@router.post("/lists/{list_id}/decide")
def decide(
    house: House,
    visit: Meant,
    list_id: str,
    decision: Annotated[Decision, Form()],
    reason: Annotated[str, Form()],
    signature: Annotated[str, Form()],
) -> Response:
    act = review.approve if decision == "approve" else review.refuse
    act(house, list_id, visit.person.name, reason, unwrapped(signature))
    return RedirectResponse(f"/lists/{list_id}", HTTPStatus.SEE_OTHER)


def _statement(house: Installation, list_id: str, person: str, decision: Decision, reason: str) -> bytes:
    with house.ledger.read() as connection:
        return review.statement(connection, list_id, person, approved=decision == "approve", reason=reason)


def _csv(house: Installation, list_id: str) -> Iterator[bytes]:
    yield csv_line(list(COLUMNS))
    for line in lines(house, list_id):
        yield csv_line([str(cell(line[name])) for name in COLUMNS])
