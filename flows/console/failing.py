"""What goes wrong, as an answer: a status and one sentence, on a page for browsers and as JSON for programs."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from flows.console.drawing import pages_of
from flows.console.shield import Refused
from flows.console.visitors import NotSignedIn, to_sign_in
from fwd2bot_core.errors import (
    AccessDenied,
    BlockedByPolicy,
    Fwd2BotError,
    LeaseHeld,
    LeaseLost,
    LedgerError,
    NotInArchive,
    ObjectForbidden,
    ObjectMissing,
    StoreUnreachable,
    UsageError,
)
from tasks.units import visible

_STATUS: tuple[tuple[type[Fwd2BotError], HTTPStatus], ...] = (
    (AccessDenied, HTTPStatus.FORBIDDEN),
    (BlockedByPolicy, HTTPStatus.CONFLICT),
    (LeaseHeld, HTTPStatus.CONFLICT),
    (LeaseLost, HTTPStatus.CONFLICT),
    (NotInArchive, HTTPStatus.NOT_FOUND),
    (ObjectMissing, HTTPStatus.NOT_FOUND),
    (ObjectForbidden, HTTPStatus.BAD_GATEWAY),
    (UsageError, HTTPStatus.BAD_REQUEST),
    (StoreUnreachable, HTTPStatus.SERVICE_UNAVAILABLE),
    (LedgerError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_log = logging.getLogger("fwd2bot.console")


def answer_errors(app: FastAPI) -> None:
    """Every error that is raised on purpose, and the others, which are our fault, without what is inside them."""

    @app.exception_handler(NotSignedIn)
    def _to_the_door(request: Request, error: NotSignedIn) -> Response:
        return RedirectResponse(to_sign_in(error.path), HTTPStatus.SEE_OTHER)

    @app.exception_handler(Refused)
    def _refused(request: Request, error: Refused) -> Response:
        return _told(request, error.status, error.said)

    @app.exception_handler(Fwd2BotError)
    def _ours(request: Request, error: Fwd2BotError) -> Response:
        known = (status for kind, status in _STATUS if isinstance(error, kind))
        return _told(request, next(known, HTTPStatus.INTERNAL_SERVER_ERROR), str(error), type(error).__name__)

    @app.exception_handler(RequestValidationError)
    def _malformed(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()[:5])
        return _told(request, HTTPStatus.UNPROCESSABLE_ENTITY, said)

    @app.exception_handler(HTTPException)
    def _unknown(request: Request, error: HTTPException) -> Response:
        return _told(request, HTTPStatus(error.status_code), str(error.detail))

    @app.exception_handler(Exception)
    def _surprise(request: Request, error: Exception) -> Response:
        _log.error("unexpected, and our fault: %s", visible(request.url.path), exc_info=error)
        said = "unexpected, and our fault; the console's log has the details"
        return _told(request, HTTPStatus.INTERNAL_SERVER_ERROR, said)


def _told(request: Request, status: HTTPStatus, said: str, kind: str | None = None) -> Response:
    path = request.url.path
    if path.startswith("/api/") or path in ("/metrics", "/healthz"):
        headers = {"www-authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
        return JSONResponse({"error": visible(said), "kind": kind or status.phrase}, status, headers)
    return pages_of(request).page(
        request, "problem.html", None, status, heading=status.phrase, said=said, back="/"
    )
