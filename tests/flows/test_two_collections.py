"""Two collections at the same time, on each database: they share contents, compressor and audit log."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fwd2bot_core.errors import LeaseHeld
from infra.installation import Installation
from infra.tables import RunState, contents, failures, runs, shards, summaries
from tasks.discover import discover
from tasks.verify import verify
from tests.houses import COLLECTION, command
from tests.tasks.steps import begin, count, events, rows

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


def test_a_run_that_works_and_others_that_ask_for_its_slot_do_not_throw_each_other_out(
    house: BuildHouse, photos: Photos, ledger_url: str
) -> None:
    """Both take the log's head and the lease; in another order each would wait for what the other holds."""
    photos(3)
    installation = house(archive={"ledger": ledger_url})
    run = begin(installation)
    refused: list[LeaseHeld] = []

    def ask() -> None:
        for _ in range(60):
            try:
                begin(installation)
            except LeaseHeld as error:
                refused.append(error)

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        for _ in range(60):
            discover(installation.ledger, installation.originals(COLLECTION), run.collection_id, run=run)
        for each in asking:
            each.result()
    assert len(refused) == 120
    assert len(events(installation, "discovery.ended")) == 61
