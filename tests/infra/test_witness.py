"""A witness that runs: over HTTP, killed at the worst moment, started twice, with its state damaged or gone."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer, Verifier, add_lines
from fwd2bot_core.audit.witnessing import MAX_REQUEST_BYTES
from fwd2bot_core.errors import IntegrityError, UsageError
from infra import witness as running
from infra.crashpoints import VARIABLE
from infra.witness import Witness, WitnessServer
from infra.witness_state import WitnessState
from tests.core.audit.test_witnessing import LOG, asked, at, grown

ME = Ed25519Signer.generate("witness.example/w1", COSIGNATURE)
POST = Callable[..., tuple[int, str, str]]


@contextmanager
def serving(file: Path, told: list[str] | None = None) -> Iterator[WitnessServer]:
    with WitnessState(file) as state:
        witness = Witness(ME, [LOG.verifier], state, ([] if told is None else told).append)
        with WitnessServer(witness, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()


def send(
    server: WitnessServer | int, body: bytes, path: str = "/add-checkpoint", method: str = "POST"
) -> tuple[int, str, str]:
    port = server if isinstance(server, int) else server.server_port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read().decode()
    finally:
        connection.close()


def test_it_cosigns_a_growing_log_and_shows_what_it_saw(tmp_path: Path) -> None:
    told: list[str] = []
    latest = f"/{hashlib.sha256(LOG.name.encode()).hexdigest()}/checkpoint"
    with serving(tmp_path / "state", told) as server:
        assert send(server, b"", latest, "GET")[0] == 404
        for old, size in ((0, 3), (3, 17), (17, 17)):
            status, kind, line = send(server, grown(old, size))
            assert (status, kind) == (200, "text/plain")
            note = add_lines(checkpoints.sign(at(size), [LOG]), line)
            assert checkpoints.read(note, [ME.verifier]) == at(size)
        assert send(server, grown(3, 9)) == (409, "text/x.tlog.size", "17\n")
        assert send(server, asked(17, [], checkpoints.sign(at(20), [LOG])))[0] == 422
        assert send(server, b"", latest, "GET") == (200, "text/plain", note)
    assert [line.split()[0] for line in told] == ["cosigned"] * 3 + ["refused,"] * 2


def test_what_it_saw_outlives_it(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        assert send(server, grown(0, 9))[0] == 200
    with serving(tmp_path / "state") as server:
        assert send(server, grown(0, 5)) == (409, "text/x.tlog.size", "9\n")
        assert send(server, asked(9, [], checkpoints.sign(at(9, b"fork"), [LOG])))[0] == 422
        assert send(server, grown(9, 12))[0] == 200
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_of_many_at_once_one_history_is_cosigned(tmp_path: Path) -> None:
    """Nine forks race from the same size, three times each: only one root may ever be signed."""
    with serving(tmp_path / "state") as server:
        forks = [asked(0, [], checkpoints.sign(at(5, bytes([fork])), [LOG])) for fork in range(1, 10)] * 3
        with ThreadPoolExecutor(9) as pool:
            statuses = [status for status, _, _ in pool.map(lambda body: send(server, body), forks)]
    assert statuses.count(200) == 1
    assert set(statuses) == {200, 409}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /add-checkpoint HTTP/1.1\r\n\r\n", 411),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 411),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 411),
        (b"POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx", 411),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1), 413),
        (b"POST /other HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 404),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\n\r\n", 501),
        (b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
    ],
)
def test_what_is_no_request(tmp_path: Path, raw: bytes, status: int) -> None:
    with serving(tmp_path / "state") as server:
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
            connection.sendall(raw)
            assert b" %d " % status in connection.recv(200)
        assert send(server, grown(0, 1))[0] == 200  # it lives on


def test_who_sends_a_byte_now_and_then_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SECONDS", 0.3)
    with (
        serving(tmp_path / "state") as server,
        socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection,
    ):
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 100\r\n\r\nold 0")
        assert connection.recv(100) == b""
        assert send(server, grown(0, 1))[0] == 200


def test_more_than_it_can_hear_are_closed_unheard(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        address = ("127.0.0.1", server.server_port)
        idle = [socket.create_connection(address, timeout=30) for _ in range(running.CONNECTIONS)]
        with socket.create_connection(address, timeout=30) as connection:
            assert connection.recv(1) == b""
        for one in idle:
            one.close()


def test_a_state_that_cannot_be_written_signs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    with serving(tmp_path / "state", told) as server:
        assert send(server, grown(0, 3))[0] == 200
        with monkeypatch.context() as full:
            full.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            status, _, body = send(server, grown(3, 9))
        assert (status, "witness.example" in body) == (500, False)
        assert "NOT cosigned" in told[-1]
        assert send(server, grown(0, 5))[2] == "3\n"
        assert send(server, grown(3, 9))[0] == 200


PROGRAM = """
import sys
from pathlib import Path
from fwd2bot_core.audit.notes import Ed25519Signer, Verifier
from infra.witness import Witness, WitnessServer
from infra.witness_state import WitnessState
with WitnessState(Path(sys.argv[1])) as state:
    witness = Witness(Ed25519Signer.load(sys.argv[2]), [Verifier.parse(sys.argv[3])], state, print)
    server = WitnessServer(witness, "127.0.0.1", 0)
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def test_killed_between_remembering_and_answering(tmp_path: Path) -> None:
    """What it may have told somebody it still knows; and the log gets its line on asking again."""
    file = tmp_path / "state"
    with serving(file) as server:
        assert send(server, grown(0, 3))[0] == 200
    arguments = [sys.executable, "-c", PROGRAM, str(file), ME.skey(), LOG.verifier.vkey()]
    environment = {**os.environ, VARIABLE: "witness.remembered"}
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with pytest.raises((http.client.HTTPException, OSError)):
            send(port, grown(3, 9))
        assert process.wait(30) == -signal.SIGKILL
    with serving(file) as server:
        assert send(server, grown(3, 12)) == (409, "text/x.tlog.size", "9\n")
        assert send(server, asked(9, [], checkpoints.sign(at(9, b"fork"), [LOG])))[0] == 422
        assert send(server, grown(9, 9))[0] == 200


