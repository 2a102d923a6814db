"""A Prefect server of a test's own: started with a fresh database, asked over HTTP; and flows run against it.

Knows requests and patience. What starts the server is the product's own ``flows.prefect_server``.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tenacity

from flows import engine
from flows.prefect_server import server as prefect_server
from infra.settings import Settings


@contextmanager
def private(home: Path, *, every_service: bool, auth: str = "") -> Iterator[str]:
    """The API of a server that lives for the block, in this process's environment; nothing is sent anywhere."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [*os.environ]:
            if name.startswith("PREFECT_"):
                patched.delenv(name)
        patched.setenv("PREFECT_HOME", str(home))
        for name, value in engine._DEFAULTS.items():
            patched.setenv(name, value)
        if auth:
            patched.setenv("PREFECT_SERVER_API_AUTH_STRING", auth)
            patched.setenv("PREFECT_API_AUTH_STRING", auth)
        engine.prepare_environment(Settings(archive={"ledger": f"sqlite:///{home}/ledger.sqlite"}))
        with prefect_server(every_service=every_service) as url:
            yield url


def ended(module: str, flow: str, config: Path) -> tuple[str, str]:
    """The name and message of the state in which a flow ends, run in a process of its own."""
    program = (
        f"import sys, json; from {module} import {flow}; "
        f"state = {flow}(config=sys.argv[1], return_state=True); print(json.dumps([state.name, state.message]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, config], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    name, message = json.loads(done.stdout.splitlines()[-1])
    return name, message


def busy(error: BaseException) -> bool:
    """Prefect's way of saying that its SQLite is."""
    return isinstance(error, urllib.error.HTTPError) and error.code == 503


@tenacity.retry(
    retry=tenacity.retry_if_exception(busy),
    wait=tenacity.wait_fixed(1),
    stop=tenacity.stop_after_delay(30),
    reraise=True,
)
def ask(url: str, body: Any = None, method: str | None = None, *, auth: str = "") -> Any:
    """What it answers to JSON; ``auth`` is a server's user and password, with a colon between."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    if auth:
        headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        said = answer.read()
    return json.loads(said) if said else None


def until(seen: Callable[[], Any], seconds: float = 120) -> Any:
    """What ``seen`` returns as soon as that is true."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)
    return found
