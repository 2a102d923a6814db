"""Every fact about one image is found where it stands, with its way to the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.merkle import leaf_hash, verify_inclusion
from fwd2bot_core.errors import IntegrityError
from infra.installation import Installation
from infra.tables import audit_segments, object_versions
from tasks.compress import compress
from tasks.timeline import Fact, timeline
from tests.houses import night
from tests.tasks.steps import Scripted, planned, rows

VICTIM = "0001.jpg"


@pytest.fixture
def installation(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> Installation:
    """A night whose second image kills its workers, another that could not be read; then both are tried again."""
    photos(5)[3].write_bytes(b"broken")
    made = house(archive={"ledger": ledger_url})
    run, _, _ = planned(made)
    compress(made.ledger, made.archive, run, Scripted(made, dies=lambda unit: unit.key == VICTIM))
    with made.ledger.write() as connection:
        connection.execute(sa.text("UPDATE leases SET run_id = NULL"))
    night(made, "retry")
    return made


def told(house: Installation, key: str) -> list[Fact]:
    (row,) = rows(house, sa.select(object_versions).where(object_versions.c.key == key))
    with house.ledger.read() as connection:
        return timeline(connection, house.archive, row)


def test_lines_and_events_make_one_timeline(installation: Installation) -> None:
    def said(fact: Fact) -> Any:
        body = parse(fact.body)
        return fact.n, body.get("outcome") or body["type"]

    assert [said(fact) for fact in told(installation, VICTIM)] == [
        (0, "image.quarantined"),
        (1, "compressed"),
    ]
    assert [said(fact) for fact in told(installation, "0003.jpg")] == [(0, "rejected"), (1, "rejected")]
    assert [said(fact) for fact in told(installation, "0000.jpg")] == [(0, "compressed")]


def test_each_line_leads_to_its_segments_root(installation: Installation) -> None:
    segments = {row.seq: row for row in rows(installation, audit_segments)}
    for key in (VICTIM, "0000.jpg", "0003.jpg", "0004.jpg"):
        for fact in told(installation, key):
            if fact.segment is None:
                continue
            row = segments[fact.seq]
            assert (fact.segment, fact.rows) == (row.path, row.rows)
            top = bytes.fromhex(row.subroot)
            assert verify_inclusion(leaf_hash(fact.body), fact.index, fact.rows, fact.proof, top)


def test_a_segment_that_was_changed_is_no_timeline(installation: Installation) -> None:
    for row in rows(installation, audit_segments):
        data = installation.archive.read(row.path)
        installation.archive.replace(row.path, data.replace(b'"n":0', b'"n":9'))
    with pytest.raises(IntegrityError, match="root"):
        told(installation, "0000.jpg")
