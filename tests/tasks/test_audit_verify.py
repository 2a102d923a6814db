"""Verification of the log says VALID of what is, and of everything else exactly what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flows.cli import main
from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.audit.notes import Ed25519Signer
from fwd2bot_core.audit.verdicts import Finding, Found, Verdict, sharpened
from fwd2bot_core.errors import UsageError
from infra import audit_keys, audit_log
from infra.installation import Installation
from infra.tables import audit_checkpoints, audit_events, audit_head, audit_nodes
from infra.tables import audit_keys as keys_table
from tasks.audit_verify import last_checkpoint, verify_log
from tasks.rotate_key import rotate_key
from tests.tasks.audit_logs import altered, bodies, event, execute, grow, named, rewrite, sign, verdicts

M, U, N = Verdict.MODIFIED, Verdict.UNREADABLE, Verdict.NOT_YET_ANCHORED
Build = Callable[..., Installation]


@pytest.fixture
def build(house: Build, tmp_path: Path) -> Build:
    """A house whose log is anchored in the folder ``vault``."""
    (tmp_path / "vault").mkdir()
    vault = {"kind": "directory", "place": str(tmp_path / "vault")}
    return lambda **sections: house(**({"audit__anchors__vault": vault} | sections))


@pytest.fixture
def log(build: Build) -> Installation:
    """On SQLite: 600 events with the key's; checkpoints over 300, 500 and all of them."""
    return filled(build())


@pytest.fixture
def log_on_each(build: Build, ledger_url: str) -> Installation:
    """The same on both databases."""
    return filled(build(archive={"ledger": ledger_url}))


def filled(house: Installation) -> Installation:
    for count in (299, 200, 100):
        grow(house, count)
        sign(house)
    return house


def only(house: Installation, since: int = 0) -> Finding:
    (found,) = verify_log(house, since=since).findings
    return found


def test_a_log_as_it_was_written_is_valid(log_on_each: Installation) -> None:
    log = log_on_each
    told: list[tuple[int, int]] = []
    found = verify_log(log, progress=lambda *done: told.append(done))
    assert (found.findings, found.verdict, found.acceptable) == ((), Verdict.VALID, True)
    assert (found.since, found.events, found.anchored_to) == (0, 600, 600)
    assert found.checkpoints == 6  # three in the ledger, three outside
    assert told == [(600, 600)]


def test_an_empty_log_is_valid(build: Build) -> None:
    found = verify_log(build())
    assert (found.findings, found.events, found.anchored_to) == ((), 0, 0)


def test_events_after_the_last_anchored_checkpoint_are_named_and_no_alarm(log: Installation) -> None:
    grow(log, 7)
    found = verify_log(log)
    (finding,) = found.findings
    assert (finding.verdict, finding.seq, finding.until) == (N, 600, 606)
    assert (found.acceptable, found.anchored_to) == (True, 600)


def test_without_an_anchor_nothing_is_anchored(house: Build) -> None:
    made = house()
    grow(made, 9)
    sign(made)
    found = verify_log(made)
    (finding,) = found.findings
    assert (finding.verdict, finding.seq, finding.until) == (N, 0, 9)
    assert (found.acceptable, found.anchored_to, found.checkpoints) == (True, 0, 1)


def test_since_the_last_checkpoint_only_new_events_are_read(log_on_each: Installation) -> None:
    log = log_on_each
    grow(log, 10)
    assert last_checkpoint(log) == 600
    execute(log, _at(5).values(body=altered(bodies(log)[5], reason_text="a lie")))  # read by a full one only
    found = verify_log(log, since=600)
    assert (named(found), found.since, found.events, found.anchored_to) == (set(), 600, 10, 600)
    execute(log, _at(605).values(body=altered(bodies(log)[605], reason_text="a lie")))
    assert verdicts(log, since=600) == {(M, 605)}
    assert verdicts(log) == {(M, 5), (M, 605)}


def test_since_starts_from_hashes_that_the_checkpoint_bears_out(log: Installation) -> None:
    """Whoever changes an old event with its leaf is caught by a partial verification too, and exactly."""
    lied = bodies(log)
    lied[5] = altered(lied[5], reason_text="a lie")
    rewrite(log, lied)
    assert verdicts(log, since=600) == {(M, 5)}


def test_since_what_nobody_signed_is_refused(log: Installation) -> None:
    with pytest.raises(UsageError, match="no signed checkpoint of 450 events"):
        verify_log(log, since=450)


