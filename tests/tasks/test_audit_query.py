"""Finding events: by everything that a filter knows, on both databases, streamed, with names where they live."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.errors import IntegrityError, NotInArchive, UsageError
from infra import audit_log
from infra.installation import Installation
from infra.tables import audit_events, audit_values
from tasks.audit_query import Filter, events, number_of
from tests.houses import COLLECTION, lay_out, night
from tests.infra.anchored import anchored_house
from tests.servers.intruder import as_intruder

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
NAMES = (("actor", "tanaka"), ("actor", "100%_sato"), ("collection", "line-1"), ("collection", "line-2"))


@pytest.fixture
def log(tmp_path: Path, ledger_url: str) -> Iterator[Installation]:
    """Twelve events, one a minute: three types, two actors by turns, two collections and runs by halves."""
    house = anchored_house(tmp_path, ledger_url)
    with house.ledger.write() as connection:
        refs = {name: audit_log.reference(connection, kind, name) for kind, name in NAMES}
        for number in range(12):
            audit_log.append(connection, event(number, refs))
    yield house
    house.ledger.close()


def event(number: int, refs: dict[str, str]) -> Event:
    return Event(
        type=("batch.committed", "batch_other", "run.ended")[number % 3],
        occurred_at=START + timedelta(minutes=number),
        actor=Actor(refs["tanaka" if number % 2 else "100%_sato"], "operator"),
        on_behalf_of=refs["tanaka"] if number == 4 else None,
        collection=refs["line-1" if number < 6 else "line-2"],
        run_id="run-a" if number < 6 else "run-b",
        subject={"other": refs["tanaka"]}
        if number == 2
        else None,  # named, but neither actor nor on behalf of
    )


def numbers(house: Installation, **wanted: Any) -> list[int]:
    return [entry.event["seq"] for entry in events(house, Filter(**wanted))]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ({"newest_first": True, "limit": 3}, [11, 10, 9]),
        ({"limit": 0}, []),
        ({"first": 3, "last": 5}, [3, 4, 5]),
        ({"run": "run-b", "last": 7}, [6, 7]),
        ({"run": "run"}, []),
        ({"types": ("run.ended",)}, [2, 5, 8, 11]),
        ({"types": ("batch",)}, [0, 3, 6, 9]),  # batch_other is no batch.*
        ({"types": ("batch.*", "run.ended"), "first": 8}, [8, 9, 11]),
        ({"types": ("bat",)}, []),
        ({"collection": "line-2", "types": ("run",)}, [8, 11]),
        ({"actor": "tanaka"}, [1, 3, 4, 5, 7, 9, 11]),
        ({"actor": "100%_sato", "first": 9}, [10]),
        ({"since": START + timedelta(minutes=10)}, [10, 11]),
        ({"until": START + timedelta(minutes=2)}, [0, 1]),
        ({"since": datetime(2026, 11, 24, 21, 1, tzinfo=UTC) - timedelta(hours=9), "limit": 1}, [1]),
        ({"actor": "tanaka", "collection": "line-1", "newest_first": True, "limit": 2}, [5, 4]),
    ],
)
def test_all_that_is_asked_for_must_hold(
    log: Installation, wanted: dict[str, Any], expected: list[int]
) -> None:
    assert numbers(log, **wanted) == expected


def test_names_come_with_the_events_until_they_are_erased(log: Installation) -> None:
    (entry,) = events(log, Filter(first=4, last=4))
    ref = entry.event["actor"]["ref"]
    assert (entry.names[ref], entry.names[entry.event["on_behalf_of"]]) == ("100%_sato", "tanaka")
    assert entry.body == audit_bodies(log)[4]
    with log.ledger.write() as connection:
        connection.execute(audit_values.delete().where(audit_values.c.value == "100%_sato"))
    (entry,) = events(log, Filter(first=4, last=4))
    assert (ref in entry.names, entry.names[entry.event["on_behalf_of"]]) == (False, "tanaka")
    assert numbers(log, actor=ref, limit=2) == [0, 2]  # by the reference it is found for ever
    with pytest.raises(UsageError, match="no actor '100%_sato' in the audit log"):
        numbers(log, actor="100%_sato")


def audit_bodies(house: Installation) -> list[bytes]:
    with house.ledger.read() as connection:
        return [bytes(body) for body in connection.execute(sa.select(audit_events.c.body)).scalars()]


def test_what_is_not_in_the_log_is_an_error_and_no_empty_answer(log: Installation) -> None:
    with pytest.raises(UsageError, match="no collection 'line-3'"):
        numbers(log, collection="line-3")
    with pytest.raises(NotInArchive):
        numbers(log, image="nowhere.jpg")


def test_an_event_is_named_by_number_or_id(log: Installation) -> None:
    with log.ledger.read() as connection:
        ids = (
            connection.execute(sa.select(audit_events.c.event_id).order_by(audit_events.c.seq))
            .scalars()
            .all()
        )
        assert number_of(connection, "7") == number_of(connection, ids[7].upper()) == 7
        for wrong in ("12", "-1", "1" * 30, "x", ""):
            with pytest.raises(UsageError, match="has no event"):
                number_of(connection, wrong)


def test_an_event_that_is_none_any_more_ends_the_list_with_an_error(log: Installation) -> None:
    with log.ledger.write() as connection:
        as_intruder(connection).execute(
            audit_events.update().where(audit_events.c.seq == 3).values(body=b"{broken")
        )
    found = events(log, Filter())
    with pytest.raises(IntegrityError):
        list(found)


def test_one_image_s_events(tmp_path: Path, ledger_url: str) -> None:
    house = anchored_house(tmp_path, ledger_url, night={"batch_size": 2, "smallest_batch": 2})
    lay_out(tmp_path / "photos", 4)
    night(house)
    found = [numbers(house, image=f"000{number}.jpg", collection=COLLECTION) for number in range(4)]
    committed = numbers(house, types=("batch.committed",))
    assert len(committed) == 2
    assert sorted(found) == [committed[:1]] * 2 + [committed[1:]] * 2  # of the other batch nothing
    with pytest.raises(UsageError, match="no collection 'elsewhere'"):
        numbers(house, image="0003.jpg", collection="elsewhere")
    house.ledger.close()


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Six thousand events of 1 kB, of which never more than a few pages are in memory."""
    house = anchored_house(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite")
    with house.ledger.write() as connection:
        for _ in range(6):
            some = [
                Event(type="t", occurred_at=START, actor=Actor("r", "operator"), reason_text="x" * 700)
                for _ in range(1000)
            ]
            audit_log.append_all(connection, some)
    assert numbers(house, limit=3) == [0, 1, 2]  # imports and caches
    tracemalloc.start()
    try:
        count = sum(1 for _ in events(house, Filter(newest_first=True)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 6_000
    assert peak < 3 * 500 * 1000 * 2
    house.ledger.close()
