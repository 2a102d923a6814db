"""`fwd2bot audit log`, `prove`, `export` and `show`, as compliance staff meet them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.cli import main
from fwd2bot_core.audit.events import Actor, Event
from infra import audit_log
from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from infra.tables import audit_events
from tests.houses import COLLECTION, lay_out, night
from tests.infra.anchored import anchored_house, grow
from tests.servers.intruder import as_intruder

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    monkeypatch.chdir(tmp_path)
    made = anchored_house(tmp_path, "ledger.sqlite", "outside")
    lay_out(tmp_path / "photos", 3)
    night(made)
    sign_checkpoint(made, reason="test")
    yield made
    made.ledger.close()


@pytest.fixture
def run(house: Installation, capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        shown = capfd.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def bodies(house: Installation) -> list[bytes]:
    with house.ledger.read() as connection:
        found = connection.execute(sa.select(audit_events.c.body).order_by(audit_events.c.seq)).scalars()
        return [bytes(body) for body in found]


def test_the_log_on_a_screen(run: Run, house: Installation) -> None:
    code, out, _ = run("audit", "log", "--collection", COLLECTION)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["event", "when", "(UTC)", "what", "who", "about"]
    numbers = [int(line.split()[0]) for line in lines[1:]]
    assert numbers == sorted(numbers, reverse=True)
    assert any("batch.committed" in line and COLLECTION in line and "rejected=0" in line for line in lines)
    code, out, _ = run("audit", "log", "--oldest-first", "--limit", "2")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["0", "1"]
    assert run("audit", "log", "--type", "no.such")[1].endswith("nothing in the audit log is like that\n")


def test_a_long_log_says_that_there_is_more(run: Run, house: Installation) -> None:
    grow(house, 150)
    out = run("audit", "log")[1].splitlines()
    assert (len(out), out[-1].startswith("... the first 100;")) == (102, True)
    assert len(run("audit", "log", "--limit", "120")[1].splitlines()) == 121


def test_the_log_for_machines(run: Run, house: Installation) -> None:
    known = bodies(house)
    assert run("audit", "log", "--jsonl", "--oldest-first")[1].encode() == b"\n".join([*known, b""])
    said = json.loads(run("audit", "log", "--json")[1])
    assert [event["seq"] for event in said] == list(reversed(range(len(known))))
    assert COLLECTION in said[-1]["names"].values()
    assert json.loads(run("audit", "log", "--json", "--type", "no.such")[1]) == []
    rows = list(csv.DictReader(io.StringIO(run("audit", "log", "--csv", "--type", "batch")[1])))
    assert [row["collection"] for row in rows] == [COLLECTION] * len(rows)
    assert {row["type"] for row in rows} == {"batch.committed"}


def test_days_and_times(run: Run, house: Installation) -> None:
    day = json.loads(bodies(house)[0])["occurred_at"][:10]
    everything = len(bodies(house))
    for options, expected in (
        (("--since", day, "--until", day), everything),
        (("--until", "2020-01-01"), 0),
        (("--since", "2020-01-01T00:00:00+09:00"), everything),
        (("--since", "2999-12-31T23:59:59"), 0),
    ):
        assert len(run("audit", "log", "--jsonl", *options)[1].splitlines()) == expected
    for wrong in ("yesterday", "9999-12-31", "2026-13-01"):
        code, _, error = run("audit", "log", "--until", wrong)
        assert (code, "is no time; write 2026-11-24" in error) == (2, True)


def test_nothing_in_the_log_commands_the_terminal(run: Run, house: Installation) -> None:
    with house.ledger.write() as connection:
        said = Event(
            type="test",
            occurred_at=audit_log.now(),
            actor=Actor("r", "operator"),
            reason_text="\x1b[2J\nforged",
        )
        audit_log.append(connection, said)
    out = run("audit", "log", "--limit", "1")[1]
    assert "\\x1b[2J\\nforged" in out
    assert len(out.splitlines()) == 2


def test_wrong_use(run: Run) -> None:
    assert run("audit", "log", "--csv", "--jsonl")[0] == 2
    assert run("audit", "log", "--actor", "nobody")[0] == 2
    assert run("audit", "log", "--image", "nowhere.jpg")[0] == 1
    assert run("audit", "prove", "999999")[0] == 2
    assert run("audit", "export")[0] == 2


def test_prove_writes_the_proof_and_what_it_is_over(run: Run, house: Installation, tmp_path: Path) -> None:
    code, out, _ = run("audit", "prove", "2")
    assert (code, out.splitlines()[:2]) == (0, ["c2sp.org/tlog-proof@v1", "index 2"])
    said = json.loads(run("audit", "prove", "2", "--json")[1])
    assert (said["proof"], said["body"].encode()) == (out, bodies(house)[2])
    code, told, _ = run("audit", "prove", "2", "-o", "two.tlog-proof")
    assert code == 0
    assert "two.tlog-proof, two.json" in told
    assert (tmp_path / "two.tlog-proof").read_bytes() == out.encode()
    assert (tmp_path / "two.json").read_bytes() == bodies(house)[2]
    assert run("audit", "prove", "2", "-o", "nowhere/two.tlog-proof")[0] == 2


def test_export_and_check_as_a_stranger(run: Run, house: Installation, tmp_path: Path) -> None:
    code, out, _ = run("audit", "export", "-o", "evidence.zip", "--image", "0001.jpg", "--with-names")
    assert (code, out.startswith("VALID  1 events")) == (0, True)
    key = run("audit", "keys")[1].splitlines()[0]
    stranger = tmp_path / "elsewhere"
    stranger.mkdir()
    with zipfile.ZipFile("evidence.zip") as archive:
        archive.extract("verify.py", stranger)
    command = [sys.executable, "-I", "-S", "verify.py", "../evidence.zip", "--key", key]
    ended = subprocess.run(command, cwd=stranger, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, "VALID: ../evidence.zip")
    said = json.loads(run("audit", "export", "-o", "whole.zip", "--json")[1])
    assert (said["verdict"], said["events"]) == ("VALID", len(bodies(house)))
    assert run("audit", "export", "-o", "whole.zip")[0] == 2


def test_export_of_a_log_that_somebody_changed(run: Run, house: Installation) -> None:
    with house.ledger.write() as connection:
        changed = bodies(house)[1].replace(b'"operator"', b'"approver"')
        as_intruder(connection).execute(
            audit_events.update().where(audit_events.c.seq == 1).values(body=changed)
        )
    code, out, _ = run("audit", "export", "-o", "evidence.zip")
    assert (code, out.startswith("MODIFIED")) == (5, True)
    assert "events: event 1 is not what the log holds" in out


def test_unsigned_events_are_exported_and_told(run: Run, house: Installation) -> None:
    grow(house, 2)
    code, out, _ = run("audit", "export", "-o", "evidence.zip")
    assert (code, out.startswith("NOT YET ANCHORED")) == (0, True)
    assert "run `fwd2bot audit checkpoint`, then export again" in out


def test_show_tells_a_life_with_a_proof_for_each_fact(run: Run, house: Installation) -> None:
    code, out, _ = run("show", "0001.jpg")
    assert code == 0
    assert "compressed in audit/segments" in " ".join(out.split())
    assert "proven, by the checkpoint of" in " ".join(out.split())
    (version,) = json.loads(run("show", "0001.jpg", "--json")[1])
    (fact,) = version["audit"]
    assert (fact["proof"], fact["outcome"]) == ("proven", "compressed")
    with house.ledger.write() as connection:
        changed = bodies(house)[fact["event"]].replace(b'"rejected":0', b'"rejected":1')
        as_intruder(connection).execute(
            audit_events.update().where(audit_events.c.seq == fact["event"]).values(body=changed)
        )
    code, out, _ = run("show", "0001.jpg")
    assert (code, "NOT PROVEN" in out) == (5, True)
