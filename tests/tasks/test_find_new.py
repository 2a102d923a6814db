"""Which sources a night looks into, and that nothing is missed for ever, whenever and however it came."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fwd2bot_core.errors import SettingsError, StoreUnreachable
from infra.installation import Installation
from infra.objects import ObjectInfo
from infra.objects.file import FileStore
from infra.objects.memory import MemoryStore
from infra.tables import collections, object_versions
from tasks import runs
from tasks.discover import Discovery
from tasks.find_new import find_new
from tasks.runs import Run
from tests.houses import COLLECTION, night
from tests.infra.sources.packing import photos_named, tar_of
from tests.infra.sources.reports import lay_down
from tests.tasks.steps import events, rows

BuildHouse = Callable[..., Installation]
_fresh = itertools.count()
SUNDAY = datetime(2026, 11, 22, 3, tzinfo=UTC)  # an hour after the sweep's time
DAY = timedelta(days=1)


class Counting(MemoryStore):
    """Counts the keys that it lists and is asked about."""

    listed = 0
    asked = 0

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for info in super().list(prefix):
            self.listed += 1
            yield info

    def stat(self, key: str) -> ObjectInfo:
        self.asked += 1
        return super().stat(key)


@dataclass
class Site:
    """A collection whose clock a test turns."""

    house: Installation
    store: Counting
    run: Run
    inbox: FileStore
    reports: FileStore
    now: datetime = SUNDAY

    def look(self) -> Discovery:
        self.store.listed = self.store.asked = 0
        return find_new(self.house, COLLECTION, self.run.collection_id, run=self.run, clock=lambda: self.now)

    def put(self, day: datetime, name: str, body: bytes | None = None) -> str:
        key = f"{day:%Y/%m/%d}/{name}"
        self.store.replace(key, body or f"{key} {next(_fresh)}".encode())
        return key

    def tell(self, *keys: str) -> None:
        """A notification, written now."""
        records = [
            {
                "eventName": "ObjectCreated:Put",
                "eventTime": "2026-11-22T00:00:00Z",
                "s3": {"bucket": {"name": "b"}, "object": {"key": key, "size": 1, "eTag": "a claim"}},
            }
            for key in keys
        ]
        name = f"{next(_fresh)}.json"
        self.inbox.create(name, json.dumps({"Records": records}).encode())
        path = Path(self.inbox.uri.removeprefix("file://")) / name
        os.utime(path, (self.now.timestamp(),) * 2)

    def current(self) -> dict[str, str]:
        mine = object_versions.c.collection_id == self.run.collection_id
        query = sa.select(object_versions).where(mine, object_versions.c.superseded_at.is_(None))
        return {row.key: row.identity for row in rows(self.house, query)}

    def there(self) -> dict[str, str]:
        return {info.key: info.identity for info in self.store.list()}


def build(house: BuildHouse, folder: Path, *, containers: bool = False, **discovery: Any) -> Site:
    store = Counting(f"find-new-{next(_fresh)}")
    inbox = FileStore(folder / "inbox", create_root=True)
    reports = FileStore(folder / "reports", create_root=True)
    named = {"ordered": True, "full_sweep": "0 2 * * 0"} | discovery
    made = house(
        **{
            f"collections.{COLLECTION}": {"originals": store.uri},
            f"collections.{COLLECTION}.capture": {"name": "%Y/%m/%d/*", "zone": "Asia/Tokyo"},
            f"collections.{COLLECTION}.containers": {"archives": containers},
            f"collections.{COLLECTION}.discovery": named,
        }
    )
    return Site(made, store, runs.begin(made, COLLECTION), inbox, reports)


@pytest.fixture
def site(house: BuildHouse, tmp_path: Path) -> Site:
    return build(house, tmp_path)


def sources(site: Site) -> list[str]:
    return [body["after"].get("source") for body in events(site.house, "discovery.ended")]


def test_the_first_look_is_at_everything_and_the_next_at_recent_days(site: Site) -> None:
    for age in range(100):
        site.put(site.now - age * DAY, "a.jpg")
    assert site.look().new == 100
    site.now += DAY
    site.put(site.now, "b.jpg")
    found = site.look()
    assert (found.new, sources(site)) == (1, ["listing", "days"])
    assert site.store.listed < 10
    assert site.look().new == 0


def test_what_comes_late_is_found_within_the_hours_and_else_by_the_sweep(site: Site) -> None:
    site.put(site.now, "a.jpg")
    site.look()
    site.now += DAY
    late, later = site.put(site.now - 2 * DAY, "late.jpg"), site.put(site.now - 20 * DAY, "later.jpg")
    assert site.look().new == 1
    assert late in site.current()
    assert later not in site.current()
    site.now += 5 * DAY
    assert site.look().new == 0
    site.now += DAY
    assert site.look().new == 1
    assert sources(site)[-1] == "listing"
    assert site.current() == site.there()


def test_after_a_silence_of_weeks_all_days_since_are_looked_at(house: BuildHouse, tmp_path: Path) -> None:
    silent = build(house, tmp_path, full_sweep="0 2 1 1 *")
    silent.put(silent.now, "a.jpg")
    silent.look()
    silent.now += 30 * DAY
    for age in range(30):
        silent.put(silent.now - age * DAY, "b.jpg")
    assert silent.look().new == 30
    assert sources(silent) == ["listing", "days"]


@pytest.mark.parametrize("jump", [-3 * DAY, 500 * DAY])
def test_a_clock_that_jumped_means_that_everything_is_listed(
    house: BuildHouse, tmp_path: Path, jump: timedelta
) -> None:
    site = build(house, tmp_path, full_sweep="0 2 1 1 *")
    site.put(site.now, "a.jpg")
    site.look()
    site.now += jump
    site.put(SUNDAY - 200 * DAY, "b.jpg")
    assert site.look().new == 1
    assert sources(site) == ["listing", "listing"]


def test_a_look_that_failed_is_no_look(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put(site.now, "a.jpg")
    site.look()
    site.now += DAY
    with monkeypatch.context() as broken:
        broken.setattr(MemoryStore, "list", lambda *_: (_ for _ in ()).throw(StoreUnreachable("it is down")))
        with pytest.raises(StoreUnreachable):
            site.look()
    site.put(site.now - 4 * DAY, "b.jpg")
    site.now += 2 * DAY
    assert site.look().new == 1


def test_a_quiet_day_is_no_disk_that_is_not_mounted(site: Site) -> None:
    site.put(site.now - 50 * DAY, "a.jpg")
    site.look()
    site.now += DAY
    assert site.look() == Discovery()


def test_counting_marks_nothing(site: Site) -> None:
    site.put(site.now, "a.jpg")
    before = find_new(site.house, COLLECTION, None)
    assert (before.new, site.look().new) == (1, 1)
    assert sources(site) == ["listing"]


def test_notifications_are_claims_and_the_store_is_asked(house: BuildHouse, tmp_path: Path) -> None:
    site = build(house, tmp_path, ordered=False, events=str(tmp_path / "inbox"))
    old = site.put(site.now, "old.jpg")
    site.look()
    site.now += DAY
    new, gone = site.put(site.now - 40 * DAY, "new.jpg"), "2026/11/22/gone.jpg"
    site.tell(new, gone, new)
    site.tell(new)
    assert site.look().new == 1
    assert site.current() == site.there()
    site.put(site.now, "unheard.jpg")
    site.tell(old)  # a claim of another version, which is not true
    found = site.look()
    assert (found.new, found.superseded) == (0, 0)
    assert events(site.house, "discovery.ended")[-1]["after"]["unreadable"] == 0


def test_a_sweep_reads_the_newest_inventory_once(house: BuildHouse, tmp_path: Path) -> None:
    site = build(house, tmp_path, inventory=str(tmp_path / "reports"), late_hours=0)
    site.put(site.now, "a.jpg")
    site.look()
    back = site.put(site.now - 50 * DAY, "back.jpg")
    changed = site.put(site.now - 60 * DAY, "changed.jpg")
    lay_down(site.reports, list(site.store.list()), site.now + 6 * DAY)
    site.put(site.now - 60 * DAY, "changed.jpg", b"since the report")
    site.now += 8 * DAY
    fresh = site.put(site.now, "fresh.jpg")
    assert site.look().new == 3
    assert sources(site) == ["listing", "inventory", "days"]
    assert site.current() == site.there()
    assert {back, changed, fresh} <= set(site.current())
    assert site.store.asked == 2  # of what would be news, and nothing else
    site.now += 8 * DAY
    site.look()
    assert sources(site)[-1] == "listing"  # no newer report came


def test_members_of_new_containers_are_found_by_notifications(house: BuildHouse, tmp_path: Path) -> None:
    site = build(house, tmp_path, ordered=False, events=str(tmp_path / "inbox"), containers=True)
    site.put(site.now, "a.jpg")
    site.look()
    key = site.put(site.now, "shard.tar", tar_of(photos_named("a.jpg", "b.jpg")))
    site.tell(key)
    assert site.look().new == 2
    site.tell(key)
    assert site.look().new == 0
    assert f"{key}!/b.jpg" in site.current()
    assert key not in site.current()


def test_a_night_looks_so(house: BuildHouse, tmp_path: Path) -> None:
    site = build(house, tmp_path)
    runs.fail(site.house, site.run, RuntimeError("only the settings are wanted"))
    site.put(datetime.now(UTC), "a.jpg", b"no photo")
    assert (night(site.house).new, night(site.house).new) == (1, 0)
    assert sources(site) == ["listing", "days"]


@pytest.mark.parametrize(
    ("capture", "discovery", "said"),
    [
        ({}, {"ordered": True}, "needs capture.name"),
        ({"name": "*/%Y/%m/%d/*", "zone": "UTC"}, {"ordered": True}, "does not begin with the day"),
        ({}, {"inventory": "reports"}, "is for sweeps"),
    ],
)
def test_settings_that_would_miss_photos_are_refused(
    house: BuildHouse, capture: dict[str, Any], discovery: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        house(
            **{f"collections.{COLLECTION}.capture": capture, f"collections.{COLLECTION}.discovery": discovery}
        )


arrivals = st.tuples(
    st.sampled_from(["today", "today", "late", "back", "ahead"]),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["told", "told twice", "untold"]),
)
nights = st.lists(
    st.tuples(st.lists(arrivals, max_size=4), st.sampled_from([0, 0, 0, -30, 50]), st.booleans()),
    min_size=1,
    max_size=4,
)
AGES = {"today": 0, "late": 1, "back": 90, "ahead": -30}


@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(nights=nights)
def test_after_a_sweep_everything_is_known_and_nothing_twice(
    house: BuildHouse, tmp_path: Path, nights: list[Any]
) -> None:
    """Photos of any day, notified or not, overwritten, deleted; a clock that is hours off, in both directions."""
    if not hasattr(house, "site"):
        house.site = build(house, tmp_path, events=str(tmp_path / "inbox"))  # type: ignore[attr-defined]
    site = _another_collection(house.site)  # type: ignore[attr-defined]
    true = SUNDAY
    kept = site.put(SUNDAY - 50 * DAY, "kept.jpg")  # an archive that is empty is an error of its own
    for coming, skew, deletes in nights:
        true += DAY
        site.now = true + timedelta(hours=skew)
        for when, name, told in coming:
            key = site.put(true - AGES[when] * DAY, f"{name}.jpg")
            site.tell(*{"told": [key], "told twice": [key, key], "untold": []}[told])
        site.look()
        if deletes and (held := [info for info in site.store.list() if info.key != kept]):
            site.store.delete_version(held[0])
    site.now = true + 9 * DAY
    site.put(site.now, "last.jpg")
    site.look()
    known = site.current()
    assert {key: known.get(key) for key in site.there()} == site.there()
    mine = sa.select(object_versions).where(object_versions.c.collection_id == site.run.collection_id)
    named = [(row.key, row.identity) for row in rows(site.house, mine)]
    assert len(named) == len(set(named))
    assert len([key for key, _ in named]) >= len(known)


def _another_collection(site: Site) -> Site:
    """The same house and store, emptied, under a number of its own in the ledger."""
    for info in list(site.store.list()):
        site.store.delete_version(info)
    for info in list(site.inbox.list()):
        site.inbox.delete_version(info)
    number = 100 + next(_fresh)
    with site.house.ledger.write() as connection:
        place = {"originals": "", "prefix": "", "registered_at": SUNDAY}
        connection.execute(collections.insert().values(id=number, name=str(number), **place))
    return replace(site, run=replace(site.run, collection_id=number), now=SUNDAY)
