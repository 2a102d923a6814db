"""Evidence out of a real ledger: whole, discreet, judged; the product's own check and verify.py say the same."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints, tlog_proof
from fwd2bot_core.audit.merkle import leaf_hash, verify_inclusion
from fwd2bot_core.audit.note_keys import COSIGNATURE, Ed25519Signer
from fwd2bot_core.audit.notes import Verifier, add_lines, signature
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.audit.verifier import verify
from fwd2bot_core.errors import IntegrityError, NotInArchive, UsageError
from infra import audit_keys, audit_log
from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from infra.tables import audit_anchors, audit_checkpoints, audit_events, audit_values
from tasks import evidence
from tasks.audit_query import Filter
from tasks.audit_verify import verify_log
from tests.houses import COLLECTION, lay_out, night
from tests.infra.anchored import anchored_house, grow
from tests.servers.intruder import as_intruder


@pytest.fixture
def house(tmp_path: Path, ledger_url: str) -> Iterator[Installation]:
    """A night over three photos in two batches, signed and anchored; then some more, signed again."""
    made = anchored_house(tmp_path, ledger_url, "outside", night={"batch_size": 2, "smallest_batch": 2})
    lay_out(tmp_path / "photos", 3)
    night(made)
    grow(made, 3)
    assert not sign_checkpoint(made, reason="test").failed
    yield made
    made.ledger.close()


def key_of(house: Installation) -> verify.Key:
    with house.ledger.read() as connection:
        return verify.parse_key(audit_keys.keys(connection)[0].vkey)


def parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_whole_log_as_evidence(house: Installation, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    made = evidence.export(house, Filter(), tmp_path / "e.zip", progress=lambda *done: told.append(done))
    size = told[-1][1]
    assert (made.verdict, made.events, made.covered) == (verify.VALID, size, size)
    assert told == [(number + 1, size) for number in range(size)]
    inside = parts(made.path)
    with house.ledger.read() as connection:
        bodies = (
            connection.execute(sa.select(audit_events.c.body).order_by(audit_events.c.seq)).scalars().all()
        )
    assert inside["events.jsonl"] == b"".join(bytes(body) + b"\n" for body in bodies)
    assert sum(name.startswith("segments/audit/segments/") for name in inside) == 2
    found = verify.verify(made.path, [key_of(house)], [(tmp_path / "outside" / "checkpoint").read_text()])
    assert {each.verdict for each in found.findings} == {verify.VALID}
    assert "elsewhere" in {each.part for each in found.findings}
    assert [path.name for path in tmp_path.glob("*e.zip*")] == ["e.zip"]


def test_one_image_s_evidence_holds_its_own_batch_and_its_names_on_demand(
    house: Installation, tmp_path: Path
) -> None:
    secret = {COLLECTION.encode(), b"0001.jpg"}
    bare = evidence.export(house, Filter(image="0001.jpg", collection=COLLECTION), tmp_path / "bare.zip")
    assert (bare.verdict, bare.events) == (verify.VALID, 1)
    everything = b"".join(parts(bare.path).values()).replace(b"line-1/2026", b"")
    assert [word for word in secret if word in everything.replace(parts(bare.path)["verify.py"], b"")] == []
    named = evidence.export(
        house, Filter(image="0001.jpg", collection=COLLECTION), tmp_path / "named.zip", with_names=True
    )
    assert named.verdict == verify.VALID
    inside = parts(named.path)
    values = {each["value"]: each for each in json.loads(inside["values.json"])}
    assert {COLLECTION, "0001.jpg"} <= values.keys()
    (segment,) = [data for name, data in inside.items() if name.startswith("segments/")]
    assert values["0001.jpg"]["ref"].encode() in segment
    assert b"0002.jpg" not in b"".join(inside.values())


def test_erased_names_are_nowhere(house: Installation, tmp_path: Path) -> None:
    with house.ledger.write() as connection:
        connection.execute(audit_values.delete())
    made = evidence.export(house, Filter(), tmp_path / "e.zip", with_names=True)
    assert made.verdict == verify.VALID
    assert json.loads(parts(made.path)["values.json"]) == []


def test_a_range_has_the_checkpoints_that_say_something_about_it(house: Installation, tmp_path: Path) -> None:
    made = evidence.export(house, Filter(first=8, last=9), tmp_path / "e.zip", with_segments=False)
    assert (made.verdict, made.events) == (verify.VALID, 2)
    with house.ledger.read() as connection:
        sizes = connection.execute(sa.select(audit_checkpoints.c.size)).scalars().all()
    assert len(sizes) > 1
    notes = [name for name in parts(made.path) if name.startswith("checkpoints/")]
    assert notes == [f"checkpoints/{size:020}.note" for size in sorted(sizes) if size > 8]
    assert json.loads(parts(made.path)["manifest.json"])["selection"] == {"first": 8, "last": 9}


def test_what_is_not_signed_yet_is_told_and_not_left_out(house: Installation, tmp_path: Path) -> None:
    grow(house, 2)
    made = evidence.export(house, Filter(), tmp_path / "e.zip")
    assert (made.verdict, made.events - made.covered) == (verify.NOT_YET_ANCHORED, 2)
    assert verify_log(house).verdict == Verdict.NOT_YET_ANCHORED


def test_a_witness_s_signature_travels_with_the_checkpoint(house: Installation, tmp_path: Path) -> None:
    witness = Ed25519Signer.generate("w.example/1", COSIGNATURE)
    anchor = {"kind": "witness", "place": "http://127.0.0.1:1", "vkey": witness.verifier.vkey()}
    with house.ledger.write() as connection:
        row = connection.execute(
            sa.select(audit_checkpoints).order_by(audit_checkpoints.c.size.desc()).limit(1)
        ).one()
        text = row.note.rpartition("\n\n")[0] + "\n"
        line = signature(text, witness).line()
        assert add_lines(row.note, line)
        given = {"size": row.size, "anchor": "w", "kind": "witness", "place": "w.example", "evidence": line}
        connection.execute(audit_anchors.insert().values(**given, anchored_at=audit_log.now()))
    made = evidence.export(house, Filter(), tmp_path / "unknown.zip")
    assert made.verdict == verify.VALID  # by its other anchor
    url = house.ledger.engine.url.render_as_string(hide_password=False)
    watched = anchored_house(tmp_path, url, "outside", audit__anchors__w=anchor)
    made = evidence.export(watched, Filter(), tmp_path / "known.zip")
    assert made.verdict == verify.VALID
    found = verify.verify(made.path, [verify.parse_key(witness.verifier.vkey())])
    assert found.verdict == verify.VALID  # the witness's key alone is enough to know the log by
    watched.ledger.close()


def altered(connection: sa.Connection, **values: Any) -> None:
    mine = audit_events.c.seq == 4
    connection.execute(audit_events.update().where(mine).values(values))


def edited(connection: sa.Connection) -> tuple[Verdict, int]:
    body = connection.execute(sa.select(audit_events.c.body).where(audit_events.c.seq == 4)).scalar_one()
    altered(connection, body=body.replace(b'"operator"', b'"approver"'))
    return Verdict.MODIFIED, 4


def edited_with_its_leaf(connection: sa.Connection) -> tuple[Verdict, int]:
    edited(connection)
    body = connection.execute(sa.select(audit_events.c.body).where(audit_events.c.seq == 4)).scalar_one()
    altered(connection, leaf=leaf_hash(bytes(body)))
    return Verdict.MODIFIED, 4


@pytest.mark.parametrize("attack", [edited, edited_with_its_leaf])
def test_the_product_and_the_bundle_name_the_same_event(
    house: Installation, tmp_path: Path, attack: Callable[[sa.Connection], tuple[Verdict, int]]
) -> None:
    with house.ledger.write() as connection:
        verdict, seq = attack(as_intruder(connection))
    made = evidence.export(house, Filter(), tmp_path / "e.zip")
    assert made.verdict == verify_log(house).verdict == verdict
    assert seq in {one.seq for one in verify_log(house).findings if one.verdict == verdict}
    assert seq in {one.event for one in made.findings if one.verdict == verdict}


def test_an_event_that_is_none_any_more_cannot_be_exported(house: Installation, tmp_path: Path) -> None:
    with house.ledger.write() as connection:
        altered(as_intruder(connection), body=b"gone")
    with pytest.raises(IntegrityError):
        evidence.export(house, Filter(), tmp_path / "e.zip")
    assert list(tmp_path.glob("*e.zip*")) == []


def test_what_cannot_be_written(house: Installation, tmp_path: Path) -> None:
    (tmp_path / "there.zip").write_bytes(b"older evidence")
    with pytest.raises(UsageError, match="never written over"):
        evidence.export(house, Filter(), tmp_path / "there.zip")
    assert (tmp_path / "there.zip").read_bytes() == b"older evidence"
    with pytest.raises(UsageError, match="cannot write the evidence"):
        evidence.export(house, Filter(), tmp_path / "nowhere" / "e.zip")
    with pytest.raises(UsageError, match="nothing in the audit log is like that"):
        evidence.export(house, Filter(types=("no.such",)), tmp_path / "e.zip")
    with pytest.raises(NotInArchive):
        evidence.export(house, Filter(image="no-such.jpg"), tmp_path / "e.zip")


def test_the_proof_of_one_event_convinces_who_has_nothing_but_the_key(house: Installation) -> None:
    proof = evidence.prove(house, "4")
    assert evidence.prove(house, proof.event_id) == proof
    key = str(key_of(house))
    parsed = tlog_proof.parse(proof.text)
    checkpoint = checkpoints.read(parsed.note, [Verifier.parse(key)])
    assert (parsed.index, checkpoint.size) == (4, proof.size)
    assert verify_inclusion(leaf_hash(proof.body), 4, checkpoint.size, parsed.hashes, checkpoint.root)
    assert len(proof.text) < 1200


def test_what_has_no_proof(house: Installation) -> None:
    grow(house)
    with house.ledger.read() as connection:
        last = connection.execute(sa.select(sa.func.max(audit_events.c.seq))).scalar_one()
    with pytest.raises(UsageError, match="run `fwd2bot audit checkpoint` first"):
        evidence.prove(house, str(last))
    with pytest.raises(UsageError, match="has no event"):
        evidence.prove(house, str(last + 1))


def test_a_bundle_can_be_read_from_memory(house: Installation, tmp_path: Path) -> None:
    """It is an ordinary ZIP for ordinary programs."""
    made = evidence.export(house, Filter(), tmp_path / "e.zip")
    with zipfile.ZipFile(io.BytesIO(made.path.read_bytes())) as archive:
        assert archive.testzip() is None
