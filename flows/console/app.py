"""The console and the service as one ASGI application over one open installation: who may come in, and which rooms.

Knows how the parts are put together. Knows nothing of what a page shows.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import Response

import fwd2bot_core
from flows.console import (
    api,
    auditing,
    calendar,
    edge,
    entering,
    holds,
    images,
    kpi,
    lists,
    metrics,
    nights,
    searching,
)
from flows.console.answers import Answers
from flows.console.drawing import Pages, pages_of
from flows.console.failing import answer_errors
from flows.console.shield import Shield
from flows.console.verifying import Verifier
from flows.console.visitors import Doorkeeper
from infra.installation import Installation

ROOMS = (entering, nights, images, searching, lists, holds, calendar, auditing, kpi, api, edge, metrics)


def make_app(house: Installation) -> Shield:
    """``house`` stays open as long as the application is used, and is closed by whoever opened it."""
    return Shield(_rooms(house), house.settings.service)  # around everything, also around what went wrong


def _rooms(house: Installation) -> FastAPI:
    app = FastAPI(
        title="Fwd2Bot",
        version=fwd2bot_core.__version__,
        description="Search and questions over stored summary tokens; nights, images and their proofs.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.house = house
    app.state.pages = Pages(house.settings)
    app.state.doorkeeper = Doorkeeper(house)
    app.state.answers = Answers(house)
    app.state.verifier = Verifier(house)
    app.state.calendar = calendar.Remembered()
    app.state.figures = kpi.Figures()
    answer_errors(app)
    app.add_api_route("/console.css", _style, include_in_schema=False)
    for room in ROOMS:
        app.include_router(room.router, include_in_schema=room in (api, edge))
    return app


def _style(request: Request) -> Response:
    headers = {"cache-control": "max-age=300"}
    return Response(pages_of(request).style(), media_type="text/css", headers=headers)
