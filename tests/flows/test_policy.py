"""The verbs about policies, as somebody types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import infra.installation
from flows.cli import main
from fwd2bot_core.errors import ExitCode
from infra.installation import Installation
from tests.core.retention.policies import TEXT
from tests.houses import COLLECTION, night

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["policy", *words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "line-1.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def compressed(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], file: Path
) -> Installation:
    photos(4)
    installation = house()
    night(installation)
    compressor = installation.spec(COLLECTION).fingerprint
    file.write_text(TEXT.replace("c" * 64, compressor).replace("trigger: captured", "trigger: first_seen"))
    return installation


def said_as_json(out: str) -> Any:
    return json.loads(out)


def test_check_says_what_it_means_without_an_archive(run: Run, file: Path) -> None:
    code, out, _ = run("check", str(file))
    assert code == ExitCode.OK
    assert out.startswith("ok  line-1-originals, version 1, sha256 ")
    assert "stay for 7 years after the calendar year in which they were taken" in " ".join(out.split())
    _, out, _ = run("check", str(file), "--json")
    assert said_as_json(out)["policy"]["version"] == 1


def test_a_wrong_file_is_one_sentence_and_exit_code_2(run: Run, file: Path) -> None:
    file.write_text(TEXT.replace("P7Y", "7 years"))
    code, out, err = run("check", str(file))
    assert (code, out) == (ExitCode.USAGE, "")
    assert (
        err
        == f"fwd2bot: {file}: rules.0.retain: '7 years' is no period such as P7Y, P6M, P1Y6M, P8W or P30D\n"
    )
    assert run("check", str(file.with_name("none.yaml")))[0] == ExitCode.USAGE
    assert "cannot be read: Is a directory" in run("check", str(file.parent))[2]


def test_the_schema_is_json(run: Run) -> None:
    code, out, _ = run("schema")
    assert (code, said_as_json(out)["title"]) == (ExitCode.OK, "Policy")


def test_diff_names_fields_and_what_lets_more_go(run: Run, file: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.yaml"
    new.write_text(TEXT.replace("P7Y", "P5Y").replace("version: 1", "version: 2"))
    code, out, _ = run("diff", str(file), str(new), "--json")
    found = said_as_json(out)
    assert code == ExitCode.OK
    assert [one["where"] for one in found["differences"]] == ["version", "rules.trays.retain"]
    assert [one["where"] for one in found["lets_more_go"]] == ["rules.trays"]
    assert "lets more go" in run("diff", str(file), str(new))[1]
    assert "nothing of this lets more go" in run("diff", str(new), str(file))[1]
    assert "both say the same" in run("diff", str(new), str(new))[1]
    new.write_text(TEXT.replace("id: line-1-originals", "id: other"))
    assert run("diff", str(file), str(new))[0] == ExitCode.USAGE


def test_simulate_counts_and_says_what_keeps_photos(run: Run, file: Path, compressed: Installation) -> None:
    code, out, _ = run("simulate", str(file), "--as-of", "2040-01-01", "--json")
    found = said_as_json(out)
    assert code == ExitCode.OK
    assert found["as_of"] == "2039-12-31T15:00:00.000000Z"  # the day begins in the policy's zone
    assert (found["photos"]["objects"], found["may_go"]["now"]["objects"]) == (4, 0)
    assert found["stopped"]["fidelity"]["all"]["objects"] == 4
    assert found["stopped"]["period"]["all"]["objects"] == 0
    text = run("simulate", str(file))[1]
    assert "what keeps photos" in text
    assert "period" in text


def test_a_time_that_names_no_zone_is_refused(run: Run, file: Path, compressed: Installation) -> None:
    for wrong in ("2040-01-01T09:00", "soon", "2040-13-01"):
        assert run("simulate", str(file), "--as-of", wrong)[0] == ExitCode.USAGE
    code, out, _ = run("simulate", str(file), "--as-of", "2040-01-01T09:00+09:00", "--json")
    assert (code, said_as_json(out)["as_of"]) == (ExitCode.OK, "2040-01-01T00:00:00.000000Z")


def test_explain_shows_every_condition(run: Run, file: Path, compressed: Installation) -> None:
    code, out, _ = run("explain", "0001.jpg", "--policy", str(file), "--json")
    (found,) = said_as_json(out)
    assert code == ExitCode.OK
    assert found["decision"]["may_go"] is False
    assert {one["condition"] for one in found["decision"]["reasons"]} >= {
        "period",
        "hold",
        "store",
        "rollout",
    }
    assert "STAYS" in run("explain", "0001.jpg", "--policy", str(file))[1]
    assert "no policy in force" in run("explain", "0001.jpg")[1]
    assert run("explain", "unknown.jpg")[0] == ExitCode.FAILED


def test_a_template_is_a_policy_and_nothing_is_listed_yet(
    run: Run, compressed: Installation, tmp_path: Path
) -> None:
    code, out, _ = run("template", COLLECTION)
    (tmp_path / "first.yaml").write_text(out)
    assert code == ExitCode.OK
    assert run("check", str(tmp_path / "first.yaml"))[0] == ExitCode.OK
    assert said_as_json(run("template", "--json")[1])["yaml"] == out
    assert said_as_json(run("list", "--json")[1]) == []


def test_checking_opens_no_installation(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.installation, "Installation", None)
    for words in (["check", str(file)], ["schema"], ["diff", str(file), str(file)]):
        assert run(*words)[0] == ExitCode.OK
