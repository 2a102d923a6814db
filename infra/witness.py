"""A witness as a small HTTP server: run by somebody else than whoever runs the log, with a key of its own.

``POST /add-checkpoint`` cosigns what extends the last checkpoint that it saw; ``GET /HASH/checkpoint`` shows that one.
Requests are bounded in bytes, time and number; it authenticates nobody, since only a log's own signature counts. TLS is
a proxy's work. Knows nothing about our ledger: any C2SP log may be watched.
"""

from __future__ import annotations

import hashlib
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from fwd2bot_core.audit.notes import COSIGNATURE, Signer, Verifier
from fwd2bot_core.audit.witnessing import MAX_REQUEST_BYTES, Refusal, judge
from fwd2bot_core.errors import UsageError
from infra.crashpoints import reach
from infra.witness_state import WitnessState

CONNECTIONS = 32  # at once; more are closed unheard
SECONDS = 30.0  # that a connection may take altogether
TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"
_SIZE_HEADER = re.compile(r"[0-9]{1,9}")
_LATEST = re.compile(r"/([0-9a-f]{64})/checkpoint")

Answer = tuple[HTTPStatus, str, str]  # status, content type, body


class Witness:
    """Judges, remembers, and only then answers. Safe to use from several threads."""

    def __init__(
        self,
        signer: Signer,
        logs: Iterable[Verifier],
        state: WitnessState,
        tell: Callable[[str], None],
    ) -> None:
        """``logs``: keys by which logs are believed; a key's name is its log's. ``tell`` gets a line a decision."""
        if signer.verifier.kind != COSIGNATURE:
            raise UsageError(
                f"the key of {signer.name} signs for a log; make one with `fwd2bot audit witness-key`"
            )
        self.logs = _by_origin(logs)
        self.tell = tell
        self._signer, self._state = signer, state
        self._one_at_a_time = threading.Lock()
        self._origins = {hashlib.sha256(origin.encode()).hexdigest(): origin for origin in self.logs}

    def add_checkpoint(self, body: bytes) -> Answer:
        """Raises ``OSError`` when what was decided could not be remembered; then nothing was signed for anybody."""
        with self._one_at_a_time:
            decided = judge(body, self.logs, self._state.seen)
            if isinstance(decided, Refusal):
                self.tell(f"refused, {decided.status.value}: {decided.why}")
                return _refused(decided)
            line, note = decided.cosigned(self._signer)
            self._state.keep(decided.checkpoint, self._signer.verifier.vkey(), note)
        reach("witness.remembered")
        self.tell(f"cosigned {decided.checkpoint.origin} at {decided.checkpoint.size} events")
        return HTTPStatus.OK, TEXT, line

    def latest(self, path: str) -> Answer:
        """The last note of the log whose name has that hash, as it was cosigned."""
        asked = _LATEST.fullmatch(path)
        origin = self._origins.get(asked[1]) if asked else None
        found = self._state.notes.get(origin) if origin else None
        return (HTTPStatus.OK, TEXT, found[1]) if found else (HTTPStatus.NOT_FOUND, TEXT, "nothing here\n")


class WitnessServer(ThreadingHTTPServer):
    """Serves one witness until ``shutdown``. Port 0 takes a free one."""

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, witness: Witness, host: str, port: int) -> None:
        self.witness = witness
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UsageError(f"cannot listen at {host}, port {port}: {error.strerror}") from None

    def server_bind(self) -> None:
        """Without the look-up of the host's full name, which may take long and which nobody reads."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Its own timeout is for each read; who sends a byte now and then would stay for ever."""
        end = threading.Timer(SECONDS, _cut, (request,))
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is nobody's fault here; anything else is ours, and must be seen."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.witness.tell(f"unexpected, and our fault: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    timeout = SECONDS
    server_version = "fwd2bot-witness"
    sys_version = ""

    def do_POST(self) -> None:
        if self.path != "/add-checkpoint":
            return self._answer(HTTPStatus.NOT_FOUND, TEXT, "nothing here\n")
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not _SIZE_HEADER.fullmatch(length):
            return self._answer(HTTPStatus.LENGTH_REQUIRED, TEXT, "say Content-Length\n")
        if int(length) > MAX_REQUEST_BYTES:
            return self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TEXT, "too long\n")
        body = self.rfile.read(int(length))
        if len(body) == int(length):  # else the rest was cut off, and nobody waits for an answer
            self._add(body)
        return None

    def do_GET(self) -> None:
        self._answer(*self.server.witness.latest(self.path))

    def log_message(self, format: str, *arguments: Any) -> None:
        """Decisions are told; requests are strangers' words."""

    def _add(self, body: bytes) -> None:
        try:
            answer = self.server.witness.add_checkpoint(body)
        except OSError as error:
            self.server.witness.tell(f"NOT cosigned, the state cannot be written: {error}")
            answer = (HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, "the witness cannot remember it\n")
        self._answer(*answer)

    def _answer(self, status: HTTPStatus, kind: str, body: str) -> None:
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _by_origin(logs: Iterable[Verifier]) -> Mapping[str, Sequence[Verifier]]:
    found: dict[str, list[Verifier]] = {}
    for key in logs:
        if key.kind == COSIGNATURE:
            raise UsageError(f"{key.vkey()} is a witness's key; name those of the logs to watch")
        found.setdefault(key.name, []).append(key)
    return found


def _refused(decided: Refusal) -> Answer:
    if decided.size is not None:
        return decided.status, SIZE, f"{decided.size}\n"
    return decided.status, TEXT, f"{decided.why}\n"


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
