"""`fwd2bot audit keys`, `rotate-key`, `witness-key` and `witness`, as an operator and a witness's owner meet them."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.cli import main
from fwd2bot_core.audit import checkpoints, key_history
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer, Verifier, add_lines
from infra import audit_keys, audit_log
from infra.installation import Installation
from infra.tables import audit_events
from infra.tables import audit_keys as rows
from tests.core.audit.test_witnessing import LOG, at, grown
from tests.houses import command, night
from tests.infra.test_witness import send

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["audit", *arguments])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


@pytest.fixture
def signed(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Installation:
    """A house whose log has events and a key."""
    photos(3)
    made = house()
    night(made)
    with made.ledger.write() as connection:
        signer = audit_keys.open_signer(
            made.settings.audit, audit_keys.origin(connection, made.settings.audit)
        )
        audit_keys.register(connection, signer, audit_log.actor(connection, "operator"))
    return made


def history(house: Installation) -> list[key_history.Span]:
    with house.ledger.read() as connection:
        bodies = connection.execute(sa.select(audit_events.c.body).order_by(audit_events.c.seq)).scalars()
        said = [parse(body) for body in bodies]
    return key_history.history(
        (s["seq"], s["type"], s["after"]) for s in said if s["type"] in key_history.TYPES
    )


def test_keys_are_shown_with_what_a_verifier_needs(signed: Installation, run: Run, tmp_path: Path) -> None:
    code, out, _ = run("keys", "--json")
    (key,) = json.loads(out)
    assert code == 0
    assert Verifier.parse(key["vkey"]) == history(signed)[0].verifier
    assert key["where"] == f"the file {tmp_path}/audit-key"
    code, out, _ = run("keys")
    assert out.splitlines()[0] == key["vkey"]
    assert "signs now" in out
    (tmp_path / "audit-key").chmod(0o644)
    assert "chmod 600" in run("keys")[1]
    (tmp_path / "audit-key").unlink()
    assert "not to be used from here" in run("keys")[1]
    assert not (tmp_path / "audit-key").exists()  # to look makes none


def test_a_log_without_a_key_says_how_it_gets_one(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], run: Run
) -> None:
    photos(1)
    night(house())
    code, out, _ = run("keys")
    assert code == 0
    if "no key yet" in out:  # a night that signs a checkpoint has given it one
        assert run("rotate-key")[0] == 2


def test_a_rotation_takes_the_files_place(signed: Installation, run: Run, tmp_path: Path) -> None:
    before = (tmp_path / "audit-key").read_text()
    code, out, _ = run("rotate-key", "--json")
    said = json.loads(out)
    assert code == 0
    assert (tmp_path / "audit-key").read_text() != before
    assert not (tmp_path / "audit-key.next").exists()
    spans = history(signed)
    assert [span.verifier.key_id.hex() for span in spans] == [said["retired"], said["id"]]
    assert (spans[0].until, spans[1].vouched) == (said["since"], True)
    code, out, _ = run("keys")
    assert out.splitlines()[0].endswith(spans[0].verifier.vkey()[-20:])
    assert f"retired by event {said['since']}" in out
    assert run("rotate-key")[0] == 0  # and again
    night(signed)


def test_a_rotation_that_died_before_the_file_moved_is_finished(
    signed: Installation, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(audit_keys, "_take_place", die)
        assert run("rotate-key")[0] == 1
    assert len(history(signed)) == 2
    code, out, _ = run("keys")
    assert "NOT in the file" in out
    code, out, _ = run("rotate-key", "--json")
    assert (code, json.loads(out)["retired"]) == (0, None)
    assert len(history(signed)) == 2
    assert "signs now" in run("keys")[1]
    assert "NOT in" not in run("keys")[1]


def test_to_another_place(signed: Installation, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name = history(signed)[0].verifier.name
    monkeypatch.setenv("NEXT_SECRET", Ed25519Signer.generate(name).skey())
    code, out, _ = run("rotate-key", "--to", "env:NEXT_SECRET")
    assert code == 0
    assert 'audit.key = "env:NEXT_SECRET"' in out
    assert history(signed)[1].vouched
    code, _, err = run("rotate-key", "--to", "env:NOT_THERE")
    assert (code, "NOT_THERE is not set" in err) == (2, True)


def test_a_lost_key(signed: Installation, run: Run, tmp_path: Path) -> None:
    code, _, err = run("rotate-key", "--lost", "a fire")
    assert (code, "not lost" in err) == (2, True)
    (tmp_path / "audit-key").unlink()
    code, _, err = run("rotate-key")
    assert (code, len(err.splitlines())) == (2, 1)
    assert run("rotate-key", "--lost", "a fire")[0] == 0
    assert [span.vouched for span in history(signed)] == [True, False]
    assert "did not vouch" in run("keys")[1]


def test_a_changed_list_of_keys_is_found_out(signed: Installation, run: Run) -> None:
    other = Ed25519Signer.generate(history(signed)[0].verifier.name).verifier
    with signed.ledger.write() as connection:
        for trigger in connection.execute(
            sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_keys'")
        ).scalars():
            connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
        connection.execute(rows.update().values(id=other.key_id.hex(), vkey=other.vkey()))
    code, _, err = run("keys")
    assert (code, "was changed" in err) == (5, True)


def test_a_witnesss_key_is_made_once(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("witness-key", "w", "--name", "compliance.example/witness")
    key = Verifier.parse(out.splitlines()[0])
    assert (code, key.kind, key.name) == (0, COSIGNATURE, "compliance.example/witness")
    assert (tmp_path / "w").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "w").read_text()
    code, _, err = run("witness-key", "w", "--name", "compliance.example/witness")
    assert (code, "never overwritten" in err) == (2, True)
    assert (tmp_path / "w").read_text() == before
    assert run("witness-key", "v", "--name", "two words")[0] == 2
    assert run("witness-key", "no/v", "--name", "w")[0] == 2


def test_a_witness_runs_until_it_is_told_to_end(run: Run, tmp_path: Path) -> None:
    vkey = json.loads(run("witness-key", "w", "--name", "w.example", "--json")[1])["vkey"]
    arguments = ["audit", "witness", "--key", "w", "--state", "state", "--port", "0"]
    with subprocess.Popen(
        command(*arguments, "--log", LOG.verifier.vkey()),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == vkey
        said = process.stdout.readline().strip()
        assert LOG.name in said
        status, _, line = send(int(said.rpartition(":")[2]), grown(0, 9))
        assert status == 200
        note = add_lines(checkpoints.sign(at(9), [LOG]), line)
        assert checkpoints.read(note, [Verifier.parse(vkey)]) == at(9)
        code, _, err = run(*arguments[1:], "--log", LOG.verifier.vkey())
        assert (code, "another witness" in err) == (2, True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert "cosigned example.com/log at 9" in process.stderr.read()


def test_a_witness_that_cannot_begin(run: Run, tmp_path: Path) -> None:
    arguments = ["witness", "--state", "state", "--port", "0"]
    code, _, err = run(*arguments, "--key", "w", "--log", LOG.verifier.vkey())
    assert (code, "signing key w" in err) == (2, True)
    run("witness-key", "w", "--name", "w.example")
    code, _, err = run(*arguments, "--key", "w", "--log", "hello")
    assert (code, "audit keys" in err) == (2, True)
    (tmp_path / "w").chmod(0o640)
    assert "chmod 600" in run(*arguments, "--key", "w", "--log", LOG.verifier.vkey())[2]
