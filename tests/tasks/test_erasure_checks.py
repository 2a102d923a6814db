"""What forbids an erasure: each reason by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import BlockedByPolicy, IntegrityError
from fwd2bot_core.retention.policy_file import read
from infra import audit_log
from infra.erasure_tables import erasures
from infra.retention_tables import object_facts, people, policies
from infra.tables import work
from tasks.erase import erase
from tests.tasks.disposals import World
from tests.tasks.erasures import approved, carried_out


def reasons(world: World, erasure_id: str) -> list[str]:
    return [reason for line in erase(world.house, erasure_id).lines for reason in line.reasons]


def duty(world: World, retain: str) -> None:
    """The policy in force says that a law obliges to keep photos so long."""
    rules = [world.policy["rules"][0] | {"retain": retain, "duty": "IATF 16949 8.3"}]
    document = read(json.dumps(world.policy | {"rules": rules}).encode())
    said = {
        "yaml": document.data,
        "sha256": document.sha256,
        "meaning_sha256": document.policy.meaning_sha256,
    }
    world.write(policies.update().values(**said))


def test_a_duty_that_is_not_over(place: World) -> None:
    made = approved(place, "0.jpg")
    duty(place, "P90Y")
    assert reasons(place, made.id) == ["legal duty IATF 16949 8.3 (rule all: until 2110-05-02)"]
    with pytest.raises(BlockedByPolicy, match="legal duty"):
        carried_out(place, made.id)


def test_a_duty_that_is_over(place: World) -> None:
    made = approved(place, "0.jpg")
    duty(place, "P1Y")
    assert reasons(place, made.id) == []


def test_a_duty_since_nobody_knows_when(place: World) -> None:
    made = approved(place, "0.jpg")
    duty(place, "P1Y")
    place.write(object_facts.delete())
    assert reasons(place, made.id) == ["legal duty IATF 16949 8.3 (rule all: since when is not known)"]


def test_a_list_that_deals_with_it(place: World) -> None:
    made = approved(place, "0.jpg")
    place.list([place.numbers[0]])
    assert "disposition list list-1 is about it" in reasons(place, made.id)[0]


def test_a_run_that_has_it_in_hand(place: World) -> None:
    made = approved(place, "0.jpg")
    place.write(work.update().values(state="claimed"))
    assert "a run has it in hand" in reasons(place, made.id)[0]


def test_a_confidential_hold_keeps_its_name(place: World) -> None:
    from infra.retention_tables import legal_holds

    made = approved(place, "0.jpg")
    place.hold(place.numbers[0])
    place.write(legal_holds.update().values(confidential=True))
    assert reasons(place, made.id) == ["legal hold"]


@pytest.mark.parametrize(
    "change",
    [
        people.update().values(revoked_at=datetime(2026, 1, 1, tzinfo=UTC)),
        erasures.update().values(statement=b"other"),
        erasures.update().values(
            author_ref=sa.select(people.c.name_ref).where(people.c.id == 1).scalar_subquery()
        ),
    ],
)
def test_a_signature_that_does_not_count_any_more(place: World, change: sa.Executable) -> None:
    made = approved(place, "0.jpg")
    place.write(change)
    with pytest.raises(BlockedByPolicy, match="nobody's signature"):
        erase(place.house, made.id)


def test_other_photos_than_were_signed(place: World) -> None:
    from infra.erasure_tables import erasure_items

    made = approved(place, "0.jpg")
    number = place.numbers[2]
    at = audit_log.now()
    place.write(
        erasure_items.insert().values(
            erasure_id=made.id, object_version_id=number, state="planned", changed_at=at
        )
    )
    with pytest.raises(IntegrityError, match="other photos"):
        erase(place.house, made.id)


def test_one_that_waits_for_its_signature(place: World) -> None:
    from tasks.erasure import plan

    with pytest.raises(BlockedByPolicy, match="planned, not approved"):
        erase(place.house, plan(place.house, "Nika", "r", ["0.jpg"]).id)


def test_a_clock_in_doubt(place: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made, real = approved(place, "0.jpg"), audit_log.now
    monkeypatch.setattr(audit_log, "now", lambda: real() + timedelta(days=365))
    with pytest.raises(BlockedByPolicy, match="clock"):
        erase(place.house, made.id)
