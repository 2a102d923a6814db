"""Keys of the log: secret from their first byte, known by events, rotated without a moment in which both are lost."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints, key_history
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer, Signer, open_note, sign_note
from fwd2bot_core.errors import Fwd2BotError, SettingsError, UnknownKey, UsageError
from infra import audit_keys, audit_log, signing_keys
from infra.audit_settings import AuditSettings
from infra.database import Ledger, open_ledger
from infra.tables import audit_events, installation

NAME = "fwd2bot/test"
ACTOR = Actor("ref", "operator")
KMS = """
import base64, sys
from fwd2bot_core.audit.notes import Ed25519Signer
signer = Ed25519Signer.load({skey!r})
what = sys.argv[-1]
out = signer.verifier.public if what == "public" else signer.sign(sys.stdin.read())
{then}
print(base64.b64encode(out).decode())
"""


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    yield opened
    opened.close()


def settings(key: Path | str, **others: object) -> AuditSettings:
    return AuditSettings.model_validate({"key": str(key), **others})


def told(ledger: Ledger) -> list[tuple[int, str, dict[str, str]]]:
    """The key events as the log's own bodies say them."""
    with ledger.read() as connection:
        rows = connection.execute(sa.select(audit_events).order_by(audit_events.c.seq)).all()
    return [(row.seq, row.type, parse(row.body)["after"]) for row in rows if row.type in key_history.TYPES]


def test_a_file_is_made_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        first = audit_keys.open_signer(settings(tmp_path / "audit-key"), NAME)
    finally:
        os.umask(before)
    assert (tmp_path / "audit-key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["audit-key"]
    again = audit_keys.open_signer(settings(tmp_path / "audit-key"), NAME)
    assert again.verifier == first.verifier


def test_it_is_never_readable_for_others_not_even_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []

    def fsync(number: int) -> None:
        modes.append(os.fstat(number).st_mode & 0o777)

    monkeypatch.setattr(os, "fsync", fsync)
    os.umask(before := os.umask(0))
    signing_keys.write_key(tmp_path / "audit-key", Ed25519Signer.generate(NAME))
    assert modes[0] == 0o600
    assert os.umask(before) == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644, 0o601])
def test_a_file_that_others_can_read_is_refused_in_one_sentence(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "audit key"
    audit_keys.open_signer(settings(file), NAME)
    file.chmod(mode)
    with pytest.raises(SettingsError, match=f"mode 0{mode:o}.*chmod 600 '{file}'") as caught:
        audit_keys.open_signer(settings(file), NAME)
    assert "\n" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "hello", "PRIVATE+KEY+a+00000000+AAAA", "x" * 5000, "\xff\x00"])
def test_what_is_no_key_is_said_without_repeating_it(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content, encoding="latin-1")
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="signing key") as caught:
        audit_keys.open_signer(settings(file), NAME)
    assert not content or content not in str(caught.value)


def test_a_folder_that_is_not_there_and_one_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        audit_keys.open_signer(settings(tmp_path / "no" / "key"), NAME)
    with pytest.raises(SettingsError, match="cannot read"):
        audit_keys.open_signer(settings(tmp_path), NAME)


def test_another_logs_key_and_a_witnesss_are_refused(tmp_path: Path) -> None:
    audit_keys.open_signer(settings(tmp_path / "key"), "fwd2bot/other")
    with pytest.raises(SettingsError, match="is for fwd2bot/other"):
        audit_keys.open_signer(settings(tmp_path / "key"), NAME)
    signing_keys.write_key(tmp_path / "witness", Ed25519Signer.generate(NAME, COSIGNATURE))
    with pytest.raises(SettingsError, match="type 4"):
        audit_keys.open_signer(settings(tmp_path / "witness"), NAME)


def make_one(file: str, results: multiprocessing.Queue[str]) -> None:
    results.put(audit_keys.open_signer(settings(file), NAME).verifier.vkey())


