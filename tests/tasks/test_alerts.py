"""Alerts: told once as long as they last, again when they come again, and until somebody hears them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from fwd2bot_core.errors import StoreError
from infra import audit_log
from infra.installation import Installation
from infra.tables import runs
from tasks import alerts
from tests.houses import COLLECTION, night
from tests.tasks.dispositions import clock


class Listener:
    """A webhook."""

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        self.status = 200
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if listener.status == 200:
                    listener.heard.append(json.loads(body))
                self.send_response(listener.status)
                self.end_headers()
                self.wfile.write(b"no room")

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_an_overdue_night_is_told_once_and_again_when_it_is_so_again(
    house: Callable[..., Installation],
    photos: Callable[..., list[Path]],
    ledger_url: str,
    listener: Listener,
) -> None:
    photos(2)
    made = house(archive={"ledger": ledger_url}, service={"webhook": listener.address})
    night(made)
    assert alerts.tell(made) == []
    later = audit_log.now() + timedelta(days=2)
    with clock(later):
        listener.status = 503
        with pytest.raises(StoreError, match="answered 503 to an alert: no room"):
            alerts.tell(made)
        listener.status = 200
        (told,) = alerts.tell(made)
        assert (told.kind, told.about) == ("night-overdue", COLLECTION)
        assert alerts.tell(made) == []
    assert alerts.tell(made) == []  # by this clock it is over
    with clock(later):
        assert len(alerts.tell(made)) == 1
    assert [one["kind"] for one in listener.heard] == ["night-overdue"] * 2
    assert listener.heard[0]["text"].startswith("Fwd2Bot: no night of line-1 came to its end")


def test_a_failed_night_and_an_anchor_left_behind_are_alerts(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    photos(1)
    folder = tmp_path / "anchor"
    folder.mkdir()
    made = house(**{"audit.anchors.folder": {"kind": "directory", "place": str(folder)}})
    night(made)
    assert alerts.found(made) == []
    with made.ledger.write() as connection:
        connection.execute(runs.update().values(state="failed", message="the disk is full"))
    (failed,) = alerts.found(made)
    assert failed.message.startswith("the last night of line-1 failed: the disk is full (run ")
    made.settings.audit.anchors["other"] = made.settings.audit.anchors["folder"]
    assert [one.kind for one in alerts.found(made)] == ["anchor-behind", "night-failed"]


def test_without_a_webhook_it_is_only_written_down(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(1)
    made = house()
    night(made)
    with clock(audit_log.now() + timedelta(days=2)):
        assert alerts.tell(made) == []
        assert len(alerts.keep(made)) == 1
