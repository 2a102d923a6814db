"""No question of a night reads a big table from end to end, on either database, however small this ledger is."""

from __future__ import annotations

import re
from pathlib import Path

import sqlalchemy as sa

from infra.tables import FAILED, metadata, work
from tests.bench import large_ledger
from tests.bench.ledger_plans import filled, listening, scans, walks
from tests.houses import lay_out, night


def test_no_question_of_a_night_reads_a_big_table_whole(tmp_path: Path, ledger_url: str) -> None:
    house, _, _ = filled(tmp_path, ledger_url, 8_000, batch=20)
    lay_out(tmp_path / "photos", 40, start=40)[3].write_bytes(b"broken")
    with listening() as heard:
        night(house)
        night(house, "retry")
    assert len(heard.statements) > 60
    asked = {table for text in heard.statements for table in re.findall(r"(?:FROM|UPDATE) (\w+)", text)}
    assert set(large_ledger.BIG) <= asked  # else it was not listened to
    found = scans(house.ledger, heard, forced=True)
    assert {text: found[text] for text in found if not walks(text)} == {}
    assert sum("JOIN work" in text for text in found) <= 1  # the plan walks over its collection once
    assert _tells_a_scan(house.ledger)
    house.ledger.close()


def _tells_a_scan(ledger: large_ledger.Ledger) -> bool:
    """The check itself would see one."""
    query = sa.select(work.c.batch_id).where(work.c.reason == "killed_worker")
    with listening() as heard, ledger.read() as connection:
        connection.execute(query).all()
    return len(scans(ledger, heard, forced=True)) == 1


def test_what_is_filled_in_holds_what_a_night_writes(tmp_path: Path, ledger_url: str) -> None:
    """So that bytes an image are those of real nights."""
    house, _, _ = filled(tmp_path, ledger_url, 2_000)
    with house.ledger.read() as connection:
        for name in ("object_versions", "work", "summaries", "contents", "shards", "audit_segments"):
            table = metadata.tables[name]
            rows = connection.execute(sa.select(table)).mappings().all()
            filled_in = {tuple(column for column in row if row[column] is not None) for row in rows}
            assert len(filled_in) == 1, name
        assert connection.execute(sa.select(sa.func.count()).select_from(work)).scalar_one() == 2_040
        assert connection.execute(sa.select(sa.func.count()).where(FAILED)).scalar_one() == 0
    house.ledger.close()