def test_processes_that_make_the_first_key_at_once_make_one(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[str] = spawn.Queue()
    makers = [spawn.Process(target=make_one, args=(str(tmp_path / "key"), results)) for _ in range(3)]
    for maker in makers:
        maker.start()
    assert len({results.get(timeout=60) for _ in makers}) == 1
    for maker in makers:
        maker.join()


def test_a_secret_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Ed25519Signer.generate(NAME)
    monkeypatch.setenv("AUDIT_SECRET", signer.skey() + "\n")
    assert audit_keys.open_signer(settings("env:AUDIT_SECRET"), NAME).verifier == signer.verifier
    monkeypatch.setenv("AUDIT_SECRET", signer.skey()[:-3])
    with pytest.raises(SettingsError, match=r"\$AUDIT_SECRET") as caught:
        audit_keys.open_signer(settings("env:AUDIT_SECRET"), NAME)
    assert signer.skey()[60:80] not in str(caught.value)
    monkeypatch.delenv("AUDIT_SECRET")
    with pytest.raises(SettingsError, match="AUDIT_SECRET is not set"):
        audit_keys.open_signer(settings("env:AUDIT_SECRET"), NAME)


def program(tmp_path: Path, signer: Ed25519Signer, then: str = "") -> AuditSettings:
    script = tmp_path / "key store.py"
    script.write_text(KMS.format(skey=signer.skey(), then=then))
    return settings(f"command:{sys.executable} '{script}'")


def test_a_program_that_asks_a_key_store(tmp_path: Path) -> None:
    kept = Ed25519Signer.generate(NAME)
    signer = audit_keys.open_signer(program(tmp_path, kept), NAME)
    assert signer.verifier == kept.verifier
    checkpoint = Checkpoint(NAME, 7, bytes(32))
    assert checkpoints.sign(checkpoint, [signer]) == checkpoints.sign(checkpoint, [kept])


@pytest.mark.parametrize(
    ("then", "error", "said"),
    [
        ("sys.exit('token is locked')", Fwd2BotError, "failed with 1: token is locked"),
        ("out = out[:-1]", SettingsError, "31 bytes"),
        ("print('hello')", SettingsError, "base64 and nothing else"),
        ("import time; time.sleep(60)", Fwd2BotError, "did not answer"),
    ],
)
def test_a_program_that_does_not_answer_as_it_must(
    tmp_path: Path, then: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sleep" in then:
        monkeypatch.setattr(signing_keys, "_PROGRAM_SECONDS", 0.5)
    with pytest.raises(error, match=said):
        audit_keys.open_signer(program(tmp_path, Ed25519Signer.generate(NAME), then), NAME)


def test_a_program_that_signs_with_another_key_signs_nothing(tmp_path: Path) -> None:
    then = "out = out if what == 'public' else Ed25519Signer.generate('x').sign('x')"
    signer = audit_keys.open_signer(program(tmp_path, Ed25519Signer.generate(NAME), then), NAME)
    with pytest.raises(Fwd2BotError, match="not of its own key"):
        sign_note("text\n", [signer])


@pytest.mark.parametrize("command", ["", "'", "/no/such/program"])
def test_no_program(command: str) -> None:
    with pytest.raises(SettingsError, match=r"audit\.key"):
        audit_keys.open_signer(settings(f"command:{command}"), NAME)


def begin(ledger: Ledger, signer: Signer) -> None:
    with ledger.write() as connection:
        audit_keys.register(connection, signer, ACTOR)


def test_the_logs_name_comes_from_its_installation(ledger: Ledger) -> None:
    with ledger.write() as connection:
        with pytest.raises(UsageError, match=r"audit\.origin"):
            audit_keys.origin(connection, settings("k"))
        connection.execute(installation.insert().values(id=1, uuid="0b3e"))
        assert audit_keys.origin(connection, settings("k")) == "fwd2bot/0b3e"
        assert audit_keys.origin(connection, settings("k", origin="plant.example/log")) == "plant.example/log"
        with pytest.raises(SettingsError, match=r"audit\.origin.*spaces"):
            audit_keys.origin(connection, settings("k", origin="our log"))


def test_the_first_key_is_an_event_and_comes_once(ledger: Ledger) -> None:
    signer = Ed25519Signer.generate(NAME)
    for _ in range(3):
        begin(ledger, signer)
    assert [(seq, kind) for seq, kind, _ in told(ledger)] == [(0, "audit.key-added")]
    with ledger.read() as connection:
        assert audit_keys.verifiers(connection) == [signer.verifier]
        assert [key.span for key in audit_keys.keys(connection)] == key_history.history(told(ledger))


def test_another_key_than_the_logs_signs_nothing(ledger: Ledger) -> None:
    begin(ledger, Ed25519Signer.generate(NAME))
    with pytest.raises(UnknownKey, match="--lost"):
        begin(ledger, Ed25519Signer.generate(NAME))
    assert len(told(ledger)) == 1


def test_a_rotation_is_signed_by_both_and_ends_the_old_keys_time(ledger: Ledger) -> None:
    old, new = Ed25519Signer.generate(NAME), Ed25519Signer.generate(NAME)
    with ledger.write() as connection, pytest.raises(UsageError, match="no key yet"):
        audit_keys.rotate(connection, old, new, ACTOR)
    begin(ledger, old)
    with ledger.write() as connection:
        audit_log.append(connection, Event(type="test", occurred_at=audit_log.now(), actor=ACTOR))
        assert audit_keys.rotate(connection, old, new, ACTOR, "yearly").id == old.verifier.key_id.hex()
    with ledger.read() as connection:
        assert audit_keys.verifiers(connection) == [old.verifier, new.verifier]
        assert audit_keys.verifiers(connection, size=2) == [old.verifier]
        assert audit_keys.verifiers(connection, size=3) == [new.verifier]
        assert [key.span for key in audit_keys.keys(connection)] == key_history.history(told(ledger))
    after = told(ledger)[-1][2]
    assert (after["old"], after["new"]) == (old.verifier.vkey(), new.verifier.vkey())
    opened = open_note(after["statement"], [old.verifier, new.verifier])
    assert set(opened.signatures) == {old.verifier, new.verifier}
    begin(ledger, new)
    with pytest.raises(UnknownKey, match="retired by event 2"):
        begin(ledger, old)
    with ledger.write() as connection, pytest.raises(UsageError, match="already"):
        audit_keys.rotate(connection, new, old, ACTOR)


def test_a_lost_key_is_replaced_and_the_log_says_so(ledger: Ledger) -> None:
    begin(ledger, Ed25519Signer.generate(NAME))
    new = Ed25519Signer.generate(NAME)
    with ledger.write() as connection:
        audit_keys.rotate(connection, None, new, ACTOR, "the disk burnt")
    spans = key_history.history(told(ledger))
    assert [span.vouched for span in spans] == [True, False]
    with ledger.write() as connection, pytest.raises(UnknownKey):
        audit_keys.rotate(connection, Ed25519Signer.generate(NAME), Ed25519Signer.generate(NAME), ACTOR)


def test_an_interrupted_rotation_goes_on_with_the_key_that_waits(tmp_path: Path) -> None:
    audit = settings(tmp_path / "key")
    audit_keys.open_signer(audit, NAME)
    waiting, _ = audit_keys.successor(audit, NAME, None)  # and the process dies here
    again, finish = audit_keys.successor(audit, NAME, None)
    assert again.verifier == waiting.verifier
    assert (tmp_path / "key.next").stat().st_mode & 0o777 == 0o600
    finish()
    assert audit_keys.open_signer(audit, NAME).verifier == waiting.verifier
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_where_the_next_key_is_must_be_said_unless_it_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--to"):
        audit_keys.successor(settings("env:X"), NAME, None)
    signer, finish = audit_keys.successor(settings("env:X"), NAME, str(tmp_path / "next"))
    finish()
    assert audit_keys.open_signer(settings(tmp_path / "next"), NAME).verifier == signer.verifier
