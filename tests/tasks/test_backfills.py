"""A backfill's life: which step follows which, and each an event."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import CompressorMismatch, LeaseHeld, UsageError
from infra.backfill_tables import BackfillState
from infra.installation import Installation
from tasks import backfills, runs
from tasks.backfill_scope import Scope
from tasks.backfills import Budget
from tasks.plan import BACKFILL
from tests.houses import COLLECTION
from tests.tasks.backfill_steps import started, worked
from tests.tasks.steps import events, use_compressor

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def test_each_word_is_an_event_with_what_was_before(house: BuildHouse, ledger_url: str) -> None:
    installation = house(archive={"ledger": ledger_url})
    backfill = started(installation, Scope(prefix="secret/"), max_images=5, hours="22:00-06:00")
    for state in (BackfillState.PAUSED, BackfillState.ACTIVE, BackfillState.CANCELLED):
        backfill = backfills.tell(installation, backfill, state)
        assert backfill.state == state
    said = [event for event in events(installation) if event["type"].startswith("backfill.")]
    assert [event["type"] for event in said] == [
        "backfill.created",
        "backfill.planned",
        "backfill.paused",
        "backfill.resumed",
        "backfill.cancelled",
    ]
    assert {event["subject"]["backfill"] for event in said} == {backfill.id}
    assert said[2]["before"] == {"state": "active"}
    assert said[0]["after"]["budget"] == {"max_images": 5, "hours": "22:00-06:00", "zone": "UTC"}
    assert "secret" not in str(events(installation))
    assert backfill.ended_at is not None


@pytest.mark.parametrize(
    ("path", "word", "cannot"),
    [
        ([], BackfillState.ACTIVE, "is active; it cannot be resumed"),
        ([BackfillState.PAUSED], BackfillState.PAUSED, "is paused; it cannot be paused"),
        ([BackfillState.CANCELLED], BackfillState.ACTIVE, "is cancelled; it cannot be resumed"),
        ([BackfillState.CANCELLED], BackfillState.CANCELLED, "is cancelled; it cannot be cancelled"),
    ],
)
def test_what_does_not_follow_is_refused(
    house: BuildHouse, path: list[BackfillState], word: BackfillState, cannot: str
) -> None:
    installation = house()
    backfill = started(installation)
    for state in path:
        backfills.tell(installation, backfill, state)
    with pytest.raises(UsageError, match=cannot):
        backfills.tell(installation, backfill, word)


def test_other_limits_replace_those_that_are_given(house: BuildHouse) -> None:
    installation = house()
    backfill = started(installation, max_images=5, hours="22:00-06:00", zone="Asia/Tokyo")
    changed = backfills.allow(installation, backfill, Budget(max_images=9), zoned=False)
    assert changed.budget == Budget(max_images=9, hours="22:00-06:00", zone="Asia/Tokyo")
    (said,) = events(installation, "backfill.limited")
    assert (said["before"]["max_images"], said["after"]["max_images"]) == (5, 9)
    backfills.tell(installation, backfill, BackfillState.CANCELLED)
    with pytest.raises(UsageError, match="cannot be changed any more"):
        backfills.allow(installation, changed, Budget(max_images=9), zoned=False)


def test_money_buys_time_at_a_stated_price() -> None:
    assert Budget(max_money=10, hour_price=4).seconds == 9_000
    assert Budget(max_money=10, hour_price=4, max_seconds=60).seconds == 60
    assert Budget().seconds is None
    with pytest.raises(UsageError, match="--hour-price"):
        Budget(max_money=10)


def test_the_only_open_one_needs_no_name(house: BuildHouse, photos: Photos) -> None:
    photos(2)
    installation = house()
    with pytest.raises(UsageError, match="none is under way"):
        backfills.meant(installation.ledger, None)
    done = started(installation)
    worked(installation, done)
    first = started(installation)
    assert backfills.meant(installation.ledger, None).id == first.id
    second = started(installation)
    with pytest.raises(UsageError, match=f"{second.id}|{first.id}"):
        backfills.meant(installation.ledger, None)
    assert backfills.meant(installation.ledger, done.id).state == BackfillState.DONE
    assert {each.id for each in backfills.every(installation.ledger)} == {done.id, first.id, second.id}
    with pytest.raises(UsageError, match="no backfill 'other'"):
        backfills.read(installation.ledger, "other")


def test_only_one_process_works_on_a_collections_backfills(house: BuildHouse) -> None:
    installation = house()
    backfill = started(installation)
    runs.begin(installation, COLLECTION, BACKFILL, slot=backfills.slot(COLLECTION))
    with pytest.raises(LeaseHeld, match=f"working on backfill:{COLLECTION}"):
        worked(installation, backfill)


def test_a_backfill_of_another_compressor_is_not_gone_on_with(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(2)
    backfill = started(house())
    use_compressor(monkeypatch, FakeCompressor(k=2))
    installation = house()
    with pytest.raises(CompressorMismatch, match=f"{backfill.id} was planned for .* --recompress"):
        worked(installation, backfill)
