"""Planning an erasure: what is meant, by whom, and whose signature counts."""

from __future__ import annotations

import pytest

from fwd2bot_core.errors import AccessDenied, BlockedByPolicy, NotInArchive, SignatureRefused, UsageError
from fwd2bot_core.retention.erasure import State, statement
from infra.lookup import locate
from tasks import erasure
from tests.houses import COLLECTION
from tests.tasks.disposals import World
from tests.tasks.erasures import approved, carried_out
from tests.tasks.steps import events


def test_a_key_means_its_copies_too(place: World) -> None:
    made = erasure.plan(place.house, "Nika", "request 17", ["1.jpg"])
    with place.house.ledger.read() as connection:
        found = erasure.units_of(connection, made.id, erasure.ItemState.PLANNED)
        assert erasure.listed(connection) == [made]
    assert [unit.key for unit in found] == ["1.jpg", "1-again.jpg"]
    (event,) = events(place.house, "erasure.planned")
    assert (event["after"], event["reason_text"]) == ({"objects": 2}, "request 17")


def test_by_content_and_by_pattern(place: World) -> None:
    sha256 = locate(place.house, "2.jpg").sha256
    assert erasure.plan(place.house, "Nika", "r", [sha256[:16]]).objects == 1
    made = erasure.plan(place.house, "Nika", "r", keys="1*", collection=COLLECTION)
    assert made.objects == 2
    with pytest.raises(UsageError, match="--collection"):
        erasure.plan(place.house, "Nika", "r", keys="1*")


def test_nothing_named_and_no_reason(place: World) -> None:
    with pytest.raises(NotInArchive):
        erasure.plan(place.house, "Nika", "r")
    with pytest.raises(NotInArchive):
        erasure.plan(place.house, "Nika", "r", ["none.jpg"])
    with pytest.raises(UsageError, match="say why"):
        erasure.plan(place.house, "Nika", " ", ["1.jpg"])


def test_more_than_a_persons_is_refused(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "MOST", 2)
    with pytest.raises(UsageError, match="3 photos are meant"):
        erasure.plan(place.house, "Nika", "r", ["1.jpg", "2.jpg"])


def test_a_photo_is_in_one_erasure_at_a_time(place: World) -> None:
    first = erasure.plan(place.house, "Nika", "r", ["1.jpg"])
    with pytest.raises(UsageError, match=first.id):
        erasure.plan(place.house, "Nika", "r", ["1-again.jpg"])
    assert erasure.refuse(place.house, first.id, "Nika", "withdrawn").state == State.REFUSED
    erasure.plan(place.house, "Nika", "r", ["1-again.jpg"])
    with pytest.raises(BlockedByPolicy, match="refused"):
        erasure.refuse(place.house, first.id, "Nika", "again")


def test_only_compliance_plans_and_never_approves_its_own(place: World) -> None:
    with pytest.raises(AccessDenied):
        erasure.plan(place.house, "Ann", "r", ["1.jpg"])
    made = approved(place, "1.jpg")
    assert made.state == State.APPROVED
    with pytest.raises(SignatureRefused):
        erasure.approve(place.house, made.id, "Nika", "seen", place.approvers[0][1].sign(b"anything"))
    name, signer = place.approvers[1]
    said = statement(made.id, made.sha256, name, "seen")
    with pytest.raises(BlockedByPolicy, match="waits for no approval"):
        erasure.approve(place.house, made.id, name, "seen", signer.sign(said))
    assert len(events(place.house, "access.denied")) == 2


def test_what_is_signed_is_exactly_these_photos(place: World) -> None:
    one = erasure.plan(place.house, "Nika", "r", ["0.jpg"])
    other = erasure.plan(place.house, "Nika", "r", ["2.jpg"])
    assert one.sha256 != other.sha256
    with pytest.raises(UsageError, match="no erasure"):
        erasure.refuse(place.house, "none", "Nika", "r")


def test_a_key_that_was_erased_is_not_known(place: World) -> None:
    carried_out(place, approved(place, "1.jpg").id)
    with pytest.raises(NotInArchive):
        erasure.plan(place.house, "Nika", "r", ["1.jpg"])
