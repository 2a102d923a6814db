"""A ledger that was put back to an older state of itself: suspected, recorded with its loss, and then going on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.cli import main
from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.audit.merkle import leaf_hash
from fwd2bot_core.audit.tiles import MOST_BYTES
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import IntegrityError, UnknownKey, UsageError
from infra import audit_restores, pairing
from infra.audit_restores import restores
from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from infra.settings import load_settings
from infra.tables import audit_checkpoints, audit_events
from tasks import runs
from tasks.audit_restored import record_restore
from tasks.audit_verify import last_checkpoint, verify_log
from tasks.rotate_key import rotate_key
from tests.houses import COLLECTION, night, write_settings
from tests.tasks.audit_logs import (
    altered,
    backup,
    bodies,
    execute,
    grow,
    restore,
    rewrite,
    sign,
    sign_again,
    verdicts,
)

R, N = Verdict.RESTORED_FROM_BACKUP, Verdict.NOT_YET_ANCHORED
WHY = "the database server's disk died"


@pytest.fixture
def put_back(house: Callable[..., Installation], tmp_path: Path) -> Installation:
    """On SQLite: 699 events were anchored; the ledger has its first 510 again, 500 of them under its own checkpoint."""
    (tmp_path / "vault").mkdir()
    return shortened(house(**settings(tmp_path, "vault")))


@pytest.fixture
def put_back_on_each(house: Callable[..., Installation], ledger_url: str, tmp_path: Path) -> Installation:
    """The same on both databases."""
    (tmp_path / "vault").mkdir()
    return shortened(house(archive={"ledger": ledger_url}, **settings(tmp_path, "vault")))


def shortened(house: Installation) -> Installation:
    grow(house, 499)
    sign(house)
    grow(house, 10)
    saved = backup(house)
    run = runs.begin(house, COLLECTION)  # so that the archive has seen a later head
    for count in (90, 98):
        grow(house, count)
        sign(house)
    runs.fail(house, run, RuntimeError("no matter"))
    restore(house, saved)
    return house


def settings(root: Path, *anchors: str) -> dict[str, dict[str, str]]:
    return {f"audit__anchors__{name}": {"kind": "directory", "place": str(root / name)} for name in anchors}


def with_anchors(root: Path, url: str, *names: str) -> Installation:
    """The same installation after its settings were changed."""
    for name in names:
        (root / name).mkdir(exist_ok=True)
    file = write_settings(root / "fwd2bot.toml", archive={"ledger": url}, **settings(root, *names))
    return Installation(load_settings(file))


def test_it_is_a_suspicion_until_it_is_recorded(put_back_on_each: Installation) -> None:
    found = verify_log(put_back_on_each)
    (suspected,) = found.findings
    assert (suspected.verdict, suspected.seq, suspected.until) == (R, 510, 698)
    assert "probably restored" in suspected.detail
    assert found.anchored_to == 510  # the anchor keeps the hashes of events that no checkpoint here covers
    assert not found.acceptable


def test_what_was_lost_is_recorded_and_named_from_then_on(put_back_on_each: Installation) -> None:
    made = record_restore(put_back_on_each, WHY)
    assert (made.seq, made.first, made.last, made.reason) == (510, 510, 698, WHY)
    assert {size for size, _ in made.lost} == {601, 699}
    body = json.loads(bodies(put_back_on_each)[510])
    assert body["before"]["size"] == 699  # the head that was lost
    assert body["after"] == {"size": 510, "life": 2}
    with put_back_on_each.ledger.read() as connection:
        assert restores(connection) == [made]
    found = verify_log(put_back_on_each)
    new, recorded = found.findings
    assert (recorded.verdict, recorded.seq, recorded.until, recorded.where) == (R, 510, 698, "log.restored")
    assert WHY in recorded.detail
    assert (new.verdict, new.seq, new.until) == (N, 500, 510)


def test_the_log_goes_on_with_new_anchors_and_stays_what_it_is(
    put_back_on_each: Installation, photos: Callable[..., list[Path]], tmp_path: Path, ledger_url: str
) -> None:
    photos(3)
    with pytest.raises(IntegrityError, match="older"):
        night(put_back_on_each)
    record_restore(put_back_on_each, WHY)
    assert "empty place" in sign_checkpoint(put_back_on_each, reason="test").failed["vault"]
    house = with_anchors(tmp_path, ledger_url, "vault", "annex")
    assert night(house).compressed == 3
    grow(house, 200)  # beyond the size that the log had in its first life
    assert list(sign_checkpoint(house, reason="test").anchored) == ["annex"]
    found = verify_log(house)
    assert {(one.verdict, one.seq, one.until) for one in found.findings} == {(R, 510, 698)}
    since = last_checkpoint(house)
    assert since == found.anchored_to == found.events > 699
    assert {(one.verdict, one.seq) for one in verify_log(house, since=since).findings} == {(R, 510)}
    lie = altered(bodies(house)[520], reason_text="a lie")
    changed = audit_events.update().where(audit_events.c.seq == 520)
    execute(house, changed.values(body=lie, leaf=leaf_hash(lie)))
    assert verdicts(house) == {(R, 510), (Verdict.MODIFIED, 520)}
    house.ledger.close()


def test_a_second_loss_is_recorded_beside_the_first(put_back: Installation, tmp_path: Path) -> None:
    record_restore(put_back, WHY)
    house = with_anchors(tmp_path, "ledger.sqlite", "annex")
    saved = backup(house)
    grow(house, 9)
    sign(house)
    restore(house, saved)
    assert verdicts(house) == {(R, 510), (R, 511)}
    record_restore(house, "again")
    with house.ledger.read() as connection:
        assert [one.first for one in restores(connection)] == [510, 511]
    assert json.loads(bodies(house)[511])["after"] == {"size": 511, "life": 3}
    assert verdicts(house) == {(R, 510), (R, 511)}
    house.ledger.close()


def test_nothing_but_a_loss_is_recorded(put_back: Installation) -> None:
    with pytest.raises(UsageError, match="say why"):
        record_restore(put_back, " ")
    vault = Path(put_back.settings.audit.anchors["vault"].place)
    vault.rename(vault.with_name("unplugged"))
    with pytest.raises(IntegrityError, match="UNREADABLE"):
        record_restore(put_back, WHY)
    vault.with_name("unplugged").rename(vault)
    execute(put_back, audit_events.update().where(audit_events.c.seq == 7).values(type="nothing"))
    with pytest.raises(IntegrityError, match="MODIFIED"):
        record_restore(put_back, WHY)
    assert len(bodies(put_back)) == 510


def test_a_whole_log_has_no_loss(put_back: Installation) -> None:
    record_restore(put_back, WHY)
    with pytest.raises(UsageError, match="no loss"):
        record_restore(put_back, WHY)


def test_a_record_excuses_only_the_states_that_it_names(put_back: Installation) -> None:
    """Another history, hidden behind a restore that names none of what was really signed."""
    record_restore(put_back, WHY)
    lied = bodies(put_back)
    said = json.loads(lied[510])
    said["subject"]["checkpoints"] = said["subject"]["checkpoints"][:1]
    lied[510] = altered(lied[510], subject=said["subject"])
    rewrite(put_back, lied)
    grow(put_back, 200)
    sign_again(put_back, [500, 711])
    assert verdicts(put_back) == {(R, 510), (Verdict.FORKED, 510), (Verdict.MODIFIED, 510)}


def test_a_ledger_that_knows_of_more_was_not_restored(put_back: Installation) -> None:
    with put_back.ledger.write() as connection:
        row = connection.execute(sa.select(audit_checkpoints)).first()
        connection.execute(audit_checkpoints.insert().values(row._asdict() | {"size": 699}))
    assert (Verdict.TRUNCATED, 510) in verdicts(put_back)
    with pytest.raises(IntegrityError, match="more than a restored backup"):
        record_restore(put_back, WHY)


def test_another_ledgers_archive_is_not_taken_over(put_back: Installation) -> None:
    head = json.loads(put_back.archive.read(pairing.PATH)) | {"installation": "another"}
    put_back.archive.replace(pairing.PATH, json.dumps(head).encode())
    record_restore(put_back, WHY)
    assert json.loads(put_back.archive.read(pairing.PATH)) == head


def test_the_command_records_it(
    put_back: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["audit", "restored", "--config", str(tmp_path / "fwd2bot.toml"), "--reason", WHY]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "510 to 698" in said
    assert "new ones at empty places" in said
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json"])
    assert ended.value.code == 2


def test_more_lost_states_than_one_event_can_name(
    put_back: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_restores, "_STATES", 1)
    record_restore(put_back, WHY)
    with put_back.ledger.read() as connection:
        found = restores(connection)
    assert [(one.first, one.last, {size for size, _ in one.lost}) for one in found] == [
        (510, 698, {601}), (511, 698, {699}),
    ]  # fmt: skip
    assert {verdict for verdict, _ in verdicts(put_back)} == {R}
    with pytest.raises(UsageError, match="no loss"):
        record_restore(put_back, WHY)


def test_an_event_has_room_for_as_many_states_as_it_takes() -> None:
    states = [(2**50 + number, b"r" * 32) for number in range(audit_restores._STATES)]
    subject = audit_restores._subject(2**50, 2**50, states)
    assert len(canonical(subject)) < MOST_BYTES // 1.5  # the rest is for the reason


def test_a_key_that_was_given_to_the_log_in_lost_events_is_no_stranger(
    house: Callable[..., Installation], tmp_path: Path, ledger_url: str
) -> None:
    (tmp_path / "vault").mkdir()
    made = house(archive={"ledger": ledger_url}, **settings(tmp_path, "vault"))
    grow(made, 9)
    sign(made)
    saved = backup(made)
    rotate_key(made)
    grow(made, 5)
    sign(made)  # by the new key, which the ledger will not know
    restore(made, saved)
    assert Verdict.UNKNOWN_KEY in {verdict for verdict, _ in verdicts(made)}
    made_again = record_restore(made, WHY)
    assert (made_again.first, made_again.last) == (10, 15)
    assert verdicts(made) == {(R, 10)}
    with pytest.raises(UnknownKey, match="--lost"):
        sign_checkpoint(made, reason="test")
    rotate_key(made, lost="it was given to the log in events that are lost")
    fresh = with_anchors(tmp_path, ledger_url, "vault", "annex")
    assert list(sign_checkpoint(fresh, reason="test").anchored) == ["annex"]
    fresh.ledger.close()


def test_another_key_in_the_settings_makes_no_stranger_known(
    house: Callable[..., Installation], tmp_path: Path
) -> None:
    (tmp_path / "vault").mkdir()
    made = house(**settings(tmp_path, "vault"))
    grow(made, 9)
    sign(made)
    saved = backup(made)
    rotate_key(made)
    grow(made, 5)
    sign(made)
    restore(made, saved)
    (tmp_path / "audit-key").unlink()
    with pytest.raises(IntegrityError, match="UNKNOWN KEY"):
        record_restore(made, WHY)
