"""In the archive = compressed + rejected + left, from the store's side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fwd2bot_core.errors import ExitCode
from infra.installation import Installation
from infra.tables import summaries
from tasks.backfill_reconcile import reconcile
from tasks.backfills import Budget, allow
from tests.tasks.backfill_steps import started, worked

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def test_the_sums_come_out(house: BuildHouse, photos: Photos, ledger_url: str) -> None:
    photos(12)[5].write_bytes(b"broken")
    installation = house(archive={"ledger": ledger_url}, night={"batch_size": 4, "smallest_batch": 4})
    backfill = started(installation, max_images=8)
    worked(installation, backfill)
    photos(2, start=50)
    found = reconcile(installation, backfill)
    assert (found.archive, found.compressed + found.rejected, found.claimed, found.new) == (14, 8, 4, 2)
    assert found.agrees
    backfill = allow(installation, backfill, Budget(max_images=100), zoned=False)
    worked(installation, backfill)
    found = reconcile(installation, backfill)
    assert (found.compressed, found.rejected, found.claimed, found.new) == (11, 1, 0, 2)
    assert found.exit_code == ExitCode.PARTLY_FAILED
    assert found.message == "14 in the archive = 11 compressed + 1 rejected (not_an_image 1) + 2 left"
    assert found.to_dict()["planned"]["images"] == 12


def test_all_compressed_is_a_clean_end(house: BuildHouse, photos: Photos) -> None:
    photos(4)
    installation = house()
    outcome = worked(installation, started(installation))
    assert outcome.reckoning is not None
    assert outcome.exit_code == ExitCode.OK
    assert outcome.backfill.note == "4 in the archive = 4 compressed + 0 rejected + 0 left"


def test_lost_tokens_are_an_integrity_error(house: BuildHouse, photos: Photos) -> None:
    photos(4)
    installation = house()
    outcome = worked(installation, started(installation))
    with installation.ledger.write() as connection:
        connection.execute(summaries.delete().where(summaries.c.object_version_id == 2))
    found = reconcile(installation, outcome.backfill)
    assert found.exit_code == ExitCode.INTEGRITY
    assert "THE LEDGER DOES NOT AGREE WITH ITSELF: 1 images said to be compressed" in found.message
