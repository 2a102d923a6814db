"""The page of figures for management: bytes, money, fidelity. It only reads.

They are summed over the whole ledger, and so kept for some minutes.
"""

from __future__ import annotations

from datetime import timedelta
from threading import Lock

from fastapi import APIRouter, Request
from fastapi.responses import Response

from flows.console.drawing import pages_of
from flows.console.visitors import House, Signed
from infra import audit_log
from infra.installation import Installation
from tasks.kpi_report import Kpi, figures, gather

router = APIRouter()
FRESH = timedelta(minutes=5)


class Figures:
    """The last ones of each collection, and of all together."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[str | None, Kpi] = {}

    def look(self, house: Installation, collection: str | None) -> Kpi:
        """Raises ``SettingsError`` for a collection that nobody knows, which is not remembered."""
        with self._lock:  # the first visitor sums, the others wait for it
            known = self._found.get(collection)
            if known is None or audit_log.now() - known.at > FRESH:
                known = self._found[collection] = gather(house, collection)
            return known


@router.get("/kpi")
def kpi(request: Request, house: House, visit: Signed, collection: str = "") -> Response:
    remembered: Figures = request.app.state.figures
    found = remembered.look(house, collection or None)
    names = sorted(house.settings.collections)
    return pages_of(request).page(
        request, "kpi.html", visit, collections=names, found=found, figures=figures(found)
    )
