"""What the log says about one image, and that each way to tamper with it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from infra import audit_log
from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from infra.tables import audit_checkpoints, audit_events, audit_segments
from tasks.life import Standing, proven_life
from tests.houses import lay_out, night
from tests.infra.anchored import anchored_house, grow
from tests.servers.intruder import as_intruder

IMAGE = "0001.jpg"


@pytest.fixture
def house(tmp_path: Path, ledger_url: str) -> Iterator[Installation]:
    made = anchored_house(tmp_path, ledger_url, "outside")
    lay_out(tmp_path / "photos", 3)
    night(made)
    sign_checkpoint(made, reason="test")
    yield made
    made.ledger.close()


def only(house: Installation) -> dict[str, Any]:
    ((fact,),) = proven_life(house, IMAGE)
    return fact


def test_each_fact_is_proven_by_the_newest_checkpoint(house: Installation) -> None:
    fact = only(house)
    assert (fact["proof"], fact["outcome"], fact["type"]) == (
        Standing.PROVEN,
        "compressed",
        "batch.committed",
    )
    assert fact["segment"].startswith("audit/segments/")
    with house.ledger.read() as connection:
        newest = connection.execute(sa.select(sa.func.max(audit_checkpoints.c.size))).scalar_one()
    assert fact["event"] < fact["checkpoint"] == newest


def test_before_a_checkpoint_covers_it_nothing_is_claimed(tmp_path: Path) -> None:
    made = anchored_house(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite")
    lay_out(tmp_path / "photos", 3)
    night(made)
    with made.ledger.write() as connection:
        as_intruder(connection).execute(audit_checkpoints.delete())
    assert only(made)["proof"] == Standing.UNSIGNED
    made.ledger.close()


def other_event(connection: sa.Connection) -> None:
    """The batch's event is another one now: of its own leaf, and whole."""
    row = connection.execute(sa.select(audit_events).where(audit_events.c.type == "batch.committed")).one()
    body = row.body.replace(b'"rejected":0', b'"rejected":1')
    assert body != row.body
    connection.execute(audit_events.update().where(audit_events.c.seq == row.seq).values(body=body))


def other_event_and_leaf(connection: sa.Connection) -> None:
    from fwd2bot_core.audit.merkle import leaf_hash

    other_event(connection)
    row = connection.execute(sa.select(audit_events).where(audit_events.c.type == "batch.committed")).one()
    mine = audit_events.c.seq == row.seq
    connection.execute(audit_events.update().where(mine).values(leaf=leaf_hash(row.body)))


def other_rows(connection: sa.Connection) -> None:
    connection.execute(audit_segments.update().values(path=audit_segments.c.path))
    row = connection.execute(sa.select(audit_events).where(audit_events.c.type == "batch.committed")).one()
    body = row.body.replace(b'"rows":3,"sha256"', b'"rows":4,"sha256"')
    connection.execute(audit_events.update().where(audit_events.c.seq == row.seq).values(body=body))


def unsigned_checkpoint(connection: sa.Connection) -> None:
    rows = connection.execute(sa.select(audit_checkpoints)).all()
    for row in rows:
        note = row.note.replace(f"\n{row.size}\n", f"\n{row.size + 1}\n")
        mine = audit_checkpoints.c.size == row.size
        connection.execute(audit_checkpoints.update().where(mine).values(note=note))


@pytest.mark.parametrize("tamper", [other_event, other_event_and_leaf, other_rows, unsigned_checkpoint])
def test_whoever_has_the_database_cannot_make_it_look_proven(
    house: Installation, tamper: Callable[[sa.Connection], None]
) -> None:
    with house.ledger.write() as connection:
        tamper(as_intruder(connection))
    assert only(house)["proof"] == Standing.WRONG


def test_what_comes_later_changes_no_earlier_proof(house: Installation) -> None:
    grow(house, 300)
    assert only(house)["proof"] == Standing.PROVEN
    signed = sign_checkpoint(house, reason="test")
    assert (only(house)["proof"], only(house)["checkpoint"]) == (Standing.PROVEN, signed.size)
    with house.ledger.write() as connection:
        assert audit_log.hold(connection) == signed.size
