"""Who signed what: a witness whose word counts and who keeps no single hashes, so that windows are named and never too
narrow; notes that are gone, damaged, or signed by strangers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer
from fwd2bot_core.audit.verdicts import Verdict
from infra import audit_keys
from infra.installation import Installation
from infra.tables import audit_anchors, audit_checkpoints, audit_events
from infra.witness import Witness, WitnessServer
from infra.witness_state import WitnessState
from tasks.audit_restored import record_restore
from tasks.audit_verify import last_checkpoint, verify_log
from tests.tasks.audit_logs import (
    altered,
    anchored,
    backup,
    bodies,
    execute,
    grow,
    named,
    only,
    restore,
    rewrite,
    sign,
    sign_again,
    verdicts,
)

U = Verdict.UNREADABLE
M, F, R = Verdict.MODIFIED, Verdict.FORKED, Verdict.RESTORED_FROM_BACKUP


@pytest.fixture
def log(house: Callable[..., Installation], tmp_path: Path) -> Iterator[Installation]:
    """60 events; the witness cosigned 21, 41 and all of them."""
    alone = house()
    grow(alone, 20)
    sign(alone)
    with alone.ledger.read() as connection:
        (key,) = audit_keys.verifiers(connection)
    me = Ed25519Signer.generate("witness.example/w1", COSIGNATURE)
    with (
        WitnessState(tmp_path / "seen") as state,
        WitnessServer(Witness(me, [key], state, lambda line: None), "127.0.0.1", 0) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        place = f"http://127.0.0.1:{server.server_port}"
        made = house(audit__anchors__witness={"kind": "witness", "place": place, "vkey": me.verifier.vkey()})
        for _ in range(2):
            sign(made)
            grow(made, 20)
        sign(made)
        yield made
        server.shutdown()
        thread.join()


def test_what_a_witness_cosigned_is_anchored(log: Installation) -> None:
    found = verify_log(log)
    assert (found.findings, found.anchored_to, found.checkpoints) == ((), 61, 6)
    assert last_checkpoint(log) == 61


def test_a_rewritten_and_signed_log_is_forked_within_a_window(log: Installation) -> None:
    """The receipts lie in the ledger, but nobody with its key can make them."""
    lied = bodies(log)
    lied[30] = altered(lied[30], reason_text="a lie")
    rewrite(log, lied)
    found = verify_log(log)
    assert named(found) == {(M, 21)}
    (window,) = found.of(M)
    assert (window.until, window.somewhere) == (40, True)


def test_signing_again_leaves_no_receipt_that_proves_anything(log: Installation) -> None:
    with log.ledger.read() as connection:
        receipts = [row._asdict() for row in connection.execute(audit_anchors.select())]
    lied = bodies(log)
    lied[30] = altered(lied[30], reason_text="a lie")
    rewrite(log, lied)
    sign_again(log, [21, 41, 61])
    assert verdicts(log) == {(M, 0), (F, 0)}  # only the witness itself is left, which knows the newest state
    execute(log, audit_anchors.insert().values(receipts))
    found = verify_log(log)
    assert named(found) == {(M, 21), (F, 21), (M, None)}
    assert sum("proves nothing" in one.detail for one in found.of(M)) == 2  # of 41 and of 61


def test_a_witness_that_saw_more_gives_an_old_backup_away(log: Installation) -> None:
    saved = backup(log)
    grow(log, 15)
    sign(log)
    restore(log, saved)
    found = verify_log(log)
    (suspected,) = found.findings
    assert (suspected.verdict, suspected.seq, suspected.until, suspected.where) == (R, 61, 75, "audit_events")
    made = record_restore(log, "the disk died")
    assert (made.first, made.last, {size for size, _ in made.lost}) == (61, 75, {76})
    assert verdicts(log) == {(R, 61)}


def test_a_witness_that_is_away_is_unreadable_and_its_receipts_still_count(log: Installation) -> None:
    execute(log, audit_events.update().where(audit_events.c.seq == 3).values(type="nothing"))
    away = log.settings.audit.anchors["witness"].model_copy(update={"place": "http://127.0.0.1:9"})
    audit = log.settings.audit.model_copy(update={"anchors": {"witness": away}})
    house = Installation(log.settings.model_copy(update={"audit": audit}))
    found = verify_log(house)
    assert named(found) == {(M, 3), (Verdict.UNREADABLE, None)}
    assert found.anchored_to == 61
    house.ledger.close()


@pytest.fixture
def kept(house: Callable[..., Installation], tmp_path: Path) -> Installation:
    """Anchored in a folder."""
    return anchored(house, tmp_path)


def test_an_anchor_that_is_not_there_is_unreadable(kept: Installation, tmp_path: Path) -> None:
    (tmp_path / "vault").rename(tmp_path / "unplugged")
    found = verify_log(kept)
    assert named(found) == {(U, None)}
    assert found.of(U)[0].where == "vault"
    assert (found.anchored_to, found.acceptable) == (0, False)


def test_a_checkpoint_that_is_gone_from_an_anchor_or_no_checkpoint_is_unreadable(
    kept: Installation, tmp_path: Path
) -> None:
    middle = tmp_path / "vault" / "checkpoints" / f"{500:020}"
    was = middle.read_text()
    middle.write_text(was.replace("\n500\n", "\n501\n"))
    assert "500 events" in only(kept).detail
    middle.write_text("a cat picture")
    assert (only(kept).verdict, only(kept).where) == (U, "vault")
    middle.unlink()
    assert "not there any more" in only(kept).detail
    middle.write_text(was)
    assert verdicts(kept) == set()


def test_a_checkpoint_by_another_key_is_told_apart_from_a_wrong_signature(kept: Installation) -> None:
    with kept.ledger.read() as connection:
        row = connection.execute(sa.select(audit_checkpoints).where(audit_checkpoints.c.size == 500)).one()
        origin = audit_keys.origin(connection, kept.settings.audit)
    mine = audit_checkpoints.update().where(audit_checkpoints.c.size == 500)
    stranger = Ed25519Signer.generate(origin)
    execute(kept, mine.values(note=checkpoints.sign(Checkpoint(origin, 500, row.root), [stranger])))
    assert (only(kept).verdict, only(kept).where) == (Verdict.UNKNOWN_KEY, "audit_checkpoints")
    execute(kept, mine.values(note=row.note.replace("\n500\n", "\n499\n")))
    assert (only(kept).verdict, only(kept).where) == (M, "audit_checkpoints")
    execute(kept, mine.values(note=row.note, root=bytes(32)))
    assert (only(kept).verdict, only(kept).where) == (M, "audit_checkpoints")
