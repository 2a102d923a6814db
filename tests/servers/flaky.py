"""A way to an HTTP server on which things go wrong: a share of requests fail, some are slow, uploads find no room.

Passes on what it gets, headers and all, so that signatures hold. Knows nothing of what the requests mean, but for
what an S3 server answers when it is busy or full.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
FULL = b"<Error><Code>InternalError</Code><Message>no space left on device</Message></Error>"


@dataclass
class Weather:
    """What goes wrong now; each is a share of requests from 0 to 1."""

    busy: float = 0.0  # answered 503
    cut: float = 0.0  # the connection ends without an answer
    slow: float = 0.0  # wait first
    seconds: float = 0.2  # how long these wait
    full: bool = False  # no upload succeeds
    counts: Counter[str] = field(default_factory=Counter)  # what went wrong so far
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    def change(self, *, busy: float = 0.0, cut: float = 0.0, slow: float = 0.0, full: bool = False) -> None:
        self.busy, self.cut, self.slow, self.full = busy, cut, slow, full


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(
        self, request: Any, client_address: Any
    ) -> None: ...  # whoever hung up needs no traceback


@contextmanager
def flaky(upstream: str) -> Iterator[tuple[str, Weather]]:
    """The address to use instead of ``upstream``, and its weather, which is fair at first."""
    weather, host = Weather(), urlsplit(upstream).netloc

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.upstream = http.client.HTTPConnection(host, timeout=60)

        def finish(self) -> None:
            self.upstream.close()
            with contextlib.suppress(OSError):
                super().finish()

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            trouble = _trouble(weather, self.command)
            if trouble == "cut":
                self.close_connection = True
                return
            if trouble in ("busy", "full"):
                self._answer(*((503, BUSY) if trouble == "busy" else (500, FULL)))
                return
            try:
                status, headers, data = _ask(self.upstream, self.command, self.path, self.headers, body)
            except (OSError, http.client.HTTPException):  # the server itself is away
                self.upstream.close()
                self.close_connection = True
                return
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in headers) and self.command != "HEAD":
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass

        def log_message(self, *given: Any) -> None: ...

    server = _Server(("127.0.0.1", 0), Passing)
    thread = threading.Thread(target=server.serve_forever, name="flaky", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", weather
    finally:
        server.shutdown()
        server.server_close()


def _trouble(weather: Weather, method: str) -> str | None:
    drawn = weather.dice.random()
    if weather.full and method == "PUT":
        weather.counts["full"] += 1
        return "full"
    if drawn < weather.busy:
        weather.counts["busy"] += 1
        return "busy"
    if drawn < weather.busy + weather.cut:
        weather.counts["cut"] += 1
        return "cut"
    if drawn < weather.busy + weather.cut + weather.slow:
        weather.counts["slow"] += 1
        time.sleep(weather.seconds)
    weather.counts["passed"] += 1
    return None


def _ask(
    upstream: http.client.HTTPConnection, method: str, path: str, headers: Any, body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    given = {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP | {"expect"}}
    upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in given.items():
        upstream.putheader(name, value)
    upstream.endheaders(body or None)
    answer = upstream.getresponse()
    return answer.status, answer.getheaders(), answer.read()