def test_a_changed_leaf_node_or_head_is_found(log_on_each: Installation) -> None:
    log = log_on_each
    execute(log, _at(70).values(leaf=bytes(32)))
    assert verdicts(log) == {(M, 70)}
    execute(log, _at(70).values(leaf=leaf_hash(bodies(log)[70])))
    execute(log, audit_nodes.update().where(audit_nodes.c.number == 1).values(hash=bytes(32)))
    node = only(log)
    assert (node.seq, node.until, node.somewhere, node.where) == (256, 511, True, "audit_nodes")
    rewrite(log, bodies(log))
    execute(log, audit_head.update().values(frontier=bytes(32 * (600).bit_count())))
    assert only(log).where == "audit_head"
    execute(log, audit_head.update().values(size=500))
    assert verdicts(log) == {(M, 500)}


def test_several_findings_stand_together(log_on_each: Installation) -> None:
    log = log_on_each
    grow(log, 5)
    execute(
        log, _at(70).values(type="image.destroyed"), audit_events.delete().where(audit_events.c.seq > 601)
    )
    found = verify_log(log)
    assert named(found) == {(M, 70), (Verdict.TRUNCATED, 602)}
    assert found.verdict is M
    assert found.of(Verdict.TRUNCATED)[0].until == 604


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b'{"seq":70}', b"[" * 5000, b'{"seq":NaN}', b"null x"]
)
def test_a_body_that_is_no_record_is_found_though_it_has_its_leaf(log: Installation, body: bytes) -> None:
    execute(log, _at(70).values(body=body, leaf=leaf_hash(body)))
    assert verdicts(log) == {(M, 70)}


def test_a_log_that_was_rewritten_throughout_takes_few_words(log: Installation) -> None:
    execute(log, audit_events.update().where(audit_events.c.seq > 10).values(type="nothing"))
    found = verify_log(log)
    assert 100 <= len(found.findings) <= 102
    assert any("more, up to event 599" in finding.detail for finding in found.findings)
    assert found.findings[0].seq == 11


def test_a_clock_that_went_back_is_told_of_once(log_on_each: Installation) -> None:
    log = log_on_each

    def later(seconds: float) -> None:
        made = event(0)
        object.__setattr__(made, "occurred_at", made.occurred_at + timedelta(seconds=seconds))
        with log.ledger.write() as connection:
            audit_log.append(connection, made)

    for seconds in (-200, 0, -4000, -4000, 0, -200):
        later(seconds)
    found = verify_log(log)
    assert named(found) == {(Verdict.CLOCK_SUSPECT, 602)}
    assert not found.acceptable


def test_an_anchor_that_is_not_there_is_unreadable(log: Installation, tmp_path: Path) -> None:
    (tmp_path / "vault").rename(tmp_path / "unplugged")
    found = verify_log(log)
    assert named(found) == {(U, None)}
    assert found.of(U)[0].where == "vault"
    assert (found.anchored_to, found.acceptable) == (0, False)


def test_a_checkpoint_that_is_gone_from_an_anchor_or_no_checkpoint_is_unreadable(
    log: Installation, tmp_path: Path
) -> None:
    middle = tmp_path / "vault" / "checkpoints" / f"{500:020}"
    was = middle.read_text()
    middle.write_text(was.replace("\n500\n", "\n501\n"))
    assert "500 events" in only(log).detail
    middle.write_text("a cat picture")
    assert (only(log).verdict, only(log).where) == (U, "vault")
    middle.unlink()
    assert "not there any more" in only(log).detail
    middle.write_text(was)
    assert verdicts(log) == set()


def test_damaged_tiles_are_unreadable_and_the_window_is_named_instead(
    log: Installation, tmp_path: Path
) -> None:
    lied = bodies(log)
    lied[333] = altered(lied[333], reason_text="a lie")
    rewrite(log, lied)
    assert verdicts(log) == {(M, 333)}
    for tile in (tmp_path / "vault/tile/0").rglob("*"):
        if tile.is_file():
            tile.write_bytes(tile.read_bytes()[:-32] + bytes(32))
    found = verify_log(log)
    assert named(found) == {(U, None), (M, 300)}
    window = next(one for one in found.findings if one.verdict is M)
    assert (window.until, window.somewhere) == (499, True)


def test_rows_that_cannot_be_read_are_unreadable(house: Build, tmp_path: Path) -> None:
    made = house()
    grow(made, 2000)
    made.ledger.close()
    file = tmp_path / "ledger.sqlite"
    data = bytearray(file.read_bytes())
    (marker,) = (row for row in bodies(made) if json.loads(row)["seq"] == 1500)
    made.ledger.close()
    page = data.rindex(marker) // 4096 * 4096
    data[page : page + 4096] = b"\xff" * 4096
    file.write_bytes(data)
    found = verify_log(made)
    assert (U, 0) in named(found)
    assert found.of(U)[0].where == "audit_events"


