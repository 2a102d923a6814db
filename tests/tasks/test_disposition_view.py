"""Lists as they are shown: counts, rules, samples, signatures, from a manifest whose hash is right."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwd2bot_core.errors import IntegrityError, UsageError
from infra.installation import Installation
from tasks import disposition_view, holds, review
from tests.tasks.dispositions import Site, furnished, listed, put_in_force, serious


@pytest.fixture(autouse=True)
def _serious(monkeypatch: pytest.MonkeyPatch) -> None:
    serious(monkeypatch)


@pytest.fixture
def both(house: Callable[..., Installation], ledger_url: str) -> Site:
    """On each database."""
    made = furnished(house, 4, ledger_url)
    put_in_force(made)
    return made


def test_a_list_is_shown_with_counts_rules_samples_and_signatures(both: Site) -> None:
    made = listed(both)
    with both.house.ledger.read() as connection:
        said = review.statement(connection, made.id, "Ann", approved=True, reason="seen")
    review.approve(both.house, made.id, "Ann", "seen", both.signers["Ann"].sign(said))
    holds.place(both.house, "Nika", "case", "r", both.photos[:1])
    shown = disposition_view.show(both.house, made.id)
    assert (shown.overview.objects, shown.overview.bytes, shown.overview.approvals) == (4, made.bytes, 1)
    assert shown.states == {"blocked (hold)": 1, "listed": 3}
    assert shown.rules == {"trays": (4, made.bytes)}
    assert shown.first_end == shown.last_end == "2022-12-31T15:00:00.000000Z"
    assert [one["key"] for one in shown.samples] == [f"{n:04}.jpg" for n in range(4)]
    assert [(one.person.name, one.approved, one.counts) for one in shown.said] == [("Ann", True, True)]
    assert [line["object_version_id"] for line in disposition_view.lines(both.house, made.id)] == both.photos
    with both.house.ledger.read() as connection:
        assert [one.id for one in disposition_view.overviews(connection)] == [made.id]


def test_samples_come_evenly_from_the_whole_list(both: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disposition_view, "SAMPLES", 2)
    shown = disposition_view.show(both.house, listed(both).id)
    assert [one["key"] for one in shown.samples] == ["0000.jpg", "0002.jpg"]


def test_a_manifest_that_was_changed_or_a_list_of_no_name_is_not_shown(both: Site) -> None:
    made = listed(both)
    both.house.archive.replace(made.path, both.house.archive.read(made.path) + b"{}\n")
    with pytest.raises(IntegrityError, match="is not list"):
        next(disposition_view.lines(both.house, made.id))
    with pytest.raises(UsageError, match="no disposition list"):
        disposition_view.show(both.house, "other")