def test_a_second_process_is_kept_out_and_the_kernel_forgets_a_dead_one(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "state"), ME.skey(), LOG.verifier.vkey()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UsageError, match="another witness"), WitnessState(tmp_path / "state"):
            pass
        process.kill()
    with WitnessState(tmp_path / "state") as state:
        assert state.notes == {}


def test_a_state_that_is_gone_is_no_new_beginning(tmp_path: Path) -> None:
    with serving(tmp_path / "state") as server:
        send(server, grown(0, 3))
    (tmp_path / "state").unlink()
    with pytest.raises(IntegrityError, match="is gone"), WitnessState(tmp_path / "state"):
        pass
    (tmp_path / "state.lock").unlink()
    with WitnessState(tmp_path / "state") as state:
        assert state.seen == {}


def test_a_damaged_state_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "state"
    with serving(file) as server:
        send(server, grown(0, 3))
    whole = file.read_bytes()
    at_size = whole.index(b"\\n3\\n")
    for damaged in (
        b"",
        whole[: len(whole) // 2],
        whole[:at_size] + b"\\n2\\n" + whole[at_size + 5 :],
        whole.replace(b"state 1", b"state 2"),
        b"[]",
    ):
        file.write_bytes(damaged)
        with pytest.raises(IntegrityError, match="not as a witness left it"), WitnessState(file):
            pass
    file.write_bytes(whole)
    with WitnessState(file) as state:
        assert state.seen == {LOG.name: at(3)}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"), WitnessState(tmp_path / "no" / "state"):
        pass


def test_the_right_kinds_of_key_and_a_port_that_is_free(tmp_path: Path) -> None:
    with WitnessState(tmp_path / "state") as state:
        with pytest.raises(UsageError, match="witness-key"):
            Witness(LOG, [LOG.verifier], state, print)
        with pytest.raises(UsageError, match="a witness's key"):
            Witness(ME, [Verifier.parse(ME.verifier.vkey())], state, print)
        witness = Witness(ME, [LOG.verifier], state, print)
        with WitnessServer(witness, "127.0.0.1", 0) as server, pytest.raises(UsageError, match="listen"):
            WitnessServer(witness, "127.0.0.1", server.server_port)