def test_a_checkpoint_by_another_key_is_told_apart_from_a_wrong_signature(log: Installation) -> None:
    with log.ledger.read() as connection:
        row = connection.execute(sa.select(audit_checkpoints).where(audit_checkpoints.c.size == 500)).one()
        origin = audit_keys.origin(connection, log.settings.audit)
    mine = audit_checkpoints.update().where(audit_checkpoints.c.size == 500)
    stranger = Ed25519Signer.generate(origin)
    execute(log, mine.values(note=checkpoints.sign(Checkpoint(origin, 500, row.root), [stranger])))
    assert (only(log).verdict, only(log).where) == (Verdict.UNKNOWN_KEY, "audit_checkpoints")
    execute(log, mine.values(note=row.note.replace("\n500\n", "\n499\n")))
    assert (only(log).verdict, only(log).where) == (M, "audit_checkpoints")
    execute(log, mine.values(note=row.note, root=bytes(32)))
    assert (only(log).verdict, only(log).where) == (M, "audit_checkpoints")


def test_a_key_signs_only_in_its_own_time(log: Installation) -> None:
    with log.ledger.read() as connection:
        old = audit_keys.open_signer(log.settings.audit, audit_keys.origin(connection, log.settings.audit))
    rotate_key(log)
    sign(log)
    assert verdicts(log) == set()
    with log.ledger.read() as connection:
        row = connection.execute(sa.select(audit_checkpoints).where(audit_checkpoints.c.size == 601)).one()
    note = checkpoints.sign(Checkpoint(old.name, 601, row.root), [old])
    execute(log, audit_checkpoints.update().where(audit_checkpoints.c.size == 601).values(note=note))
    late = only(log)
    assert (late.verdict, late.where) == (Verdict.UNKNOWN_KEY, "audit_checkpoints")
    assert "outside of its own time" in late.detail


def test_a_key_that_no_event_introduced_is_no_key(log: Installation) -> None:
    with log.ledger.read() as connection:
        origin = audit_keys.origin(connection, log.settings.audit)
    stranger = Ed25519Signer.generate(origin).verifier
    row = {"id": stranger.key_id.hex(), "vkey": stranger.vkey(), "since": 70}
    execute(log, keys_table.insert().values(row))
    assert (Verdict.UNKNOWN_KEY, None) in verdicts(log)


def test_the_command_says_it_and_ends_with_its_code(
    log: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["audit", "verify", "--config", str(tmp_path / "fwd2bot.toml"), *words])
        return int(ended.value.code or 0), capsys.readouterr().out

    code, said = run()
    assert code == 0
    assert "VALID" in said
    assert "Only one anchor" in said
    grow(log, 3)
    code, said = run("--since-last", "--json")
    told = json.loads(said)
    assert (code, told["verdict"], told["since"], told["events"]) == (0, "NOT YET ANCHORED", 600, 3)
    execute(log, _at(70).values(type="image.destroyed"))
    code, said = run("--json")
    (finding, _) = json.loads(said)["findings"]
    assert (code, finding["verdict"], finding["seq"], finding["where"]) == (
        5,
        "MODIFIED",
        70,
        "audit_events.type",
    )
    code, said = run()
    assert code == 5
    assert "MODIFIED" in said


def test_a_window_gives_way_to_what_is_more_exact() -> None:
    window = Finding(M, 10, 20, "", "a", somewhere=True)
    inside, outside = Finding(M, 15, None, "", "b"), Finding(M, 25, None, "", "b")
    other = Finding(Verdict.FORKED, 15, None, "", "b")
    assert sharpened([window, outside, other]) == (window, other, outside)
    assert sharpened([window, inside, other]) == (other, inside)
    assert sharpened([Finding(M, 10, 20, "", "a"), inside]) == (Finding(M, 10, 20, "", "a"), inside)


def test_many_findings_of_one_kind_are_counted() -> None:
    found = Found(most=2)
    for seq in range(5):
        found.add(Finding(M, seq, None, "", "here"))
    found.add(Finding(U, None, None, "", "there"))
    assert [one.seq for one in found.all()] == [0, 1, None, None]
    assert found.all()[-1].detail == "and 3 more, up to event 4"


def _at(seq: int) -> Any:
    return audit_events.update().where(audit_events.c.seq == seq)
