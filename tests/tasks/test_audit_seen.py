"""No anchor holds anything: what the archive has seen of the log is all that tells of a loss, and is told as such."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import main
from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import IntegrityError, UsageError
from infra import audit_log, pairing
from infra.audit_restores import record, restores
from infra.installation import Installation
from tasks.audit_query import Filter
from tasks.audit_restored import record_restore
from tasks.audit_verify import verify_log
from tasks.evidence import export
from tasks.report import write_report
from tasks.verify import verify
from tests.houses import compressed_once, night
from tests.tasks.audit_logs import altered, at, backup, bodies, execute, grow, restore, sign, verdicts

R, K = Verdict.RESTORED_FROM_BACKUP, Verdict.LOSS_ACKNOWLEDGED
WHY = "the disk died"
Photos = Callable[..., list[Path]]


@pytest.fixture
def put_back(house: Callable[..., Installation], photos: Photos, ledger_url: str) -> Installation:
    """Two nights ran, and the ledger is as it was after the first; there are no anchors."""
    made = house(archive={"ledger": ledger_url})
    photos(2)
    night(made)
    saved = backup(made)
    photos(2, start=2)
    night(made)
    restore(made, saved)
    return made


def test_the_archive_alone_gets_a_ledger_going_again(put_back: Installation) -> None:
    seen = pairing.seen(put_back.archive)
    first = len(bodies(put_back))
    assert seen is not None
    (suspected,) = (one for one in verify_log(put_back).findings if one.verdict is R)
    assert (suspected.seq, suspected.until) == (first, seen.events - 1)
    assert "weaker than an anchor" in suspected.detail
    with pytest.raises(IntegrityError, match="audit restored"):
        night(put_back)
    made = record_restore(put_back, WHY)
    assert (made.first, made.last, made.signed, made.lost) == (first, seen.events - 1, False, frozenset())
    said = json.loads(bodies(put_back)[first])["subject"]
    assert said["evidence"] == "archive"
    assert said["archive"] == {"events": seen.events, "leaf": seen.leaf}
    assert said["segments"]["count"] == len(said["segments"]["newest"]) == 1
    assert night(put_back).compressed == 2
    assert compressed_once(put_back) == 4
    assert verify(put_back.ledger, put_back.archive).findings == ()
    (recorded,) = (one for one in verify_log(put_back).findings if one.verdict is R)
    assert "only the archive told" in recorded.detail


def test_what_only_the_archive_told_excuses_nothing_that_is_signed(put_back: Installation) -> None:
    made = record_restore(put_back, WHY)
    assert not made.explains(made.last + 1, None)
    assert not made.explains(made.last + 1, bytes(32))


def test_a_restore_of_which_the_archive_was_not_told_is_told_again(put_back: Installation) -> None:
    head = put_back.archive.read(pairing.PATH)
    made = record_restore(put_back, WHY)
    put_back.archive.replace(pairing.PATH, head)  # as if the process had died before
    assert {one for one, _ in verdicts(put_back)} == {R}
    assert record_restore(put_back, "again") == made
    with put_back.ledger.read() as connection:
        assert restores(connection) == [made]
        pairing.check(connection, put_back.archive)
    with pytest.raises(UsageError, match="no loss"):
        record_restore(put_back, WHY)


def test_a_log_that_went_on_after_it_was_put_back_is_no_older_one(put_back: Installation) -> None:
    grow(put_back, 50)
    found = verdicts(put_back)
    seen = pairing.seen(put_back.archive)
    assert seen is not None
    assert found == {(Verdict.MODIFIED, seen.events - 1)}
    with pytest.raises(IntegrityError, match="more than a restored"):
        record_restore(put_back, WHY)


def test_what_cannot_be_read_is_no_loss(put_back: Installation) -> None:
    put_back.archive.replace(pairing.PATH, b"{")
    assert {one for one, _ in verdicts(put_back)} == {Verdict.UNREADABLE}


def test_a_loss_that_is_acknowledged_is_shown_and_wakes_nobody(
    house: Callable[..., Installation], photos: Photos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = house()
    photos(1)
    night(made)
    saved = backup(made)
    photos(1, start=1)
    night(made)
    restore(made, saved)
    settings = ["--config", str(tmp_path / "fwd2bot.toml")]
    assert code(["audit", "restored", *settings, "--reason", WHY]) == 0
    assert "weaker than an anchor" in capsys.readouterr().out
    with made.ledger.read() as connection:
        known = restores(connection)[0].known_as
    assert not verify_log(made).acceptable
    found = verify_log(made, acknowledged=[known])
    assert found.acceptable
    assert found.verdict is K
    words = ["audit", "verify", *settings]
    assert code(words) == 5
    assert f"--acknowledged {known}," in capsys.readouterr().out
    assert code([*words, "--acknowledged", known]) == 0
    assert WHY in capsys.readouterr().out
    seq, lie = len(bodies(made)) - 1, altered(bodies(made)[-1], reason_text="nothing of importance")
    execute(made, at(seq).values(body=lie, leaf=leaf_hash(lie)))
    assert not verify_log(made, acknowledged=[known]).of(K)  # it names what the record said then


def code(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_a_loss_is_in_every_bundle_and_report(house: Callable[..., Installation], tmp_path: Path) -> None:
    made = house()
    grow(made, 9)
    sign(made)
    with made.ledger.write() as connection:
        actor = audit_log.actor(connection, "operator")
        lost = record(connection, first=10, last=19, lost=(), reason=WHY, actor=actor, signed=False)
    sign(made)
    bundle = tmp_path / "evidence.zip"
    out = export(made, Filter(last=3), bundle)
    assert (out.events, out.covered, out.verdict, out.acceptable) == (5, 5, R, False)
    with zipfile.ZipFile(bundle) as parts:
        assert "only the archive told" in parts.read("index.html").decode()
        assert "events 10 to 19" in parts.read("certificate.txt").decode()
        assert WHY in parts.read("events.jsonl").decode()
    assert f"<strong>{R}</strong>" in write_report(made, tmp_path / "report.html").read_text()
    known = house(audit={"acknowledged": [lost.known_as]})
    assert export(known, Filter(last=3), tmp_path / "again.zip").acceptable
    assert verify_log(known).verdict is K
