"""Two collections at the same time, on each database: they share contents, compressor and audit log."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from infra.installation import Installation
from infra.tables import RunState, contents, failures, runs, shards, summaries
from tasks.verify import verify
from tests.houses import COLLECTION, command
from tests.tasks.steps import count, events, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def test_two_processes_compress_the_same_photos_as_two_collections_at_once(
    house: BuildHouse, photos: Photos, tmp_path: Path, ledger_url: str
) -> None:
    """From a ledger that neither has seen: both make its tables, register the same compressor and contents."""
    photos(40)[7].write_bytes(b"broken")
    installation = house(
        archive={"ledger": ledger_url},
        night={"batch_size": 5, "smallest_batch": 5},
        **{"collections.line-2": {"originals": "photos"}},
    )
    started = [
        subprocess.Popen(
            command("night", name, "--direct", "--config", tmp_path / "fwd2bot.toml"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in (COLLECTION, "line-2")
    ]
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in started]
    assert ended == [("", 3), ("", 3)]  # one image each cannot be compressed
    assert {row.state for row in rows(installation, runs)} == {RunState.PARTLY_FAILED}
    assert (count(installation, summaries), count(installation, failures)) == (78, 2)
    assert count(installation, contents) == 40  # the same bytes are one content
    assert count(installation, shards) == 16
    assert verify(installation.ledger, installation.archive).findings == ()
    assert len(events(installation, "batch.committed")) == 16
