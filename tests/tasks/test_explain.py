"""Every condition of one photo, by the policies in force or by a file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwd2bot_core.errors import NotInArchive
from fwd2bot_core.retention.decision import Condition
from fwd2bot_core.retention.policy_file import read
from infra.installation import Installation
from infra.retention_tables import hold_members, legal_holds
from infra.tables import object_versions
from tasks.explain import Explained, explain
from tests.tasks.dispositions import Site, furnished, put_in_force, serious
from tests.tasks.steps import rows


@pytest.fixture
def site(house: Callable[..., Installation], monkeypatch: pytest.MonkeyPatch) -> Site:
    serious(monkeypatch)
    return furnished(house, 2)


def only(found: list[Explained]) -> Explained:
    (one,) = found
    return one


def test_without_a_policy_in_force_it_stays(site: Site) -> None:
    found = only(explain(site.house, "0000.jpg"))
    assert (found.collection, found.key, found.policy, found.decision) == ("line-1", "0000.jpg", None, None)


def test_by_the_policy_in_force_and_by_a_file(site: Site) -> None:
    in_force = put_in_force(site)
    found = only(explain(site.house, "0000.jpg"))
    assert found.policy == in_force.reference()
    assert found.decision is not None
    assert found.decision.may_go
    longer = read(site.text().replace("P7Y", "P70Y").encode())
    stays = only(explain(site.house, "0000.jpg", by=longer))
    assert stays.decision is not None
    assert [one.condition for one in stays.decision.reasons if not one.ok] == [Condition.PERIOD]


def test_a_hold_is_named_and_a_confidential_one_is_not(site: Site) -> None:
    put_in_force(site)
    with site.house.ledger.write() as connection:
        for number, (name, secret) in enumerate([("case-7", False), ("merger", True)], 1):
            at = {
                "placed_at": rows(site.house, object_versions)[0].first_seen_at,
                "author_ref": "a",
                "reason": "r",
            }
            connection.execute(legal_holds.insert().values(id=number, name=name, confidential=secret, **at))
            connection.execute(hold_members.insert().values(hold_id=number, object_version_id=site.photos[0]))
    found = only(explain(site.house, "0000.jpg")).decision
    assert found is not None
    (hold,) = [one for one in found.reasons if not one.ok]
    assert (hold.condition, hold.value) == (Condition.HOLD, "case-7, 1 confidential")
    assert "merger" not in str(found.as_json())


def test_a_photo_is_found_by_its_content_and_an_unknown_one_is_not(site: Site) -> None:
    sha256 = rows(site.house, object_versions)[0].content_sha256
    assert only(explain(site.house, sha256[:12])).sha256 == sha256
    with pytest.raises(NotInArchive):
        explain(site.house, "nothing.jpg")
