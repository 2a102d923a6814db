"""Tables that somebody altered do not agree with what the log says was committed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from infra.installation import Installation
from infra.settings import load_settings
from infra.tables import (
    audit_events,
    audit_segments,
    audit_values,
    collections,
    object_versions,
    shards,
    summaries,
)
from tasks.verify import Finding, verify
from tests.houses import lay_out, night, write_settings
from tests.servers.intruder import as_intruder
from tests.tasks.steps import rows

SUMMARIES = "the tables summaries or object_versions were altered"


@pytest.fixture
def installation(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Installation:
    """A night of two shards of ten images."""
    photos(20)
    made = house(night={"batch_size": 10, "smallest_batch": 10})
    night(made)
    return made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Installation]:
    """Another archive, made by the same compressor."""
    lay_out(tmp_path / "other" / "photos", 10, start=50)
    made = Installation(load_settings(write_settings(tmp_path / "other" / "fwd2bot.toml")))
    night(made)
    yield made
    made.ledger.close()


def findings(house: Installation) -> tuple[Finding, ...]:
    return verify(house.ledger, house.archive).findings


def named(house: Installation) -> set[tuple[str, str]]:
    return {(finding.what, finding.name) for finding in findings(house)}


def alter(house: Installation, *statements: sa.Update | sa.Delete | sa.Insert) -> None:
    with house.ledger.write() as connection:
        as_intruder(connection)
        for statement in statements:
            assert connection.execute(statement).rowcount > 0


def swap(table: sa.Table, key: sa.Column[Any], first: Any, second: Any, column: str) -> list[sa.Update]:
    """Exchange the values of one column of two rows."""
    values = {first: getattr(second, column), second: getattr(first, column)}
    return [
        table.update().where(key == row._mapping[key.name]).values({column: value})
        for row, value in values.items()
    ]


def test_an_image_whose_row_is_gone_and_two_that_were_exchanged(installation: Installation) -> None:
    first, second, third = rows(
        installation, sa.select(summaries).order_by(summaries.c.shard_id, summaries.c.row)
    )[:3]
    unit = summaries.c.object_version_id
    alter(
        installation,
        summaries.delete().where(unit == third.object_version_id),
        *swap(summaries, unit, first, second, "row"),
    )
    (finding,) = findings(installation)
    assert (finding.what, finding.name) == ("summaries", rows(installation, shards)[0].path)
    assert "of 3 of 10 rows" in finding.problem
    assert "(row 0, 1, 2)" in finding.problem
    assert SUMMARIES in finding.problem


@pytest.mark.parametrize("column", ["key", "identity", "content_sha256"])
def test_two_images_whose_names_were_exchanged(installation: Installation, column: str) -> None:
    first, second = rows(installation, sa.select(object_versions).order_by(object_versions.c.id))[:2]
    aside = object_versions.update().where(object_versions.c.id == first.id)
    if column == "key":  # key and identity together are unique
        alter(installation, aside.values(key="aside"))
    alter(installation, *reversed(swap(object_versions, object_versions.c.id, first, second, column)))
    (finding,) = findings(installation)
    assert finding.what == "summaries"
    assert "of 2 of 10 rows" in finding.problem


def test_an_image_that_was_put_into_two_rows(installation: Installation) -> None:
    first = rows(installation, sa.select(summaries).order_by(summaries.c.row))[0]
    alter(
        installation,
        summaries.update()
        .where(summaries.c.object_version_id == first.object_version_id)
        .values(row=first.row + 1),
    )
    assert [finding.what for finding in findings(installation)] == ["summaries"]


def test_an_image_said_to_lie_in_another_shard(installation: Installation) -> None:
    first, second = rows(installation, sa.select(shards).order_by(shards.c.id))
    alter(
        installation,
        summaries.update()
        .where(summaries.c.shard_id == first.id, summaries.c.row == 4)
        .values(shard_id=second.id),
    )
    assert named(installation) == {("summaries", first.path), ("summaries", second.path)}


def test_another_archives_shard_in_the_place_of_ours_with_its_hash_in_the_table(
    installation: Installation, other: Installation
) -> None:
    (theirs,) = rows(other, shards)
    ours = rows(installation, shards)[0]
    installation.archive.replace(ours.path, other.archive.read(theirs.path))
    alter(
        installation,
        shards.update()
        .where(shards.c.id == ours.id)
        .values(sha256=theirs.sha256, bytes=theirs.bytes, rows=theirs.rows),
    )
    found = findings(installation)
    assert {("shard", ours.path), ("ledger", ours.path)} <= {(f.what, f.name) for f in found}
    (shard,) = [f for f in found if f.what == "shard"]
    assert ours.sha256[:16] in shard.problem
    assert f"says sha256 {ours.sha256}, the row in the table says {theirs.sha256}" in " ".join(
        finding.problem for finding in found
    )


def test_tables_that_were_emptied(installation: Installation) -> None:
    paths = {row.path for table in (shards, audit_segments) for row in rows(installation, table)}
    alter(installation, summaries.delete(), shards.delete(), audit_segments.delete())
    found = verify(installation.ledger, installation.archive)
    assert found.objects == 4  # the log says what there is
    missing = [finding for finding in found.findings if finding.what == "ledger"]
    assert {finding.name for finding in missing} == paths
    assert all("its table has no row of it" in finding.problem for finding in missing)


@pytest.mark.parametrize("table", [shards, audit_segments])
def test_a_row_that_no_event_explains(
    installation: Installation, other: Installation, table: sa.Table
) -> None:
    """Bytes of another archive, laid into ours and written into the table as if a night had committed them."""
    (theirs,) = rows(other, table)
    installation.archive.create(theirs.path, other.archive.read(theirs.path))
    mine = rows(installation, table)[0]._mapping
    copied = {
        "path": theirs.path,
        "sha256": theirs.sha256,
        "bytes": theirs.bytes,
        "rows": theirs.rows,
        "batch_id": "a" * 32,
    }
    batches = shards.metadata.tables["batches"]
    batch = dict(rows(installation, batches)[0]._mapping) | {"id": "a" * 32}
    row = {**mine, **copied} | ({"id": None} if table is shards else {"seq": 0, "subroot": theirs.subroot})
    alter(installation, batches.insert().values(**batch), table.insert().values(**row))
    kind = "shard" if table is shards else "segment"
    ledger = [finding for finding in findings(installation) if finding.what == "ledger"]
    assert ledger == [
        Finding("ledger", theirs.path, f"the ledger has this {kind}, and no event says that it was committed")
    ]


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (shards, {"rows": 9}),
        (shards, {"bytes": 1}),
        (shards, {"sha256": "0" * 64}),
        (audit_segments, {"rows": 9}),
        (audit_segments, {"sha256": "0" * 64}),
        (audit_segments, {"subroot": "0" * 64}),
        (audit_segments, {"path": "audit/segments/elsewhere.jsonl"}),
    ],
)
def test_an_altered_row_disagrees_with_its_event(
    installation: Installation, table: sa.Table, values: dict[str, Any]
) -> None:
    row = rows(installation, table)[0]
    alter(installation, table.update().where(table.c.path == row.path).values(**values))
    (finding,) = [f for f in findings(installation) if f.what == "ledger"]
    ((name, value),) = values.items()
    assert finding.name == row.path
    assert finding.problem.endswith(f"says {name} {getattr(row, name)}, the row in the table says {value}")


def test_rows_exchanged_between_two_batches(installation: Installation) -> None:
    first, second = rows(installation, shards)
    alter(installation, shards.update().where(shards.c.id == first.id).values(path="tokens/aside"))
    alter(installation, *reversed(swap(shards, shards.c.id, first, second, "path")))
    assert {("ledger", first.path), ("ledger", second.path)} <= named(installation)


def test_a_shard_said_to_be_of_another_collection(installation: Installation) -> None:
    (collection,) = rows(installation, collections)
    row = dict(collection._mapping) | {"id": 99, "name": "line-2"}
    (event,) = rows(installation, sa.select(audit_values).where(audit_values.c.kind == "collection"))
    ref = dict(event._mapping) | {"ref": "0" * 64, "value": "line-2"}
    alter(
        installation,
        collections.insert().values(**row),
        audit_values.insert().values(**ref),
        shards.update().where(shards.c.id == 1).values(collection_id=99),
    )
    problems = [finding.problem for finding in findings(installation) if finding.what == "ledger"]
    assert len(problems) == 1
    assert problems[0].endswith("is about another collection than 'line-2', as the table says")


def test_a_collection_whose_name_was_erased_from_the_log_is_still_clean(installation: Installation) -> None:
    alter(installation, audit_values.delete().where(audit_values.c.kind == "collection"))
    assert findings(installation) == ()


def test_a_segment_exchanged_within_together_with_its_hash_in_the_table(installation: Installation) -> None:
    row = rows(installation, audit_segments)[0]
    lines = installation.archive.read(row.path).splitlines(keepends=True)
    data = b"".join([lines[1], lines[0], *lines[2:]])
    installation.archive.replace(row.path, data)
    digest = hashlib.sha256(data).hexdigest()
    alter(installation, audit_segments.update().where(audit_segments.c.seq == row.seq).values(sha256=digest))
    assert named(installation) == {("segment", row.path), ("ledger", row.path)}


def test_a_batch_without_a_shard_is_clean(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    for photo in photos(3):
        photo.write_bytes(b"broken")
    made = house()
    night(made)
    found = verify(made.ledger, made.archive)
    assert (found.objects, found.findings) == (1, ())
    assert len(rows(made, sa.select(audit_events).where(audit_events.c.type == "batch.committed"))) == 1
