"""A running Prefect server, as tests ask it over HTTP.

Knows requests and patience. Knows nothing of how the server is started (``flows.prefect_server``).
"""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import tenacity


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
