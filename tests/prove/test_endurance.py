"""The short form: nights and backfills together for half a minute, with deaths and a bad way to the store.

An hour of it: `python -m tests.prove.endurance --minutes 60`.
"""

from __future__ import annotations

import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.parts.plant import Plant
from tests.prove.endurance import play
from tests.prove.endurance_report import draw, markdown
from tests.servers import postgresql
from tests.servers.flaky import flaky


@pytest.fixture
def plant() -> Iterator[Plant]:
    if reason := postgresql.missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="fwd2bot-endurance-"))
    folder.chmod(0o711)  # PostgreSQL's own user goes through it
    made = Plant(folder, workers=2, with_prefect=False)
    try:
        yield made
    finally:
        made.down()
        shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nights_and_backfills_while_everything_fails(plant: Plant, tmp_path: Path) -> None:
    said = play(plant, 0.25, wave=60, arrivals=10, pause=6, batch=20, bundle="fake", seed=3)
    assert said["problems"] == []
    assert said["photos"] == sum(said["compressed_by"].values())
    assert said["compressed_by"]["backfill"] >= 60 - 10  # a night may have been quicker with some
    assert any(entry["who"] == "killer" for entry in said["incidents"])
    said = {"machine": {}, "asked": {"minutes": 0.25, "bundle": "fake", "seed": 3}, **said}
    assert "Everything holds." in markdown(said)
    draw(said, tmp_path / "memory.svg")
    assert (tmp_path / "memory.svg").stat().st_size > 1000


class _Echo(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("X-Host", self.headers["Host"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given: object) -> None: ...


def test_the_way_passes_on_what_it_gets_and_fails_as_it_is_told() -> None:
    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with flaky(f"http://127.0.0.1:{server.server_port}") as (address, weather):

            def put() -> tuple[str, bytes]:
                request = urllib.request.Request(f"{address}/a", data=b"body", method="PUT")
                with urllib.request.urlopen(request) as answer:
                    return answer.headers["X-Host"], answer.read()

            assert put() == (address.removeprefix("http://"), b"body")
            weather.change(full=True)
            with pytest.raises(urllib.error.HTTPError, match="500"):
                put()
            weather.change(busy=1.0)
            with pytest.raises(urllib.error.HTTPError, match="503"):
                put()
            weather.change(cut=1.0)
            with pytest.raises(OSError, match="closed connection"):
                put()
            assert dict(weather.counts) == {"passed": 1, "full": 1, "busy": 1, "cut": 1}
        server.shutdown()
