"""Forgetting in the ledger: what names a photo goes, the numbers by which the log is checked stay."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.work import Unit
from infra import audit_log
from infra.erasure_tables import erasure_items
from infra.tables import audit_values, batches, failures, object_versions, work
from tasks import erase_ledger
from tests.tasks.disposals import World
from tests.tasks.erasures import approved, carried_out
from tests.tasks.steps import count, events, rows


def test_the_row_keeps_its_number_and_its_facts(place: World) -> None:
    before = place.row(place.numbers[1])
    carried_out(place, approved(place, "1.jpg").id)
    after = place.row(place.numbers[1])
    assert (after.key, after.identity, after.salt, after.content_sha256) == ("erased/2", "erased", b"", None)
    assert (after.size, after.facts) == (before.size, before.facts + 2)
    item = rows(place.house, sa.select(erasure_items).where(erasure_items.c.object_version_id == after.id))[0]
    assert after.destroyed_seq == item.confirmed_seq
    assert [event["subject"]["n"] for event in events(place.house, "erasure.confirmed")] == [
        after.facts - 1
    ] * 2


def test_messages_that_may_quote_a_key_are_emptied(place: World) -> None:
    batch = next(row.batch_id for row in rows(place.house, work) if row.object_version_id == place.numbers[1])
    said = {"reason": "internal", "detail": "cannot read 1.jpg", "failed_at": audit_log.now()}
    run_id = rows(place.house, sa.select(batches).where(batches.c.id == batch))[0].run_id
    named = {"object_version_id": place.numbers[1], "compressor_id": 1, "run_id": run_id, "batch_id": batch}
    place.write(failures.insert().values(**said, **named))
    carried_out(place, approved(place, "1.jpg").id)
    assert [row.detail for row in rows(place.house, failures)] == ["erased"]


def test_other_names_stay(place: World) -> None:
    kept = count(place.house, audit_values)
    place.write(
        audit_values.insert().values(ref="a" * 64, kind="subject", salt=b"s" * 16, value="image 2.jpg"),
        audit_values.insert().values(ref="b" * 64, kind="subject", salt=b"s" * 16, value="list 1"),
    )
    carried_out(place, approved(place, "1.jpg").id)
    assert count(place.house, audit_values) >= kept + 2


def test_what_is_left_is_found_and_nothing_is_forgotten(
    place: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = approved(place, "1.jpg")
    real = erase_ledger._tombstones

    def forgetful(connection: sa.Connection, units: list[Unit], seqs: dict[int, int]) -> None:
        real(connection, units[1:], seqs)
        mine = object_versions.c.id == units[0].object_version_id
        connection.execute(object_versions.update().where(mine).values(content_sha256=None))

    monkeypatch.setattr(erase_ledger, "_tombstones", forgetful)
    with pytest.raises(IntegrityError, match="still says object version 2"):
        carried_out(place, made.id)
    assert place.row(place.numbers[1]).key == "1.jpg"
    assert events(place.house, "erasure.confirmed") == []
