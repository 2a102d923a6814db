"""A night over archives of photos: each member compressed once, each bad one a row, and why they are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from fwd2bot_core.retention.decision import Condition
from fwd2bot_core.retention.policy_file import read
from infra.installation import Installation
from infra.objects.memory import MemoryStore
from infra.tables import failures, object_versions
from tasks.backfill_scope import Entries, Scope
from tasks.explain import explain
from tests.core.retention.policies import TEXT
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.infra.sources.packing import photos_named, tar_of, tiff_of, zip_of

BuildHouse = Callable[..., Installation]
_fresh = itertools.count()


@pytest.fixture
def store() -> MemoryStore:
    """Versioned, so that policies may let its originals go."""
    store = MemoryStore(f"containers-of-night-{next(_fresh)}", versions=True)
    for key, body in {
        "2020/shard-0001.tar": tar_of(
            photos_named("a.jpg", "deep/b.jpg") | {"a.json": b"{}", "c.jpg": b"no photo"}
        ),
        "2021.zip": zip_of({"d.jpg": tiny_jpeg(10), "e.jpg": tiny_jpeg(11)}),
        "scan.tif": tiff_of(1, 100),
        "broken.zip": b"PK\x03\x04 and no more",
        "single.jpg": tiny_jpeg(12),
    }.items():
        store.create(key, body)
    return store


@pytest.fixture
def site(house: BuildHouse, store: MemoryStore) -> Installation:
    return house(
        **{
            f"collections.{COLLECTION}": {"originals": store.uri},
            f"collections.{COLLECTION}.containers": {"archives": True, "pages": "all"},
        }
    )


def test_members_are_compressed_like_any_photo(site: Installation) -> None:
    first = night(site)
    assert (first.new, first.compressed, first.failed) == (9, 7, 2)
    with site.ledger.read() as connection:
        query = sa.select(object_versions.c.key, failures.c.reason, failures.c.detail).join(
            object_versions, object_versions.c.id == failures.c.object_version_id
        )
        rejected = {row.key: (row.reason, row.detail) for row in connection.execute(query)}
    assert set(rejected) == {"2020/shard-0001.tar!/c.jpg", "broken.zip"}
    assert rejected["broken.zip"][0] == "not_an_image"
    assert "a zip file that cannot be read" in rejected["broken.zip"][1]
    again = night(site)
    assert (again.listed, again.new, again.compressed) == (9, 0, 0)
    assert sorted(one.key for one in Entries(site, COLLECTION, Scope(prefix="2020/"))) == [
        "2020/shard-0001.tar!/a.jpg",
        "2020/shard-0001.tar!/c.jpg",
        "2020/shard-0001.tar!/deep/b.jpg",
    ]


def test_a_shard_that_grew_is_another_version_of_each_member(site: Installation, store: MemoryStore) -> None:
    night(site)
    store.replace("2021.zip", zip_of({f"{n}.jpg": tiny_jpeg(n) for n in (20, 21)} | {"d.jpg": tiny_jpeg(10)}))
    again = night(site)
    assert (again.new, again.superseded) == (3, 1)


def test_explain_says_why_a_member_stays(site: Installation) -> None:
    night(site)
    (one,) = explain(site, "2020/shard-0001.tar!/a.jpg", by=read(TEXT.encode()))
    assert one.decision is not None
    (why,) = [reason for reason in one.decision.reasons if reason.condition is Condition.STORE]
    assert (why.ok, why.value) == (False, "memory://, within a container with other photos")
    (single,) = explain(site, "single.jpg", by=read(TEXT.encode()))
    assert single.decision is not None
    assert Condition.STORE not in [reason.condition for reason in single.decision.reasons if not reason.ok]
