"""Who is there: a person by a session's cookie (pages) or a bearer token (API); and whether a form was really theirs.

Wrong tokens are events, and so few of them a minute are looked at that nobody fills the log with them. Knows nothing of
what a page shows.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Form, Request

from flows.console.budget import Budget
from flows.console.shield import Refused
from fwd2bot_core.errors import AccessDenied
from infra.installation import Installation
from infra.service_settings import ServiceSettings
from tasks import tokens
from tasks.people import Person

WRONG_PER_MINUTE = 10  # tokens from one address
WRONG_IN_ALL = 60
EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who is signed in."""

    person: Person
    csrf: str  # what their forms carry


class NotSignedIn(Exception):
    """To the sign-in page, and back to ``path`` afterwards."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Doorkeeper:
    """Looks at tokens and cookies."""

    def __init__(self, house: Installation) -> None:
        self._house, self._settings = house, house.settings.service
        self._wrong = Budget(WRONG_PER_MINUTE)
        self._in_all = Budget(WRONG_IN_ALL)

    def holder(self, request: Request, secret: str) -> Person:
        """Whose token that is. Raises ``AccessDenied``, and ``Refused`` after too many wrong ones."""
        address = self._address(request)
        try:
            return tokens.holder(self._house.ledger, secret)
        except AccessDenied:
            self._count(address)
            raise

    def sign_in(self, request: Request, secret: str) -> str:
        """The cookie of a new session; the same errors."""
        address = self._address(request)
        try:
            session, _ = tokens.sign_in(self._house.ledger, secret, self._settings.session_minutes)
        except AccessDenied:
            self._count(address)
            raise
        return session

    def _address(self, request: Request) -> str:
        address = request.client.host if request.client else ""
        if self._wrong.is_spent(address) or self._in_all.is_spent(EVERYBODY):
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong tokens; try again in a minute")
        return address

    def _count(self, address: str) -> None:
        self._wrong.spend(address)
        self._in_all.spend(EVERYBODY)


def house_of(request: Request) -> Installation:
    house: Installation = request.app.state.house
    return house


House = Annotated[Installation, Depends(house_of)]


def doorkeeper_of(request: Request) -> Doorkeeper:
    keeper: Doorkeeper = request.app.state.doorkeeper
    return keeper


def signed_in(request: Request, house: House) -> Visit:
    """Raises ``NotSignedIn``."""
    secret = request.cookies.get(cookie_name(house.settings.service), "")
    person = tokens.of_session(house.ledger, secret) if secret else None
    if person is None:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        raise NotSignedIn(path if request.method == "GET" else "/")
    return Visit(person, _csrf(secret))


Signed = Annotated[Visit, Depends(signed_in)]


def meant(request: Request, visit: Signed, csrf: Annotated[str, Form()] = "") -> Visit:
    """A visit whose form was filled in on our own page. Raises ``Refused``."""
    same_site(request)
    if not hmac.compare_digest(csrf.encode(), visit.csrf.encode()):
        raise Refused(
            HTTPStatus.FORBIDDEN, "this form is not from a page of yours; go back, load it again, send it"
        )
    return visit


Meant = Annotated[Visit, Depends(meant)]


def same_site(request: Request) -> None:
    """Raises ``Refused`` for what a page of somebody else's sends."""
    origin = request.headers.get("origin")
    foreign = (
        origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
    )
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(HTTPStatus.FORBIDDEN, "this was sent by a page of another site; nothing was done")


def bearer(request: Request) -> Person:
    """Whose token the request carries. Raises ``AccessDenied`` and ``Refused``."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not secret.strip():
        raise Refused(
            HTTPStatus.UNAUTHORIZED, "give a token: `Authorization: Bearer ...` from `fwd2bot people token`"
        )
    try:
        return doorkeeper_of(request).holder(request, secret.strip())
    except AccessDenied as error:
        raise Refused(HTTPStatus.UNAUTHORIZED, str(error)) from None


Bearer = Annotated[Person, Depends(bearer)]


def cookie_name(settings: ServiceSettings) -> str:
    """Browsers take the first one by TLS only, and from this host alone."""
    return "__Host-fwd2bot" if settings.secure else "fwd2bot"


def way_back(path: str) -> str:
    """A path of this service, whatever was asked for."""
    parts = urlsplit(path)
    good = (
        path.startswith("/")
        and not path.startswith(("//", "/\\"))
        and not parts.netloc
        and path.isprintable()
    )
    return path if good else "/"


def to_sign_in(path: str) -> str:
    return "/sign-in" if path == "/" else f"/sign-in?then={quote(path, safe='')}"


def _csrf(secret: str) -> str:
    return hashlib.sha256(b"form of " + secret.encode("utf-8", "surrogatepass")).hexdigest()
