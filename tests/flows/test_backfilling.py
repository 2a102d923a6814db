"""The verbs about backfills, in this process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows.cli
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import ExitCode
from infra.installation import Installation
from tasks.backfill_scope import Scope
from tasks.backfills import read
from tests.houses import COLLECTION, compressed_once, night
from tests.tasks.backfill_steps import started, worked
from tests.tasks.steps import use_compressor

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fwd2bot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """``fwd2bot("run", ...)``: its exit code, what it printed, what it complained."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            flows.cli.main(["backfill", *words, "--config", str(tmp_path / "fwd2bot.toml")])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def told(ended: tuple[int, str, str]) -> Any:
    assert ended[0] == 0, ended
    return json.loads(ended[1])


def test_from_the_plan_to_the_reckoning(house: BuildHouse, photos: Photos, fwd2bot: Run) -> None:
    photos(12)
    installation = house(night={"batch_size": 4, "smallest_batch": 4})
    seen = told(fwd2bot("plan", COLLECTION, "--prefix", "00", "--json"))
    assert (seen["images"], seen["to_claim"]) == (12, 12)
    begun = told(fwd2bot("start", "--images", "8", "--bytes", "1GB", "--hours", "2", "--json"))
    assert (begun["images"], begun["left"], begun["state"]) == (12, 12, "active")
    code, out, _ = fwd2bot("run")
    assert (code, "does not allow for another batch" in " ".join(out.split())) == (0, True)
    assert told(fwd2bot("pause", "--json"))["state"] == "paused"
    assert told(fwd2bot("resume", "--images", "100", "--json"))["state"] == "active"
    ended = told(fwd2bot("run", "--no-wait", "--json"))
    assert ended["reckoning"]["message"] == "12 in the archive = 12 compressed + 0 rejected + 0 left"
    (shown,) = told(fwd2bot("status", "--json"))
    assert (shown["state"], shown["share"]) == ("done", 1)
    assert told(fwd2bot("reconcile", "--json"))["agrees"]
    assert compressed_once(installation) == 12


def test_what_people_are_shown(house: BuildHouse, photos: Photos, fwd2bot: Run) -> None:
    photos(3)[1].write_bytes(b"broken")
    house()
    assert "no backfill yet" in fwd2bot("status")[1]
    assert "left to this backfill" in fwd2bot("plan")[1]
    assert "3 in 1 slices" in fwd2bot("start")[1]
    code, out, _ = fwd2bot("run")
    assert code == ExitCode.PARTLY_FAILED
    assert "3 in the archive = 2 compressed + 1 rejected (not_an_image 1) + 0 left" in " ".join(out.split())
    assert "1 (not_an_image 1)" in fwd2bot("status")[1]
    assert fwd2bot("reconcile")[:2] == (
        ExitCode.PARTLY_FAILED,
        "3 in the archive = 2 compressed + 1 rejected (not_an_image 1) + 0 left\n",
    )


def test_a_cancelled_one_leaves_everything_to_the_night(
    house: BuildHouse, photos: Photos, fwd2bot: Run
) -> None:
    photos(5)
    installation = house()
    told(fwd2bot("start", "--json"))
    assert night(installation).compressed == 0
    assert told(fwd2bot("cancel", "--json"))["state"] == "cancelled"
    assert night(installation).compressed == 5


def test_a_list_of_keys(house: BuildHouse, photos: Photos, fwd2bot: Run, tmp_path: Path) -> None:
    photos(5)
    house()
    keys = tmp_path / "keys.txt"
    keys.write_text("0001.jpg\n0004.jpg\ngone.jpg\n")
    seen = told(fwd2bot("plan", "--list", str(keys), "--json"))
    assert (seen["images"], seen["missing"]) == (2, 1)
    told(fwd2bot("start", "--list", str(keys), "--json"))
    code, out, _ = fwd2bot("run", "--json")
    assert (code, json.loads(out)["reckoning"]["missing"]) == (0, 1)


def test_a_manifest_is_believed_as_a_listing_would_be(
    house: BuildHouse, photos: Photos, fwd2bot: Run, tmp_path: Path
) -> None:
    photos(5)
    installation = house()
    manifest = tmp_path / "archive.jsonl"
    entries = list(installation.originals(COLLECTION).list())[:3]
    lines = [
        json.dumps({"key": e.key, "size": e.size, "etag": e.etag, "modified": e.modified.isoformat()})
        for e in entries
    ]
    manifest.write_text("\n".join(lines))
    seen = told(fwd2bot("plan", "--manifest", str(manifest), "--json"))
    assert (seen["images"], seen["scope"]) == (3, f"what is in {manifest}")
    told(fwd2bot("start", "--manifest", str(manifest), "--json"))
    assert told(fwd2bot("run", "--json"))["state"] == "done"
    assert compressed_once(installation) == 3
    assert night(installation).compressed == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["start", "--bytes", "much"], "--bytes 'much' is no size"),
        (["start", "--money", "5"], "--hour-price"),
        (["start", "--list", "no.txt"], "cannot read the list of keys"),
        (["start", "--list", "no.txt", "--recompress"], "give one of these"),
        (["plan", "--inventory", "."], "no report of S3 Inventory lies in"),
        (["start", "--window", "late"], "is no window of time"),
        (["start", "--zone", "Mars"], "no IANA time zone"),
        (["plan", "--from", "2026-03-02", "--to", "2026-03-01"], "no day lies between"),
        (["run"], "none is under way"),
        (["pause", "backfill-x"], "there is no backfill 'backfill-x'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    house: BuildHouse, fwd2bot: Run, words: list[str], complaint: str
) -> None:
    installation = house()
    code, _, error = fwd2bot(*words)
    assert (code, complaint in error) == (ExitCode.USAGE, True), error
    assert installation.ledger is not None


def test_old_tokens_are_dropped_after_a_look(
    house: BuildHouse,
    photos: Photos,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos(4)
    judged = {f"collections.{COLLECTION}.fidelity": {"sample": 1.0, "probes": ["whole ?"], "threshold": 0.0}}
    use_compressor(monkeypatch, FakeCompressor(k=4))
    old = house(**judged).spec(COLLECTION).short
    night(house(**judged))
    use_compressor(monkeypatch, FakeCompressor(k=2))
    worked(house(**judged), started(house(**judged), Scope(kind="ledger")))

    def drop(*words: str) -> str:
        config = ["--config", str(tmp_path / "fwd2bot.toml")]
        with pytest.raises(SystemExit) as ended:
            flows.cli.main(["tokens", "drop", "--compressor", old, *words, *config])
        assert not ended.value.code
        return capsys.readouterr().out

    assert "4 images" in drop()
    token = json.loads(drop("--json"))["token"]
    said = json.loads(drop("--yes", token, "--json"))
    assert (said["may_go"], said["dropped"], said["kept"]) == (4, True, {})
    assert "0 images" in drop()


def test_money_is_counted_at_the_price_of_the_settings(
    house: BuildHouse, photos: Photos, fwd2bot: Run
) -> None:
    photos(2)
    installation = house(prices={"gpu_hour": 3}, execution={"executor": "inline", "workers": 2})
    number = told(fwd2bot("start", "--money", "12", "--json"))["id"]
    assert read(installation.ledger, number).budget.seconds == 2 * 3600


def test_the_page_names_every_verb_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "backfill.md").read_text()
    verbs = {name for name in flows.cli.app["backfill"] if not name.startswith("-")}
    assert set(re.findall(r"fwd2bot backfill (\w+)", page)) == verbs
