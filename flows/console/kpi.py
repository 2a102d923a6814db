"""The page of figures for management: bytes, money, fidelity. It only reads."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from flows.console.drawing import pages_of
from flows.console.visitors import House, Signed
from tasks.kpi_report import figures, gather

router = APIRouter()


@router.get("/kpi")
def kpi(request: Request, house: House, visit: Signed, collection: str = "") -> Response:
    found = gather(house, collection or None)
    names = sorted(house.settings.collections)
    return pages_of(request).page(
        request, "kpi.html", visit, collections=names, found=found, figures=figures(found)
    )
