"""A policy tried out on a real archive, against the one in force."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.decision import Condition
from fwd2bot_core.retention.policy_file import Document, read
from infra.installation import Installation
from infra.retention_tables import object_facts, object_tags
from tasks.simulation import Amount, simulate
from tests.tasks.dispositions import Site, furnished, put_in_force, serious
from tests.tasks.steps import everything

PHOTOS = 6
NEWER = datetime(2021, 5, 1, tzinfo=UTC)


@pytest.fixture
def site(house: Callable[..., Installation], monkeypatch: pytest.MonkeyPatch) -> Site:
    """Six photos, two of them newer than the others, one disputed."""
    serious(monkeypatch)
    made = furnished(house, PHOTOS)
    with made.house.ledger.write() as connection:
        newer = object_facts.c.object_version_id.in_(made.photos[:2])
        connection.execute(object_facts.update().where(newer).values(captured_at=NEWER))
        connection.execute(object_tags.insert().values(object_version_id=made.photos[5], tag="disputed"))
    return made


def document(site: Site, *changes: tuple[str, str]) -> Document:
    text = site.text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return read(text.encode())


def test_what_may_go_and_what_keeps_the_others(site: Site) -> None:
    found = simulate(site.house, document(site), as_of=datetime(2026, 6, 1, tzinfo=UTC))
    assert (found.photos.objects, found.due.now.objects, found.may_go.now.objects) == (PHOTOS, 3, 3)
    assert found.may_go.newly == found.may_go.now
    assert found.against is None
    stopped = {c: (one.all.objects, one.alone.objects) for c, one in found.stopped.items() if one.all.objects}
    assert stopped == {Condition.PERIOD: (2, 2), Condition.KEPT: (1, 1)}
    assert found.may_go.now.bytes == sum(sizes(site)[2:5])
    assert (found.beyond, found.unknown) == ([], [])


def test_another_day_has_other_answers(site: Site) -> None:
    early = simulate(site.house, document(site), as_of=datetime(2022, 12, 31, 14, 59, 59, tzinfo=UTC))
    late = simulate(site.house, document(site), as_of=datetime(2022, 12, 31, 15, tzinfo=UTC))  # 2023 in Tokyo
    later = simulate(site.house, document(site), as_of=datetime(2029, 1, 1, tzinfo=UTC))
    assert [one.may_go.now.objects for one in (early, late, later)] == [0, 3, 5]


def test_against_the_version_in_force_and_against_a_file(site: Site) -> None:
    in_force = put_in_force(site)
    shorter = document(site, ("P7Y", "P4Y"), ("version: 1", "version: 2"))
    found = simulate(site.house, shorter, as_of=datetime(2026, 6, 1, tzinfo=UTC))
    assert found.against == in_force.reference()
    assert (found.may_go.now.objects, found.may_go.newly.objects, found.may_go.no_longer.objects) == (5, 2, 0)
    assert found.may_go.newly.bytes == sum(sizes(site)[:2])
    back = simulate(site.house, in_force, against=shorter, as_of=datetime(2026, 6, 1, tzinfo=UTC))
    assert (back.may_go.now.objects, back.may_go.newly, back.may_go.no_longer.objects) == (3, Amount(), 2)


def test_what_only_observes_has_due_photos_and_lets_none_go(site: Site) -> None:
    found = simulate(site.house, document(site, ("stage: enforce", "stage: observe")))
    assert (found.due.now.objects, found.may_go.now.objects) == (3, 0)
    assert found.stopped[Condition.ROLLOUT].all.objects == PHOTOS
    assert found.stopped[Condition.ROLLOUT].alone.objects == 3
    assert found.stopped[Condition.PERIOD].alone.objects == 2  # nothing else about the photos does


def test_limits_that_a_run_would_hit_are_named(site: Site) -> None:
    tight = document(
        site, ("objects: 20000", "objects: 2"), ("percent: 100 %", "percent: 49 %"), ("500 GB", "10 B")
    )
    assert simulate(site.house, tight).beyond == ["objects", "percent", "bytes"]


def test_collections_that_nobody_knows_are_named_and_alone_refused(site: Site) -> None:
    more = document(site, ("collections: [line-1]", "collections: [line-1, line-9]"))
    assert simulate(site.house, more).unknown == ["line-9"]
    with pytest.raises(UsageError, match="is about line-9; none is a collection"):
        simulate(site.house, document(site, ("collections: [line-1]", "collections: [line-9]")))


def test_nothing_is_written(site: Site) -> None:
    before = everything(site.house)
    simulate(site.house, document(site))
    assert everything(site.house) == before


def sizes(site: Site) -> list[int]:
    from infra.tables import object_versions

    with site.house.ledger.read() as connection:
        rows: Any = connection.execute(
            sa.select(object_versions.c.size).order_by(object_versions.c.key)
        ).scalars()
        return [int(size) for size in rows]
