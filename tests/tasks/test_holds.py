"""Legal holds: they overlap, they win, they are released by a signature only, and the store says the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import AccessDenied, ObjectForbidden, StoreUnreachable, UsageError
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.object_facts import facts
from infra.objects.memory import MemoryStore
from infra.retention_tables import disposition_items, disposition_lists, legal_holds, policies
from infra.tables import audit_events, object_versions
from tasks import holds, people
from tasks.hold_list import members_of
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.signers import Signer
from tests.tasks.steps import begin, die_with_the_process, rows

NIKA = "Nika of compliance"


@dataclass
class Site:
    house: Installation
    store: MemoryStore
    signer: Signer
    numbers: list[int]


@pytest.fixture
def site(house: Callable[..., Installation]) -> Site:
    """Three photos in a store that has versions and flags, known to the ledger; somebody of compliance."""
    store = MemoryStore(f"holds-{uuid4().hex}", versions=True)
    for number in range(3):
        store.create(f"{number}.jpg", tiny_jpeg(number))
    opened = house(**{f"collections.{COLLECTION}": {"originals": store.uri}})
    begin(opened)
    signer = Signer()
    people.register(opened.ledger, NIKA, signer.public, [Role.COMPLIANCE])
    people.register(opened.ledger, "Oda", Signer().public, [Role.OPERATOR])
    return Site(opened, store, signer, [row.id for row in rows(opened, object_versions)])


def release(site: Site, number: int, reason: str = "settled") -> holds.Mirrored:
    said = holds.statement(number, NIKA, reason)
    return holds.release(site.house, number, NIKA, reason, site.signer.sign(said))


def held(site: Site) -> dict[int, list[str]]:
    with site.house.ledger.read() as connection:
        return holds.held_now(connection, site.numbers)


def events(site: Site, type: str) -> list[dict]:
    query = sa.select(audit_events.c.body).where(audit_events.c.type == type).order_by(audit_events.c.seq)
    return [json.loads(row.body) for row in rows(site.house, query)]


def can_go(site: Site, number: int) -> bool:
    """Whether the store itself would let a version go; it is put back as it was."""
    info = site.store.stat(f"{number}.jpg")
    try:
        site.store.delete_version(info)
    except ObjectForbidden:
        return False
    site.store.create(info.key, tiny_jpeg(number))
    return True


def test_a_hold_is_in_the_ledger_the_log_and_the_store(site: Site) -> None:
    number, told = holds.place(site.house, NIKA, "case 7", "recall of March", site.numbers[:2])
    assert (told.done, told.without, told.failed) == (2, 0, {})
    assert held(site) == {site.numbers[0]: ["case 7"], site.numbers[1]: ["case 7"]}
    assert [can_go(site, n) for n in range(3)] == [False, False, True]
    (event,) = events(site, "hold.placed")
    assert (event["subject"]["hold"], event["after"]["members"]) == (number, 2)
    assert "case 7" not in json.dumps(event)
    assert "recall" not in json.dumps(event)


def test_what_two_cases_hold_is_free_only_when_both_are_over(site: Site) -> None:
    first, _ = holds.place(site.house, NIKA, "a", "r", site.numbers[:2])
    second, _ = holds.place(site.house, NIKA, "b", "r", site.numbers[1:])
    release(site, first)
    assert held(site) == {site.numbers[1]: ["b"], site.numbers[2]: ["b"]}
    assert [can_go(site, n) for n in range(3)] == [True, False, False]
    release(site, second)
    assert not held(site)
    assert len(events(site, "hold.released")) == 2


def test_only_compliance_places_and_only_a_signature_releases(site: Site) -> None:
    with pytest.raises(AccessDenied, match="for compliance"):
        holds.place(site.house, "Oda", "a", "r", site.numbers)
    number, _ = holds.place(site.house, NIKA, "a", "r", site.numbers)
    other = Signer().sign(holds.statement(number, NIKA, "settled"))
    for signature in (other, site.signer.sign(holds.statement(number + 1, NIKA, "settled")), ""):
        with pytest.raises(AccessDenied):
            holds.release(site.house, number, NIKA, "settled", signature)
    assert len(held(site)) == 3
    assert not any(can_go(site, n) for n in range(3))
    assert len(events(site, "access.denied")) == 4


def test_a_hold_is_released_once(site: Site) -> None:
    number, _ = holds.place(site.house, NIKA, "a", "r", site.numbers)
    release(site, number)
    for wrong, said in ((number, "released already"), (number + 5, "not known")):
        with pytest.raises(UsageError, match=said):
            release(site, wrong)


@pytest.mark.parametrize(("case", "reason", "some"), [("", "r", True), ("a", " ", True), ("a", "r", False)])
def test_a_hold_without_case_reason_or_members_is_none(
    site: Site, case: str, reason: str, some: bool
) -> None:
    with pytest.raises(UsageError, match="nothing was held"):
        holds.place(site.house, NIKA, case, reason, site.numbers if some else [])
    assert not rows(site.house, legal_holds)


def test_a_store_that_does_not_answer_is_told_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    set_legal_hold = MemoryStore.set_legal_hold

    def silent(*_: object) -> None:
        raise StoreUnreachable("no answer")

    monkeypatch.setattr(MemoryStore, "set_legal_hold", silent)
    _, told = holds.place(site.house, NIKA, "a", "r", site.numbers)
    assert told.failed == dict.fromkeys(site.numbers, "no answer")
    assert len(held(site)) == 3  # in force all the same
    monkeypatch.setattr(MemoryStore, "set_legal_hold", set_legal_hold)
    assert holds.mirror(site.house, site.numbers).done == 3
    assert not any(can_go(site, n) for n in range(3))


def test_a_listed_photo_leaves_its_list_and_an_intent_stays_to_meet_the_hold(site: Site) -> None:
    at = rows(site.house, object_versions)[0].first_seen_at
    listed, meant, _ = site.numbers
    with site.house.ledger.write() as connection:
        policy = {
            "id": "p",
            "version": 1,
            "sha256": "s",
            "meaning_sha256": "m",
            "yaml": b"",
            "state": "active",
        }
        connection.execute(policies.insert().values(**policy, author_ref="r", drafted_at=at))
        one = {
            "id": "l", "collection_id": 1, "policy_id": "p", "policy_version": 1, "policy_sha256": "s", "as_of": at,
            "path": "x", "sha256": "y", "objects": 2, "bytes": 2, "approvals": 2, "state": "grace", "author_ref": "r",
            "made_at": at, "expires_at": at,
        }  # fmt: skip
        connection.execute(disposition_lists.insert().values(**one))
        for number, (version, state) in enumerate([(listed, "listed"), (meant, "intent")]):
            connection.execute(
                disposition_items.insert().values(
                    list_id="l", object_version_id=version, number=number, state=state, changed_at=at
                )
            )
    holds.place(site.house, NIKA, "a", "r", site.numbers)
    found = {row.object_version_id: (row.state, row.reason) for row in rows(site.house, disposition_items)}
    assert found == {listed: ("blocked", "hold"), meant: ("intent", None)}
    assert events(site, "hold.placed")[0]["after"]["taken_off_lists"] == 1


def test_plain_files_are_held_by_the_ledger_alone(
    house: Callable[..., Installation], photos: Callable[..., list]
) -> None:
    photos(2)
    opened = house()
    begin(opened)
    people.register(opened.ledger, NIKA, Signer().public, [Role.COMPLIANCE])
    numbers = [row.id for row in rows(opened, object_versions)]
    _, told = holds.place(opened, NIKA, "a", "r", numbers)
    assert (told.done, told.without, told.failed) == (0, 2, {})


def test_a_photo_that_comes_later_and_matches_is_held_as_soon_as_it_is_known(site: Site) -> None:
    number, _ = holds.place(
        site.house, NIKA, "recall-7", "r", site.numbers[:1], patterns=[(COLLECTION, "new/*")]
    )
    site.store.create("new/a.jpg", tiny_jpeg(7))
    site.store.create("other/b.jpg", tiny_jpeg(8))
    die_with_the_process(site.house)
    begin(site.house)
    there = {row.key: row.id for row in rows(site.house, object_versions)}
    with site.house.ledger.read() as connection:
        assert holds.held_now(connection, list(there.values())) == {
            site.numbers[0]: ["recall-7"], there["new/a.jpg"]: ["recall-7"]
        }  # fmt: skip
    assert members_of(site.house.ledger, number) == [site.numbers[0], there["new/a.jpg"]]
    (event,) = events(site, "hold.caught")
    assert event["after"] == {"members": 1}
    release(site, number)
    with site.house.ledger.read() as connection:
        assert holds.held_now(connection, list(there.values())) == {}


def test_the_same_bytes_under_another_key_are_held(site: Site) -> None:
    die_with_the_process(site.house)
    night(site.house)
    site.store.create("copy.jpg", tiny_jpeg(0))
    night(site.house)
    there = {row.key: row.id for row in rows(site.house, object_versions)}
    holds.place(site.house, NIKA, "recall-7", "r", [there["0.jpg"]])
    with site.house.ledger.read() as connection:
        assert sorted(holds.held_now(connection, list(there.values()))) == [there["0.jpg"], there["copy.jpg"]]
        assert [hold.name for hold in facts(connection, [there["copy.jpg"]])[0].holds] == ["recall-7"]
