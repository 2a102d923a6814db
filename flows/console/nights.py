"""Pages of operations: what runs now, past nights, one run with what it failed. They only read."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from flows.console.drawing import pages_of
from flows.console.visitors import House, Signed
from fwd2bot_core.errors import NotInArchive
from infra import archive, history
from tasks.progress import running

router = APIRouter()
RUNS, NAMED = 30, 500


@router.get("/")
def nights(request: Request, house: House, visit: Signed, live: bool = False) -> Response:
    past = history.read_history(house.ledger, limit=RUNS, named=0)
    return pages_of(request).page(
        request,
        "nights.html",
        visit,
        live=live,
        running=running(house.ledger),
        past=[run for run in past.recent if run.state != "running"],
        failures=archive.status(house, limit=0)["failures"],
    )


@router.get("/runs/{run_id}")
def run(request: Request, house: House, visit: Signed, run_id: str) -> Response:
    found = history.read_run(house.ledger, run_id, named=NAMED)
    if found is None:
        raise NotInArchive(f"there was no run {run_id!r}")
    past, failed, named = found
    return pages_of(request).page(request, "run.html", visit, run=past, failed=failed, named=named)
