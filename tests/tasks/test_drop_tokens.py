"""Old tokens go where nothing is lost by it, and nowhere else; what is left reads as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import BlockedByPolicy, UsageError
from infra import audit_log
from infra.installation import Installation
from infra.retention_tables import hold_members, legal_holds
from infra.tables import audit_events, compressors, object_versions, shards, summaries
from tasks import drop_tokens
from tasks.backfill_scope import Scope
from tasks.drop_tokens import drop, look
from tasks.verify import verify
from tests.houses import COLLECTION, night
from tests.tasks.backfill_steps import started, worked
from tests.tasks.steps import count, events, rows, use_compressor

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
JUDGED = {
    f"collections.{COLLECTION}.fidelity": {"sample": 1.0, "probes": ["is it whole ?"], "threshold": 0.0},
    "night": {"batch_size": 5, "smallest_batch": 5},
}


@pytest.fixture
def upgraded(
    house: BuildHouse, photos: Photos, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[Installation, str, list[Path]]:
    """Ten photos with tokens of an old compressor; a backfill compressed them again by a new one."""
    made = photos(10)
    use_compressor(monkeypatch, FakeCompressor(k=4))
    installation = house(archive={"ledger": ledger_url}, **JUDGED)
    night(installation)
    old = installation.spec(COLLECTION).fingerprint
    use_compressor(monkeypatch, FakeCompressor(k=2))
    installation = house(archive={"ledger": ledger_url}, **JUDGED)
    outcome = worked(installation, started(installation, Scope(kind="ledger")))
    assert outcome.why == "10 in the archive = 10 compressed + 0 rejected + 0 left"
    return installation, old, made


def of(house: Installation, fingerprint: str) -> list[int]:
    """The object versions with tokens of a compressor."""
    query = (
        sa.select(summaries.c.object_version_id)
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .where(compressors.c.fingerprint == fingerprint)
    )
    return sorted(row[0] for row in rows(house, query))


def test_where_nothing_is_lost_all_of_them_go(upgraded: tuple[Installation, str, list[Path]]) -> None:
    installation, old, _ = upgraded
    night(installation)  # the new compressor's work is done: it finds nothing
    assert (len(of(installation, old)), count(installation, summaries)) == (10, 20)
    paths = {row.path for row in rows(installation, shards) if f"compressor={old[:12]}" in row.path}
    found = look(installation, COLLECTION, old[:12])
    assert (len(found.ids), found.kept) == (10, {})
    assert count(installation, summaries) == 20  # a look changes nothing
    with pytest.raises(BlockedByPolicy, match="does not stand for the 10 images"):
        drop(installation, COLLECTION, old, "yes")
    assert len(drop(installation, COLLECTION, old, found.token).ids) == 10
    assert (of(installation, old), count(installation, summaries)) == ([], 10)
    assert not paths & {info.key for info in installation.archive.list("tokens/")}
    said = events(installation, "shard.rewritten")
    assert sorted(n for event in said for _, n in event["subject"]["removed"]) == list(found.ids)
    assert {event["subject"]["dropped"] for event in said} == {old}
    assert verify(installation.ledger, installation.archive).findings == ()
    assert look(installation, COLLECTION, old).ids == ()


def test_each_reason_to_stay_keeps_its_image_and_no_other(
    upgraded: tuple[Installation, str, list[Path]],
) -> None:
    installation, old, made = upgraded
    by_key = {row.key: row.id for row in rows(installation, object_versions)}
    ids = [by_key[path.name] for path in made]
    made[0].unlink()
    made[1].write_bytes(made[2].read_bytes() + b"other")
    with installation.ledger.write() as connection:
        fresh = summaries.c.token_bytes == sa.select(sa.func.min(summaries.c.token_bytes)).scalar_subquery()
        mine = summaries.update().where(fresh)
        connection.execute(mine.where(summaries.c.object_version_id == ids[2]).values(fidelity=None))
        connection.execute(mine.where(summaries.c.object_version_id == ids[3]).values(fidelity=-1.0))
        seq = connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar()
        gone = object_versions.update().where(object_versions.c.id == ids[4])
        connection.execute(gone.values(destroyed_seq=seq))
        _hold(connection, ids[5])
    found = look(installation, COLLECTION, old)
    assert found.kept == {
        "a record: the original is destroyed": 1,
        "a record: the store does not have the original": 1,
        "a record: the store holds another version": 1,
        "the new tokens did not pass": 1,
        "the new tokens were not judged": 1,
        "under a legal hold": 1,
    }
    assert sorted(found.ids) == sorted(ids[6:])
    kept = _numbers(installation, old, ids[5])
    drop(installation, COLLECTION, old, found.token)
    assert of(installation, old) == sorted(ids[:6])
    assert np.array_equal(_numbers(installation, old, ids[5]), kept)


def test_a_hold_that_comes_meanwhile_is_heard(
    upgraded: tuple[Installation, str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, old, _ = upgraded
    found = look(installation, COLLECTION, old)
    write = drop_tokens.written

    def and_hold(house: Installation, path: str, body: bytes) -> str:
        with house.ledger.write() as connection:
            _hold(connection, found.ids[0])
        return write(house, path, body)

    monkeypatch.setattr(drop_tokens, "written", and_hold)
    monkeypatch.setattr(drop_tokens, "MOST", 3)
    with pytest.raises(BlockedByPolicy, match="came under a hold"):
        drop(installation, COLLECTION, old, found.token)
    assert found.ids[0] in of(installation, old)


def test_tokens_in_use_are_not_dropped(upgraded: tuple[Installation, str, list[Path]]) -> None:
    installation, old, _ = upgraded
    with pytest.raises(UsageError, match="is the compressor that line-1 uses"):
        look(installation, COLLECTION, installation.spec(COLLECTION).fingerprint)
    for name in (old[:3], "ffffffffffff"):
        with pytest.raises(UsageError, match="names no compressor"):
            look(installation, COLLECTION, name)


def _hold(connection: sa.Connection, number: int) -> None:
    hold = connection.execute(
        legal_holds.insert()
        .values(name="case", reason="r", author_ref="a" * 64, confidential=False, placed_at=audit_log.now())
        .returning(legal_holds.c.id)
    ).scalar_one()
    connection.execute(hold_members.insert().values(hold_id=hold, object_version_id=number))


def _numbers(house: Installation, fingerprint: str, number: int) -> object:
    from fwd2bot_core.tokens.shard import read_tokens

    query = (
        sa.select(shards.c.path, summaries.c.row)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .where(summaries.c.object_version_id == number, compressors.c.fingerprint == fingerprint)
    )
    ((path, row),) = rows(house, query)
    with house.archive.open(path) as file:
        return read_tokens(file, row, fingerprint, number)
