"""Capture dates, events and tags: what nights find, what people say, and what becomes of contradictions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment
from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.audit.segment import read_segment
from fwd2bot_core.errors import AccessDenied, UsageError
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.object_facts import facts
from infra.retention_tables import object_dates, object_facts, object_tags
from infra.tables import audit_segments, object_versions
from tasks import people
from tasks.moments import RECORDED, Told, record
from tasks.verify import verify
from tests.houses import COLLECTION, dated_photo, night, tiny_jpeg
from tests.tasks.signers import Signer
from tests.tasks.steps import count, events, rows

TAKEN = datetime(2026, 11, 20, 4, 5, 7, tzinfo=UTC)
LATER = TAKEN + timedelta(days=3)
RULES = {"exif": True, "zone": "Asia/Tokyo", "name": "%Y-%m-%d-*"}


@pytest.fixture
def site(house: Callable[..., Installation], tmp_path: Path, ledger_url: str) -> Installation:
    """Five photos after a night: agreeing, contradictory, only a key, from the future, nothing at all."""
    folder = tmp_path / "photos"
    folder.mkdir()
    said = "2026:11:20 13:05:07"
    photos = {
        "2026-11-20-a.jpg": dated_photo(0, said),
        "2026-11-09-b.jpg": dated_photo(1, said),
        "2026-11-20-c.jpg": tiny_jpeg(2),
        "d.jpg": dated_photo(3, "2126:11:20 13:05:07"),
        "e.jpg": tiny_jpeg(4),
    }
    for name, data in photos.items():
        (folder / name).write_bytes(data)
    made = house(archive={"ledger": ledger_url}, **{f"collections.{COLLECTION}.capture": RULES})
    night(made)
    for name, role in (("Dee", Role.DATA_TEAM), ("Nika", Role.COMPLIANCE), ("Ann", Role.APPROVER)):
        people.register(made.ledger, name, Signer().public, [role])
    return made


def number(site: Installation, letter: str) -> int:
    query = sa.select(object_versions.c.id).where(object_versions.c.key.like(f"%{letter}.jpg"))
    return int(rows(site, query)[0].id)


def known(site: Installation, letter: str) -> Any:
    with site.ledger.read() as connection:
        return facts(connection, [number(site, letter)])[0]


def test_a_night_writes_what_files_and_keys_say(site: Installation) -> None:
    found = {letter: known(site, letter) for letter in "abcde"}
    end = datetime(2026, 11, 20, 14, 59, 59, 999_999, tzinfo=UTC)  # of the day that the key names, in Tokyo
    assert {letter: one.captured_at for letter, one in found.items()} == {
        "a": end, "b": None, "c": end, "d": None, "e": None
    }  # fmt: skip
    assert found["a"].captured_by == "its file (EXIF) and its key"
    assert found["b"].captured_by.startswith("contradictory: its file (EXIF) 2026-11-20 04:05Z, its key")
    assert found["d"].captured_by == "its file (EXIF) is in-the-future"
    assert found["e"].captured_by == ""
    assert count(site, object_facts) == 4  # nothing said is no row


def test_the_nights_segment_commits_to_what_was_found(site: Installation) -> None:
    (segment,) = rows(site, audit_segments)
    lines = read_segment(site.archive.read(segment.path))
    salt = next(row.salt for row in rows(site, object_versions) if row.key == "2026-11-20-a.jpg")
    said = commitment(salt, "exif", rfc3339(TAKEN))
    assert said in {line.get("captured", {}).get("exif") for line in lines}
    assert [line["not_believed"] for line in lines if "not_believed" in line] == [{"exif": "in-the-future"}]
    assert sum("captured" in line for line in lines) == 3
    assert verify(site.ledger, site.archive).findings == ()


def test_a_person_says_more(site: Installation) -> None:
    e = number(site, "e")
    told = Told(e, captured=TAKEN, dates={"end-of-production": LATER}, tags=frozenset({"reject"}))
    assert record(site, "Dee", [told]).changed == 1
    found = known(site, "e")
    assert (found.captured_at, found.dates, found.tags) == (TAKEN, {"end-of-production": LATER}, {"reject"})
    (event,) = events(site, RECORDED)
    salt = next(row.salt for row in rows(site, object_versions) if row.id == e)
    assert event["subject"]["object_version"] == e
    assert event["before"] == {}
    assert event["after"] == {
        "captured": {"told": commitment(salt, "told", rfc3339(TAKEN))},
        "dates": {"end-of-production": commitment(salt, "end-of-production", rfc3339(LATER))},
        "tags": ["reject"],
    }
    assert {row.seq for table in (object_dates, object_tags) for row in rows(site, table)} == {event["seq"]}
    assert verify(site.ledger, site.archive).findings == ()


def test_the_same_again_changes_nothing(site: Installation) -> None:
    told = [Told(number(site, letter), captured=LATER, tags=frozenset({"x"})) for letter in "de"]
    assert record(site, "Dee", told).changed == 2
    again = record(site, "Dee", told)
    assert (again.changed, again.same, len(events(site, RECORDED))) == (0, 2, 2)


def test_a_contradiction_is_kept_and_means_that_nobody_knows(site: Installation) -> None:
    done = record(site, "Dee", [Told(number(site, "c"), captured=TAKEN - timedelta(days=30))])
    assert (done.changed, done.conflicts) == (1, 1)
    assert known(site, "c").captured_at is None


def test_a_later_date_is_taken_and_an_earlier_one_needs_compliance(site: Installation) -> None:
    e = number(site, "e")
    record(site, "Dee", [Told(e, captured=TAKEN, dates={"sold": TAKEN})])
    assert record(site, "Dee", [Told(e, captured=LATER, dates={"sold": LATER})]).changed == 1
    for one in (Told(e, captured=TAKEN), Told(e, dates={"sold": TAKEN})):
        assert "overrules" in record(site, "Nika", [one]).refused[e]
    assert known(site, "e").captured_at == LATER
    with pytest.raises(AccessDenied):
        record(site, "Dee", [Told(e, captured=TAKEN)], overrule=True, reason="the clock was wrong")
    with pytest.raises(UsageError, match="reason"):
        record(site, "Nika", [Told(e, captured=TAKEN)], overrule=True)
    record(site, "Nika", [Told(e, captured=TAKEN)], overrule=True, reason="the clock was wrong")
    assert known(site, "e").captured_at == TAKEN
    last = events(site, RECORDED)[-1]
    assert (last["reason_code"], last["reason_text"]) == ("overruled", "the clock was wrong")
    assert last["before"] != last["after"]


def test_overruling_ends_a_contradiction(site: Installation) -> None:
    b = number(site, "b")
    record(site, "Nika", [Told(b, captured=TAKEN)], overrule=True, reason="found in the MES")
    assert known(site, "b").captured_at == TAKEN


def test_a_tag_goes_only_when_somebody_overrules(site: Installation) -> None:
    e = number(site, "e")
    record(site, "Dee", [Told(e, tags=frozenset({"disputed"}))])
    assert "overrules" in record(site, "Dee", [Told(e, untags=frozenset({"disputed"}))]).refused[e]
    record(site, "Nika", [Told(e, untags=frozenset({"disputed"}))], overrule=True, reason="settled")
    assert known(site, "e").tags == frozenset()


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"captured": datetime(1989, 1, 1, tzinfo=UTC)}, "too-old"),
        ({"captured": datetime(2199, 1, 1, tzinfo=UTC)}, "in-the-future"),
        ({"dates": {"sold": datetime(1970, 1, 1, tzinfo=UTC)}}, "too-old"),
        ({"dates": {"sold": datetime(2300, 1, 1, tzinfo=UTC)}}, "in-the-future"),
    ],
)
def test_a_date_that_cannot_be_is_refused(site: Installation, told: dict[str, Any], why: str) -> None:
    e = number(site, "e")
    assert why in record(site, "Dee", [Told(e, **told)]).refused[e]
    assert events(site, RECORDED) == []


def test_an_event_may_lie_ahead(site: Installation) -> None:
    ahead = datetime(2036, 1, 1, tzinfo=UTC)
    assert record(site, "Dee", [Told(number(site, "e"), dates={"warranty-end": ahead})]).changed == 1


def test_who_may_not_is_written_down(site: Installation) -> None:
    with pytest.raises(AccessDenied):
        record(site, "Ann", [Told(number(site, "e"), captured=TAKEN)])
    assert events(site, "access.denied")


def test_what_is_not_known_is_refused(site: Installation) -> None:
    assert record(site, "Dee", [Told(999, captured=TAKEN)]).refused == {999: "gone, or not known"}
