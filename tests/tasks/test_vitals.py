"""The numbers of an installation, from the ledger, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from tasks.vitals import vitals
from tests.houses import COLLECTION, night
from tests.tasks.steps import begin


def test_before_any_night_there_is_nothing_and_afterwards_what_it_did(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str, tmp_path: Path
) -> None:
    photos(3)[0].write_bytes(b"broken")
    anchor = {"audit.anchors.folder": {"kind": "directory", "place": str(tmp_path / "anchor")}}
    (tmp_path / "anchor").mkdir()
    made = house(archive={"ledger": ledger_url}, **anchor)
    before = vitals(made)
    assert (before.health, before.signed, before.anchors) == ([], 0, {})
    night(made)
    (one,) = vitals(made).health
    assert (one.collection, one.last_state, one.images, one.failed) == (COLLECTION, "partly_failed", 2, 1)
    assert one.last_good_at == one.last_ended_at is not None
    assert one.stored_bytes > 0
    begin(made)
    signed = sign_checkpoint(made, reason="test")
    found = vitals(made)
    assert found.health[0].running == 1
    assert found.anchors["folder"][0] == found.signed == signed.size
    assert found.events >= found.signed
