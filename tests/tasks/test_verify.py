"""Every kind of damage to what was committed is found and named."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import StoreUnreachable
from infra.installation import Installation
from infra.objects.file import FileStore
from infra.tables import audit_events, audit_segments, shards
from tasks.verify import Finding, Scrub, verify
from tests.houses import night
from tests.tasks.steps import rows


@pytest.fixture
def installation(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Installation:
    """A night of three shards."""
    photos(45)
    made = house()
    night(made)
    return made


def scrub(house: Installation) -> Scrub:
    return verify(house.ledger, house.archive)


def flip(house: Installation, path: str, at: int) -> None:
    data = bytearray(house.archive.read(path))
    data[at] ^= 1
    house.archive.replace(path, bytes(data))


def alter(house: Installation, statement: sa.Update | sa.Delete) -> None:
    with house.ledger.write() as connection:
        assert connection.execute(statement).rowcount == 1


def test_what_was_committed_is_clean(installation: Installation) -> None:
    told: list[tuple[int, int]] = []
    found = verify(installation.ledger, installation.archive, progress=lambda *done: told.append(done))
    size = sum(row.bytes for table in (shards, audit_segments) for row in rows(installation, table))
    assert found == Scrub(objects=6, bytes=size, events=len(rows(installation, audit_events)))
    assert told == [(number, 6) for number in range(1, 7)]


@pytest.mark.parametrize(("kind", "table"), [("shard", shards), ("segment", audit_segments)])
@pytest.mark.parametrize("at", [0, 0.5, -1])
def test_a_single_flipped_bit_is_found_and_named(
    installation: Installation, kind: str, table: sa.Table, at: float
) -> None:
    row = rows(installation, table)[1]
    flip(installation, row.path, int(at * row.bytes) if at > 0 else int(at))
    (finding,) = scrub(installation).findings
    assert (finding.what, finding.name) == (kind, row.path)
    assert "Restore it from a backup" in finding.problem


@pytest.mark.parametrize(("kind", "table"), [("shard", shards), ("segment", audit_segments)])
def test_a_missing_object_is_found_and_named(installation: Installation, kind: str, table: sa.Table) -> None:
    row = rows(installation, table)[0]
    installation.archive.delete_version(installation.archive.stat(row.path))
    (finding,) = scrub(installation).findings
    assert (finding.what, finding.name) == (kind, row.path)


def test_a_whole_shard_in_another_ones_place_is_found(installation: Installation) -> None:
    first, second, _ = rows(installation, shards)
    installation.archive.replace(first.path, installation.archive.read(second.path))
    assert [finding.name for finding in scrub(installation).findings] == [first.path]


def test_a_segment_altered_together_with_its_hash_does_not_give_its_root(installation: Installation) -> None:
    row = rows(installation, audit_segments)[0]
    lines = installation.archive.read(row.path).splitlines(keepends=True)
    data = b"".join([lines[1], lines[0], *lines[2:]])
    installation.archive.replace(row.path, data)
    same = audit_segments.c.seq == row.seq
    alter(installation, audit_segments.update().where(same).values(sha256=hashlib.sha256(data).hexdigest()))
    (finding,) = scrub(installation).findings
    assert (finding.what, finding.name) == ("segment", row.path)
    assert "root" in finding.problem


@pytest.mark.parametrize("values", [{"rows": 19}, {"sha256": "0" * 64}])
def test_an_altered_ledger_row_disagrees_with_its_shard(
    installation: Installation, values: dict[str, object]
) -> None:
    row = rows(installation, shards)[0]
    alter(installation, shards.update().where(shards.c.id == row.id).values(**values))
    assert row.path in [finding.name for finding in scrub(installation).findings]


def test_an_altered_event_is_found(installation: Installation) -> None:
    body = rows(installation, audit_events)[2].body
    changed = body.replace(b'"rejected":0', b'"rejected":1')
    assert changed != body
    alter(installation, audit_events.update().where(audit_events.c.seq == 2).values(body=changed))
    assert scrub(installation).findings == (Finding("event", "2", "its body does not give its leaf hash"),)


def test_an_event_whose_hash_was_altered_too_still_says_its_own_number(installation: Installation) -> None:
    """Two events exchanged, each with its leaf: only the number inside the body tells."""
    first, second = rows(installation, sa.select(audit_events).order_by(audit_events.c.seq))[1:3]
    for seq, other in ((1, second), (2, first)):
        same = audit_events.c.seq == seq
        alter(installation, audit_events.update().where(same).values(body=other.body, leaf=other.leaf))
    assert [finding.name for finding in scrub(installation).findings] == ["1", "2"]


def test_a_missing_event_is_found(installation: Installation) -> None:
    alter(installation, audit_events.delete().where(audit_events.c.seq == 1))
    assert scrub(installation).findings == (Finding("event", "1", "missing: the log goes on at 2"),)


def test_a_missing_last_event_is_found(installation: Installation) -> None:
    last = len(rows(installation, audit_events)) - 1
    alter(installation, audit_events.delete().where(audit_events.c.seq == last))
    (finding,) = scrub(installation).findings
    assert (finding.what, finding.name) == ("event", str(last))


def test_each_of_several_damages_is_named(installation: Installation) -> None:
    for row in rows(installation, shards):
        flip(installation, row.path, 100)
    alter(installation, audit_events.update().where(audit_events.c.seq == 0).values(leaf=bytes(32)))
    assert [finding.what for finding in scrub(installation).findings] == ["shard"] * 3 + ["event"]


def test_a_store_that_does_not_answer_is_no_damage(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> bytes:
        raise StoreUnreachable("no route to host")

    monkeypatch.setattr(FileStore, "read", unreachable)
    with pytest.raises(StoreUnreachable):
        scrub(installation)


def test_nothing_is_repaired_or_written(installation: Installation, tmp_path: Path) -> None:
    row = rows(installation, shards)[0]
    flip(installation, row.path, 100)

    def everything() -> dict[str, bytes]:
        return {entry.key: installation.archive.read(entry.key) for entry in installation.archive.list()}

    before = everything()
    with installation.ledger.write():  # nobody could write now
        scrub(installation)
    assert everything() == before
