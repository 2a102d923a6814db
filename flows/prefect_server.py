"""The Prefect server that a command talks to: the one that PREFECT_API_URL names, or one of its own.

An own server stands in a session of its own, since Ctrl-C in a terminal reaches every process of the session and
the flow must still tell its server how it ended. It ends with the command, also after kill -9, because it reads
from a pipe that only the command holds open (``flows.prefect_child``). PR_SET_PDEATHSIG would do the same on Linux
alone, needs a ``preexec_fn``, which is unsafe beside threads, and fires when a thread ends, not a process.

Knows nothing about flows and does not import Prefect.
"""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows import prefect_child
from fwd2bot_core.errors import Fwd2BotError

START_SECONDS = 180  # the first start migrates its database: 40 s on a slow machine
ANSWER_SECONDS = 3
API_URL = "PREFECT_API_URL"


@contextmanager
def server(*, every_service: bool) -> Iterator[str]:
    """The URL of an API that answers, which PREFECT_API_URL then names. Raises ``Fwd2BotError`` if there is none.

    ``every_service``: an own server also schedules runs and shows pages. Its log is PREFECT_HOME/server.log.
    """
    configured = os.environ.get(API_URL)
    if configured:
        check_answers(
            configured,
            otherwise=f"Start it, unset {API_URL} for a private one, or run `fwd2bot night --direct` without Prefect.",
        )
        yield configured
        return
    home = Path(os.environ["PREFECT_HOME"])
    url = f"http://127.0.0.1:{_free_port()}/api"
    with _starting_alone(home):
        process = _start(url, home / "server.log", every_service)
        try:
            _await_health(url, process, home / "server.log")
        except BaseException:
            _stop(process)
            raise
    os.environ[API_URL] = url
    try:
        yield url
    finally:
        os.environ.pop(API_URL, None)
        _stop(process)


@contextmanager
def _starting_alone(home: Path) -> Iterator[None]:
    """Two first starts at once would both migrate the same new database."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / "starting.lock").open("w")
    except OSError as error:
        raise Fwd2BotError(
            f"Prefect cannot keep its records in {home}: {error.strerror}. Set PREFECT_HOME, or add --direct."
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(url: str, log: Path, every_service: bool) -> subprocess.Popen[bytes]:
    port = url.rpartition(":")[2].partition("/")[0]
    environment = {**os.environ, "PREFECT_UI_ENABLED": "1" if every_service else "0"}
    environment["PREFECT_SERVER_UI_API_URL"] = url
    environment.pop(
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None
    )  # meant for the terminal, and this is a file
    with log.open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-P", prefect_child.__file__, port, "all" if every_service else "few"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()  # what it waits for
    try:
        process.wait(timeout=prefect_child.PATIENCE_SECONDS + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # a proxy does not know our loopback
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Fwd2BotError(
                f"the Prefect server ended with {process.returncode} while starting; {log} says why. "
                "--direct runs without Prefect."
            )
        try:
            with direct.open(f"{url}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise Fwd2BotError(f"the Prefect server did not answer at {url} within {START_SECONDS} s; see {log}")


def check_answers(url: str, *, otherwise: str) -> None:
    """One question before anything starts: Prefect itself would try for minutes and end in tracebacks.

    ``otherwise``: what to do when there is no answer.
    """
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=ANSWER_SECONDS):  # noqa: S310 (ours)
            return
    except urllib.error.HTTPError as error:
        said = error.code
        if said in (401, 403):  # it is there, and Prefect's client brings the key
            return
        cause = f"HTTP {said}; the address usually ends in /api"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):  # it is there, and Prefect's client knows the certificates
            return
        cause = str(getattr(reason, "strerror", None) or reason)
    raise Fwd2BotError(
        f"the Prefect server that {API_URL} names does not answer at {url} ({cause}). {otherwise}"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
