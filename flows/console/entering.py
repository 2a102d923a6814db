"""Signing in and out. A token becomes a session's cookie; the token itself is in no page and no address."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from flows.console.drawing import pages_of
from flows.console.visitors import House, Meant, cookie_name, doorkeeper_of, same_site, way_back
from fwd2bot_core.errors import AccessDenied
from tasks import tokens

router = APIRouter()


@router.get("/sign-in")
def door(request: Request, then: str = "/") -> Response:
    return pages_of(request).page(request, "sign_in.html", None, then=way_back(then), problem=None)


@router.post("/sign-in")
def enter(
    request: Request, house: House, token: Annotated[str, Form()], then: Annotated[str, Form()] = "/"
) -> Response:
    same_site(request)
    settings, back = house.settings.service, way_back(then)
    try:
        session = doorkeeper_of(request).sign_in(request, token.strip())
    except AccessDenied as error:
        problem = f"{error}."
        return pages_of(request).page(
            request, "sign_in.html", None, HTTPStatus.FORBIDDEN, then=back, problem=problem
        )
    answer = RedirectResponse(back, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        cookie_name(settings),
        session,
        max_age=int(settings.session_minutes * 60),
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/sign-out")
def leave(request: Request, house: House, visit: Meant) -> Response:
    name = cookie_name(house.settings.service)
    tokens.sign_out(house.ledger, request.cookies.get(name, ""))
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(
        name, path="/", secure=house.settings.service.secure, httponly=True, samesite="strict"
    )
    return answer
