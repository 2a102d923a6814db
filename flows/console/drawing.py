"""Pages from templates: one frame, each text shown so that nothing in it is markup or hides, times in one zone.

Knows templates and filters. Knows nothing of what is on a page.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

import fwd2bot_core
from flows.console.shield import HEADERS
from flows.console.visitors import Visit
from infra.settings import Settings
from tasks.units import duration, size, visible

POLICY = "content-security-policy"
SECTIONS = {
    "/": "Nights",
    "/images": "Images",
    "/search": "Search",
    "/lists": "Lists",
    "/holds": "Holds",
    "/calendar": "Calendar",
    "/audit": "Audit",
    "/kpi": "KPI",
}


class Pages:
    """Draws."""

    def __init__(self, settings: Settings) -> None:
        zone = ZoneInfo(settings.night.zone)
        self._made = Environment(
            loader=ChoiceLoader([PackageLoader("flows.console"), PackageLoader("tasks")]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,  # keys, names and reasons are what strangers wrote
        )
        self._made.filters |= {
            "number": _known(lambda value: f"{value:,}"),
            "size": _known(size),
            "duration": _known(duration),
            "at": _known(partial(_moment, zone=zone)),
            "lines": _lines,
        }
        self._made.globals |= {
            "zone": settings.night.zone,
            "sections": SECTIONS,
            "software": f"Fwd2Bot {fwd2bot_core.__version__}",
        }

    def page(
        self,
        request: Request,
        template: str,
        visit: Visit | None,
        status: int = HTTPStatus.OK,
        **values: Any,
    ) -> HTMLResponse:
        """The template in the frame, for somebody who is signed in, or for nobody."""
        live = values.pop("live", False)
        figures = values.get("figures")
        text = self._made.get_template(template).render(
            visit=visit, path=request.url.path, live=live, **values
        )
        headers = {"refresh": "5"} if live else {}
        if (
            figures
        ):  # drawings carry their colours in style attributes; scripts and style sheets stay forbidden
            headers[POLICY] = f"{HEADERS[POLICY]}; style-src-attr 'unsafe-inline'"
        return HTMLResponse(text, status, headers)

    def style(self) -> str:
        """The style sheet of all pages."""
        return self._made.get_template("console.css").render()


def pages_of(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Text of several lines as it is."""
    return Markup("\n").join(escape(visible(line)) for line in text.splitlines())


def _moment(value: datetime, zone: ZoneInfo) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(
        value.isoformat(), f"{value.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    )


def _known(draw: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same, and a dash for what is not known."""
    return lambda value: Markup("–") if value is None else draw(value)
