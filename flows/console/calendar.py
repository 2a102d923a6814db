"""The retention calendar. It costs a decision over every photo for each month, so that it is made once an hour."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from flows.console.drawing import pages_of
from flows.console.visitors import House, Signed
from infra import audit_log
from infra.installation import Installation
from tasks import policies
from tasks.eligible import Calendar, calendars

router = APIRouter()
FRESH = timedelta(hours=1)


class Remembered:
    """The last calendar, and which policies it was made by."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._at: datetime | None = None
        self._by: list[Any] = []
        self._found: list[Calendar] = []

    def look(self, house: Installation) -> tuple[datetime, list[Calendar]]:
        """When it was made, and it; anew after an hour, and after any change of a policy."""
        with house.ledger.read() as connection:
            by = [(one.id, one.version, one.state) for one in policies.versions(connection)]
        with self._lock:  # the first visitor makes it, the others wait for it
            now = audit_log.now()
            if self._at is None or now - self._at > FRESH or by != self._by:
                self._found, self._by, self._at = calendars(house), by, now
            return self._at, self._found


@router.get("/calendar")
def calendar(request: Request, house: House, visit: Signed) -> Response:
    remembered: Remembered = request.app.state.calendar
    at, found = remembered.look(house)
    return pages_of(request).page(request, "calendar.html", visit, at=at, found=found)
