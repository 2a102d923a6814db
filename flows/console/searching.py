"""The search page: a text, a collection, dates; finds by their stored tokens, best first. It only reads."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from flows.console.answers import answers_of
from flows.console.drawing import pages_of
from flows.console.visitors import House, Signed
from infra.installation import Installation

router = APIRouter()
HITS = 20


@router.get("/search")
def search(
    request: Request,
    house: House,
    visit: Signed,
    text: str = "",
    collection: str = "",
    since: Annotated[str, Query(pattern=r"^(\d{4}-\d\d-\d\d)?$")] = "",
    until: Annotated[str, Query(pattern=r"^(\d{4}-\d\d-\d\d)?$")] = "",
) -> Response:
    names = sorted(house.settings.collections)
    chosen = collection or names[0]
    hits = None
    if text:
        begin, end = _day(house, since), _day(house, until)
        found = answers_of(request).search(text, collection=chosen, since=begin, until=end, k=HITS)
        hits = found.hits
    return pages_of(request).page(
        request,
        "search.html",
        visit,
        collections=names,
        hits=hits,
        text=text,
        collection=chosen,
        since=since,
        until=until,
    )


def _day(house: Installation, said: str) -> datetime | None:
    """The beginning of a day in the night's zone."""
    if not said:
        return None
    day = date.fromisoformat(said)
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(house.settings.night.zone))
