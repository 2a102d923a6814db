"""What the newest list proves of the images of real nights, and what it refuses to prove."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit import state_list
from fwd2bot_core.audit.merkle import leaf_hash, verify_inclusion
from fwd2bot_core.audit.states import State, verify_absent, verify_present
from fwd2bot_core.errors import IntegrityError, NotAbsent, NotInArchive, ObjectMissing, UsageError
from infra import audit_log
from infra.installation import Installation
from infra.tables import audit_segments, audit_states, object_versions
from tasks.states import prove_absent, prove_whole, take_state
from tests.houses import COLLECTION, night
from tests.tasks.steps import night_of_ten, rows, small_parts

BROKEN = "0003.jpg"


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch)


@pytest.fixture
def installation(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], ledger_url: str
) -> Installation:
    return night_of_ten(house, photos, ledger_url)


def number_of(house: Installation, key: str) -> int:
    query = sa.select(object_versions.c.id).where(object_versions.c.key == key)
    return int(rows(house, query.order_by(object_versions.c.id.desc()))[0].id)


def test_a_timeline_is_proven_whole(installation: Installation) -> None:
    take_state(installation)
    segments = {row.seq: row for row in rows(installation, audit_segments)}
    for key, facts, state in ((BROKEN, 2, State.FAILED), ("0001.jpg", 1, State.COMPRESSED)):
        proof = prove_whole(installation, number_of(installation, key))
        assert (proof.key, proof.line.n, proof.line.state) == (key, facts, state)
        name = (proof.collection, proof.key, proof.identity)
        assert verify_present(proof.shown.summit, proof.shown.secret, *name, proof.listed) == proof.line
        assert [fact.n for fact in proof.facts] == list(range(facts))
        assert proof.unnumbered == ()
        for fact in proof.facts:
            top = bytes.fromhex(segments[fact.seq].subroot)
            assert verify_inclusion(leaf_hash(fact.body), fact.index, fact.rows, fact.proof, top)


def test_facts_that_came_after_the_list_are_told_apart(installation: Installation) -> None:
    take_state(installation)
    night(installation, "retry")
    proof = prove_whole(installation, number_of(installation, BROKEN))
    assert (proof.line.n, len(proof.facts)) == (2, 3)
    take_state(installation)
    assert prove_whole(installation, number_of(installation, BROKEN)).line.n == 3


def test_an_absent_key_is_proven_absent_and_a_known_one_is_not(installation: Installation) -> None:
    take_state(installation)
    for key in ("9999.jpg", "", "0001.jp", *(f"{number}.jpg" for number in range(30))):
        proof = prove_absent(installation, COLLECTION, key)
        shown = proof.shown
        verify_absent(shown.summit, shown.secret, COLLECTION, key, proof.before, proof.after)
        assert not proof.known_since
    with pytest.raises(NotAbsent, match="cannot be proven"):
        prove_absent(installation, COLLECTION, "0001.jpg")
    assert prove_absent(installation, "line-2", "0001.jpg").shown.summit.rows == 10


def test_an_image_that_came_after_the_list(
    installation: Installation, photos: Callable[..., list[Path]]
) -> None:
    take_state(installation)
    photos(1, start=20)
    night(installation)
    assert prove_absent(installation, COLLECTION, "0020.jpg").known_since
    with pytest.raises(NotInArchive, match=r"came after .* audit state"):
        prove_whole(installation, number_of(installation, "0020.jpg"))
    take_state(installation)
    assert prove_whole(installation, number_of(installation, "0020.jpg")).line.n == 1


def test_each_version_of_a_key_has_its_line(
    installation: Installation, photos: Callable[..., list[Path]]
) -> None:
    (photo,) = photos(1)
    photo.write_bytes(photos(1, start=40)[0].read_bytes() + b" ")
    night(installation)
    assert take_state(installation).rows == 12
    query = sa.select(object_versions.c.id).where(object_versions.c.key == "0000.jpg")
    old, new = (
        prove_whole(installation, row.id) for row in rows(installation, query.order_by(object_versions.c.id))
    )
    assert (old.line.superseded, new.line.superseded) == (True, False)
    assert old.line.ref[:16] == new.line.ref[:16]


def test_an_empty_ledger_and_one_without_a_list(house: Callable[..., Installation]) -> None:
    empty = house()
    with pytest.raises(UsageError, match="audit state"):
        prove_absent(empty, COLLECTION, "a.jpg")
    assert take_state(empty).rows == take_state(empty).rows == 0
    assert prove_absent(empty, COLLECTION, "a.jpg").before is None
    with pytest.raises(NotInArchive):
        prove_whole(empty, 1)


def test_a_removed_fact_is_missed_though_the_ledger_was_made_to_agree(installation: Installation) -> None:
    """Whoever lowers the count in the ledger contradicts the list, and whoever does not contradicts the trail."""
    taken = take_state(installation)
    number = number_of(installation, BROKEN)
    with installation.ledger.write() as connection:
        audit_log.next_fact(connection, number)
    with pytest.raises(IntegrityError, match=r"counts 3 facts .* numbered \[0, 1\]"):
        prove_whole(installation, number)
    with installation.ledger.write() as connection:
        mine = object_versions.update().where(object_versions.c.id == number)
        connection.execute(mine.values(facts=2, key="another.jpg"))
    with pytest.raises(NotInArchive):
        prove_whole(installation, number)
    assert taken.facts == 11


def test_an_erased_secret_proves_nothing_and_an_older_list_does(installation: Installation) -> None:
    first, second = take_state(installation), take_state(installation)
    with installation.ledger.write() as connection:
        connection.execute(audit_states.update().where(audit_states.c.seq == second.seq).values(secret=b""))
    assert prove_absent(installation, COLLECTION, "x").shown.seq == first.seq


def test_a_list_that_was_changed_or_removed_proves_nothing(installation: Installation) -> None:
    taken = take_state(installation)
    archive, number = installation.archive, number_of(installation, "0001.jpg")
    manifest = archive.read(taken.path)
    parts = state_list.Manifest.decode(manifest).parts
    whole = {part.path: archive.read(part.path) for part in parts}
    for part in parts:
        archive.replace(part.path, whole[parts[0].path if part != parts[0] else parts[1].path])
    with pytest.raises(IntegrityError, match="bytes that its manifest names"):
        prove_whole(installation, number)
    archive.replace(taken.path, manifest.replace(b'"rows":4', b'"rows":3', 1))
    with pytest.raises(IntegrityError, match="bytes that were logged"):
        prove_whole(installation, number)
    archive.delete_version(archive.stat(taken.path))
    with pytest.raises(ObjectMissing):
        prove_whole(installation, number)
