"""A real browser against a real server: the console in a thread at a free port, Debian's Chromium without a head."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn

from flows.console.app import make_app
from infra.installation import Installation


def missing() -> str | None:
    """Why there is no browser here."""
    return None if chromium() else "no Chromium is installed (or name one in CHROMIUM)"


def chromium() -> str | None:
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def served(house: Installation) -> Iterator[str]:
    """The address of a console over ``house``."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(house), log_level="warning", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; each page of it in a context of its own, without JavaScript."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


def page_of(opened: Any, address: str, *, scripts: bool = False) -> Any:
    """An empty page whose console messages and foreign requests are kept in ``page.heard``."""
    context = opened.new_context(java_script_enabled=scripts, viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((address, "data:")) else page.heard.append(f"asked {request.url}")
        ),
    )
    page.set_default_timeout(40_000)
    return page


def sign_in(page: Any, address: str, secret: str) -> None:
    page.goto(f"{address}/")
    page.get_by_label("Your token").fill(secret)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Nights", exact=True).wait_for()
