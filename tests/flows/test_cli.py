"""The command line as operators and scripts meet it: verbs, JSON, exit codes, errors of one sentence."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App

import fwd2bot_core.compressor.nano
from flows.cli import app, main
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Answer
from infra.database import open_ledger
from infra.installation import Installation
from infra.tables import shards
from tasks.runs import begin
from tasks.units import visible
from tests.houses import COLLECTION, fwd2bot, tiny_jpeg
from tests.tasks.steps import die_with_the_process, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
README = Path(__file__).parents[2] / "README.md"
BUNDLE = Path(fwd2bot_core.compressor.nano.__file__).parent / "bundle"


def named(verbs: App) -> list[str]:
    """The verbs of a group, such as `audit verify`; none of a verb."""
    return [name for name in verbs if not name.startswith("-")]


VERBS = [
    *([name] for name in app if not name.startswith("-") and not named(app[name])),
    *([group, name] for group in app if not group.startswith("-") for name in named(app[group])),
]


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """The command in this process, on the house of the test."""

    def call(*arguments: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", str(tmp_path / "fwd2bot.toml")])
        shown = capsys.readouterr()
        return Ended(int(ended.value.code or 0), shown.out, shown.err)

    return call


Run = Callable[..., Ended]


def assert_one_sentence(ended: Ended, code: int, says: str) -> None:
    assert ended.code == code, ended
    assert ended.err.startswith("fwd2bot: ")
    assert re.search(says, ended.err), ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "Traceback" not in ended.err + ended.out


# --- help


def test_the_verbs_of_the_issue_are_there() -> None:
    assert {" ".join(verb) for verb in VERBS} >= {
        "night", "plan", "status", "show", "ask", "retry", "config show", "doctor", "verify", "serve", "report", "demo"
    }  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_each_verb_has_help_with_an_example_and_stands_in_the_readme(
    verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*verb, "--help"])
    assert not ended.value.code
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Example: fwd2bot {' '.join(verb)}" in shown
    assert f"fwd2bot {' '.join(verb)}" in README.read_text()


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert not ended.value.code
    shown = " ".join(capsys.readouterr().out.split())
    codes = "0 ok, 1 failed, 2 usage, 3 partly failed, 4 blocked by policy, 5 integrity"
    assert codes in shown
    assert codes in " ".join(README.read_text().split())


def test_help_waits_for_no_heavy_library() -> None:
    heavy = (
        "torch",
        "transformers",
        "prefect",
        "dask",
        "distributed",
        "pyarrow",
        "sqlalchemy",
        "numpy",
        "boto3",
    )
    program = f"import sys, flows.cli; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


# --- exit codes


def test_a_night_and_its_exit_codes(house: BuildHouse, photos: Photos, run: Run) -> None:
    made = photos(3)
    house()
    first = run("night")
    assert (first.code, first.err) == (0, "")
    assert "3 compressed" in first.out
    assert "nothing new among 3 images" in run("night").out

    made[0].write_bytes(b"broken now")
    partly = run("night", COLLECTION, "--direct")
    assert partly.code == 3
    assert "0000.jpg" in partly.out
    assert "not_an_image" in partly.out
    assert run("retry", "--only", "failed").code == 3


def test_the_installed_command_ends_with_the_same_codes(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(2)[0].write_bytes(b"broken")
    house()
    command = Path(sys.executable).with_name("fwd2bot")
    ended = subprocess.run(
        [command, "night", "--config", tmp_path / "fwd2bot.toml"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 3, ended.stderr
    assert "1 compressed, 1 failed" in ended.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        "no-such-verb",
        "night --no-such-option",
        "show",
        "retry --only everything",
        "status --limit x",
        "status --limit -1",
        "demo nowhere --images -3",
        "demo nowhere --images 0",
        "demo nowhere --add -1",
    ],
)
def test_wrong_usage_is_2(house: BuildHouse, run: Run, arguments: str) -> None:
    house()
    assert run(*arguments.split()).code == 2


def test_damage_is_5_and_named(house: BuildHouse, photos: Photos, run: Run) -> None:
    photos(3)
    installation = house()
    run("night")
    clean = run("verify")
    assert clean.code == 0
    assert "are what was committed" in clean.out
    (shard,) = rows(installation, shards)
    installation.archive.replace(shard.path, b"x" * shard.bytes)
    damaged = run("verify")
    assert damaged.code == 5
    assert [finding["name"] for finding in run("verify", "--json").json["findings"]] == [shard.path]
    assert_one_sentence(run("ask", "0000.jpg", "what is it ?"), 5, "not a readable shard")


def test_a_part_that_is_not_well_is_1_and_the_others_are_still_told(
    house: BuildHouse, run: Run, tmp_path: Path
) -> None:
    house()
    assert run("doctor").code == 0
    (tmp_path / "photos").rmdir()
    ended = run("doctor", "--json")
    assert ended.code == 1
    said = {check["part"]: check["ok"] for check in ended.json if check["part"] != "cluster"}
    assert said == {
        "ledger": True,
        "archive store": True,
        f"originals of {COLLECTION}": False,
        "compressor": True,
        "anchors": True,
    }


# --- JSON

NIGHT_KEYS = {
    "run_id", "collection", "kind", "night", "compressor", "listed", "new", "superseded", "resumed_batches",
    "compressed", "failed", "left", "shards", "bytes_in", "bytes_out", "wall_seconds", "compress_seconds",
    "stage_seconds", "reasons", "failures", "broken", "unjudged", "orphans_swept", "orphans_kept",
    "closed", "open_failures", "fidelity", "audit", "state", "exit_code", "ratio",
    "images_per_second", "message",
}  # fmt: skip
PLAN_KEYS = {
    "collection", "compressor", "listed", "images", "bytes", "new", "resumed", "failed", "batches", "batch_size",
    "stored_bytes", "stored_from", "seconds", "seconds_from",
}  # fmt: skip
LIFE_KEYS = {
    "collection", "key", "identity", "bytes", "modified", "first_seen_at", "superseded_at", "sha256", "width",
    "height", "format", "claims", "summaries", "failures", "audit",
}  # fmt: skip
ANSWER_KEYS = {
    "collection", "key", "identity", "sha256", "superseded", "shard", "row", "question", "answer", "confidence",
}  # fmt: skip
RUN_KEYS = {
    "run_id", "kind", "collection", "night", "state", "started_at", "ended_at", "compressor", "compressed",
    "failed", "left", "message", "summary",
}  # fmt: skip


def test_what_machines_read_keeps_its_names(house: BuildHouse, photos: Photos, run: Run) -> None:
    photos(4)[2].write_bytes(b"broken")
    house()
    assert run("plan", "--json").json.keys() == PLAN_KEYS
    night = run("night", "--json")
    assert night.json.keys() == NIGHT_KEYS
    assert (night.json["exit_code"], night.code) == (3, 3)
    assert night.json["failures"][0].keys() == {"key", "reason", "detail"}

    status = run("status", "--json").json
    assert status.keys() == {"runs", "collections", "failures", "working"}
    assert [found.keys() for found in status["runs"]] == [RUN_KEYS]
    assert status["collections"] == [
        {
            "collection": COLLECTION,
            "compressor": "fake",
            "fingerprint": status["collections"][0]["fingerprint"],
            "shards": 1,
            "images": 3,
            "token_bytes": status["collections"][0]["token_bytes"],
            "source_bytes": status["collections"][0]["source_bytes"],
            "codecs": ["exact"],
        }
    ]
    assert status["failures"] == [{"collection": COLLECTION, "reason": "not_an_image", "images": 1}]
    assert status["working"] == []

    (version,) = run("show", "0000.jpg", "--json").json
    assert version.keys() == LIFE_KEYS
    assert run("show", version["sha256"][:12], "--json").json == [version]

    answer = run("ask", "0000.jpg", "what is it ?", "--json").json
    assert answer.keys() == ANSWER_KEYS
    assert (answer["collection"], answer["identity"]) == (
        COLLECTION,
        run("show", "0000.jpg", "--json").json[0]["identity"],
    )
    scrub = run("verify", "--json").json
    assert scrub == {"objects": 2, "bytes": scrub["bytes"], "events": 6, "findings": []}
    checks = run("doctor", "--json").json
    assert [check.keys() for check in checks] == [{"part", "ok", "detail"}] * 6
    settings = run("config", "show", "--json").json
    assert all(setting.keys() == {"name", "value", "source"} for setting in settings)
    assert {"name": "night.zone", "value": "UTC", "source": "default"} in settings
    retry = run("retry", "--json").json
    assert (retry["kind"], retry["failed"]) == ("retry", 1)


def test_people_see_the_same_facts(house: BuildHouse, photos: Photos, run: Run) -> None:
    photos(4)[2].write_bytes(b"broken")
    house()
    assert "to compress" in run("plan").out
    run("night")
    assert "partly_failed" in "".join(run("status").out.split())
    life = run("show", "0002.jpg").out
    assert "not_an_image" in life
    assert "rejected" in life
    answer = run("ask", "0000.jpg", "what is it ?").out
    assert "from stored tokens" in answer
    assert f"of 0000.jpg in {COLLECTION}, version e:" in answer
    assert "night.cron" in run("config", "show").out


def test_a_running_night_is_seen(house: BuildHouse, run: Run) -> None:
    started = begin(house(), COLLECTION)
    assert [working["run_id"] for working in run("status", "--json").json["working"]] == [started.id]
    assert f"working: {started.id}" in run("status").out
    assert_one_sentence(run("night"), 1, f"run {started.id} .* is working on collection:{COLLECTION}")


def test_a_dead_night_is_not_shown_as_working(house: BuildHouse, run: Run) -> None:
    installation = house()
    begin(installation, COLLECTION)
    die_with_the_process(installation)
    assert run("status", "--json").json["working"] == []
    shown = run("status").out
    assert "working" not in shown
    assert "died" in shown
    assert "running" not in shown


def test_a_narrow_screen_shows_fewer_columns_and_folds_none(
    house: BuildHouse, photos: Photos, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(2)[0].write_bytes(b"broken")
    house()
    run("night")
    monkeypatch.setenv("COLUMNS", "40")
    narrow = run("status").out
    for whole in ("night", "partly_failed", "collection", "images", "stored", "not_an_image", COLLECTION):
        assert whole in narrow
    for dropped in ("run_id", "shards", "fake"):
        assert dropped not in narrow
    cells = [line for line in narrow.splitlines() if line.startswith("│")]
    assert len(cells) == 3  # one row a table: nothing was folded
    assert max(map(len, narrow.splitlines())) <= 40
    monkeypatch.setenv("COLUMNS", "120")
    wide = run("status").out
    for whole in ("run_id", "shards", "fake", "partly_failed"):
        assert whole in wide


def test_a_hostile_file_name_cannot_command_the_terminal(
    house: BuildHouse, photos: Photos, run: Run, tmp_path: Path
) -> None:
    name = "evil\x1b]0;owned\x07\x1b[2J[red]\u202egpj.jpg"
    photos(1)
    (tmp_path / "photos" / name).write_bytes(b"broken")
    house()
    for shown in (run("night"), run("show", name), run("show", f"{name}?"), run("ask", name, "what is it ?")):
        assert not set(shown.out + shown.err) & {"\x1b", "\x07", "\u202e"}
        assert "evil" in shown.out + shown.err


@pytest.mark.parametrize("words", ["[/x] [red]two[/red] \\[ three", "\x1b[2J[bold]"])
def test_the_models_words_cannot_command_the_terminal_either(
    house: BuildHouse, photos: Photos, run: Run, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    photos(1)
    house()
    run("night")
    monkeypatch.setattr(FakeCompressor, "answer", lambda *_: Answer(words, 0.5))
    assert run("ask", "0000.jpg", "what is it ?").out.startswith(f"{visible(words)}   (confidence 0.50")


def test_an_older_version_is_asked_by_its_content_and_named_so(
    house: BuildHouse, photos: Photos, run: Run
) -> None:
    (photo,) = photos(1)
    house()
    run("night")
    old = hashlib.sha256(photo.read_bytes()).hexdigest()
    photo.write_bytes(b"broken")
    run("night")
    assert_one_sentence(run("ask", "0000.jpg", "what ?"), 1, f"not_an_image.*An older version .* {old[:12]}")
    assert "superseded version e:" in run("ask", old[:12], "what ?").out
    assert run("ask", old[:12], "what ?", "--json").json["superseded"] is True


# --- errors


def test_a_wrong_settings_file(house: BuildHouse, run: Run, tmp_path: Path) -> None:
    (tmp_path / "fwd2bot.toml").write_text("[night]\ncorn = 1\n")
    for verb in (["night"], ["plan"], ["status"], ["config", "show"]):
        assert_one_sentence(run(*verb), 2, r"wrong settings in .*fwd2bot\.toml.*night\.corn")


def test_no_settings_file(run: Run) -> None:
    assert_one_sentence(run("night"), 2, "there is no settings file .* write one, or run `fwd2bot demo DIR`")


def test_an_unknown_collection(house: BuildHouse, run: Run) -> None:
    house()
    for verb in ("night", "plan", "retry"):
        assert_one_sentence(
            run(verb, "line-9"), 2, f"no collection 'line-9' in the settings; known: {COLLECTION}"
        )


def test_a_folder_that_is_not_there(house: BuildHouse, run: Run, tmp_path: Path) -> None:
    house()
    (tmp_path / "photos").rmdir()
    for verb in ("night", "plan"):
        assert_one_sentence(run(verb), 1, "There is no folder .*photos.*: create it, mount its disk")


def test_a_server_that_does_not_answer(house: BuildHouse, run: Run) -> None:
    house(
        **{
            f"collections.{COLLECTION}": {"originals": "s3://photos"},
            f"collections.{COLLECTION}.s3": {
                "endpoint": "http://127.0.0.1:9",
                "region": "us-east-1",
                "attempts": 1,
                "access_key_id": "x",
                "secret_access_key": "x",
            },
        }
    )
    assert_one_sentence(run("plan"), 1, r"127\.0\.0\.1:9")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_ledger.__kwdefaults__ is not None
    monkeypatch.setitem(open_ledger.__kwdefaults__, "busy_seconds", 0.1)


def test_a_locked_ledger(house: BuildHouse, run: Run, tmp_path: Path, impatient: None) -> None:
    assert house().ledger.name
    holder = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert_one_sentence(run("night"), 1, "stayed locked by another process")
    finally:
        holder.close()


def test_a_ledger_of_a_newer_software(house: BuildHouse, run: Run, tmp_path: Path) -> None:
    assert house().ledger.name
    newer = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.close()
    for verb in ("night", "status", "verify"):
        assert_one_sentence(run(verb), 1, "a newer one made it. Upgrade Fwd2Bot")


def test_a_ledger_that_is_none(house: BuildHouse, run: Run, tmp_path: Path) -> None:
    house()
    (tmp_path / "ledger.sqlite").write_text("my shopping list")
    assert_one_sentence(run("status"), 1, "is no SQLite database. Check archive.ledger")


def test_an_unknown_image(house: BuildHouse, photos: Photos, run: Run) -> None:
    photos(1)
    house()
    run("night")
    for verb in (["show", "no.jpg"], ["ask", "no.jpg", "what ?"], ["show", "0" * 64]):
        assert_one_sentence(run(*verb), 1, "nothing is known of '(no.jpg|0{64})'")


def test_an_image_that_could_not_be_compressed_has_no_answers(
    house: BuildHouse, photos: Photos, run: Run
) -> None:
    photos(2)[0].write_bytes(b"broken")
    house()
    run("night")
    assert_one_sentence(run("ask", "0000.jpg", "what ?"), 1, "fwd2bot show 0000.jpg")


def test_a_bundle_that_is_none(house: BuildHouse, run: Run, tmp_path: Path) -> None:
    house(compressor={"bundle": str(tmp_path / "nothing")})
    for verb in ("night", "plan"):
        assert_one_sentence(run(verb), 1, "nothing is no bundle .*: name a bundle's folder, or 'nano'")


@pytest.fixture
def damaged_bundle(tmp_path: Path) -> Path:
    folder = shutil.copytree(BUNDLE, tmp_path / "bundle")
    weights = folder / "adapters.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    return folder


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_a_bundle_with_a_wrong_hash(
    house: BuildHouse, photos: Photos, damaged_bundle: Path, tmp_path: Path, executor: str
) -> None:
    photos(3)
    house(compressor={"bundle": str(damaged_bundle)}, execution={"executor": executor, "workers": 1})
    ended = fwd2bot("night", "--config", tmp_path / "fwd2bot.toml")
    assert_one_sentence(
        Ended(ended.returncode, ended.stdout, ended.stderr), 5, r"adapters\.safetensors.*fetch"
    )


def test_a_folder_that_can_hold_no_sample(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert_one_sentence(run("demo", str(file)), 2, "cannot lay out an archive in .*file: Not a directory")
    assert_one_sentence(run("demo", "/proc/foo"), 2, "cannot lay out an archive in /proc/foo: ")


def test_a_terminal_without_the_letter_gets_its_number(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(1)[0].rename(tmp_path / "photos" / "ä.jpg")
    house()
    narrow = {"PYTHONIOENCODING": "ascii"}
    assert fwd2bot("night", "--config", tmp_path / "fwd2bot.toml", env=narrow).returncode == 0
    ended = fwd2bot("show", "ä.jpg", "--config", tmp_path / "fwd2bot.toml", env=narrow)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\xe4.jpg" in ended.stdout
    unknown = fwd2bot("show", "ö.jpg", "--config", tmp_path / "fwd2bot.toml", env=narrow)
    assert_one_sentence(Ended(1, unknown.stdout, unknown.stderr), unknown.returncode, r"\\xf6\.jpg")


def test_what_nobody_expected_is_our_fault_and_one_sentence(
    house: BuildHouse, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by\nnothing")

    house()
    monkeypatch.setattr("flows.nightly.run_night", fail)
    assert_one_sentence(run("night"), 1, r"our fault: ZeroDivisionError: by\\nnothing\. .*FWD2BOT_DEBUG=1")
    monkeypatch.setenv("FWD2BOT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        main(["night", "--config", str(tmp_path / "fwd2bot.toml")])


def test_a_password_of_the_ledger_is_never_printed(
    house: BuildHouse, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # no line break in the middle of it
    house(archive={"ledger": "postgresql+psycopg://fwd2bot:hunter2@127.0.0.1:9/ledger"})
    for verb in (
        ["config", "show"],
        ["config", "show", "--json"],
        ["doctor"],
        ["doctor", "--json"],
        ["status"],
    ):
        ended = run(*verb)
        assert "hunter2" not in ended.out + ended.err
        assert "fwd2bot:***@" in ended.out + ended.err


def test_a_retry_with_nothing_to_do_lists_nothing(
    house: BuildHouse, photos: Photos, run: Run, tmp_path: Path
) -> None:
    (photo,) = photos(1)
    house(night={"engine": "prefect"})
    assert run("night", "--direct").code == 0
    photo.unlink()
    photo.parent.rmdir()
    ended = run("retry")
    assert (ended.code, ended.err) == (0, "")


def test_looking_for_news_is_seen(house: BuildHouse, photos: Photos, run: Run) -> None:
    photos(2)
    house(night={"engine": "prefect"})
    assert run("night", "--direct").code == 0
    shown = run("night").out
    assert "starting to look for what is new\nlisted 2 images, 0 new\n" in shown
    assert "starting Prefect" not in shown


def test_report_writes_a_file(house: BuildHouse, photos: Photos, run: Run, tmp_path: Path) -> None:
    photos(1)
    house()
    run("night")
    assert run("report", "-o", str(tmp_path / "r.html")).code == 0
    assert (tmp_path / "r.html").read_text().startswith("<!")
    assert tiny_jpeg(0) not in (tmp_path / "r.html").read_bytes()


def test_interrupting_says_what_stays(house: BuildHouse, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    house()
    monkeypatch.setattr("flows.nightly.run_night", interrupt)
    assert_one_sentence(run("night"), 1, "interrupted; what was committed stays")
