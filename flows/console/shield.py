"""What stands before each request (whose name it comes to, how big, how many) and what each answer says in its head.

Pure ASGI, so that a thousand requests at once cost a counter each. A body is read whole and bounded before the request
gets one of the few places in which work is done; whoever finds no room is told so at once. Knows nothing of pages.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.console.budget import Budget
from infra.service_settings import ServiceSettings

QUEUE = 4  # requests that wait for each one that is worked on
BODY_SECONDS = 15.0  # for a body to arrive whole
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
HSTS = {"strict-transport-security": "max-age=31536000"}


class Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: HTTPStatus, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


class Shield:
    """The outermost layer."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app, self._settings = app, settings
        self._headers = HEADERS | (HSTS if settings.secure else {})
        self._names = {
            "localhost",
            "127.0.0.1",
            "[::1]",
            settings.host.lower(),
            *map(str.lower, settings.names),
        }
        self._budget = Budget(settings.per_minute)
        self._inside = 0
        self._room = (1 + QUEUE) * settings.at_once
        self._places = asyncio.Semaphore(settings.at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Headed(send, self._headers)
        self._inside += 1
        try:
            self._admit(scope)
            body = await self._body(scope, receive)
            async with self._places:
                await self._app(scope, body, answer)
        except Refused as refusal:
            await _tell(answer, refusal)
        finally:
            self._inside -= 1

    def _admit(self, scope: Scope) -> None:
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if (
            _host(headers.get(b"host", "")) not in self._names
        ):  # a page elsewhere whose name was pointed at us
            raise Refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "this service has another name; add it to service.names if it is right",
            )
        client = scope.get("client")
        if not self._budget.spend(client[0] if client else ""):
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS, "too many requests from this address; try again in a minute"
            )
        if self._inside > self._room:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once; try again in a moment")
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self._settings.body_bytes:
            raise self._too_big()

    async def _body(self, scope: Scope, receive: Receive) -> Receive:
        if scope["method"] in ("GET", "HEAD"):
            return receive
        data = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    data += message.get("body", b"")
                    if len(data) > self._settings.body_bytes:
                        raise self._too_big()
                    if not message.get("more_body"):
                        return _replayed(bytes(data), receive)
        except TimeoutError:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive whole") from None

    def _too_big(self) -> Refused:
        most = self._settings.body_bytes
        return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {most:,} bytes at most")


class _Headed:
    """Sends answers with our headers where the answer has none of that name."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send, self._headers = send, headers

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.lower() for name, _ in message["headers"]}
            more = [(n.encode(), v.encode()) for n, v in self._headers.items() if n.encode() not in own]
            message = {**message, "headers": [*message["headers"], *more]}
        await self._send(message)


def _host(value: str) -> str:
    """Without the port."""
    name, colon, port = value.rpartition(":")
    return (name if colon and port.isdecimal() else value).lower()


def _replayed(data: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()  # a disconnection
        told = True
        return {"type": "http.request", "body": data, "more_body": False}

    return again


async def _tell(send: Send, refusal: Refused) -> None:
    body = json.dumps({"error": refusal.said}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refusal.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers.append((b"retry-after", b"60" if refusal.status == HTTPStatus.TOO_MANY_REQUESTS else b"2"))
    await send({"type": "http.response.start", "status": int(refusal.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
