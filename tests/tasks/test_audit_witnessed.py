"""A log whose only anchor is a witness: nobody keeps single hashes, so that windows are named, and never too narrow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer
from fwd2bot_core.audit.verdicts import Verdict
from infra import audit_keys
from infra.installation import Installation
from infra.tables import audit_anchors, audit_events
from infra.witness import Witness, WitnessServer
from infra.witness_state import WitnessState
from tasks.audit_restored import record_restore
from tasks.audit_verify import last_checkpoint, verify_log
from tests.tasks.audit_logs import (
    altered,
    backup,
    bodies,
    execute,
    grow,
    named,
    restore,
    rewrite,
    sign,
    sign_again,
    verdicts,
)

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
