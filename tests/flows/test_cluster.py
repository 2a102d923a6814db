"""`fwd2bot cluster certs` as an operator and a script meet it; its commands really start a cluster in tests/infra."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.cli import main
from infra.settings import load_settings
from tests.houses import write_settings


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["cluster", "certs", *arguments])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_it_says_what_to_start_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my certs"
    code, out, _ = run(
        capsys, str(folder), "--host", "fd00::5", "--host", "scheduler.example", "--days", "30"
    )
    assert code == 0
    assert f"DASK_CONFIG='{folder}/dask.yaml' dask scheduler --protocol tls" in out
    assert "dask worker tls://[fd00::5]:8786 --resources GPU=1" in out
    assert "dask cuda worker tls://[fd00::5]:8786" in out
    assert f"--tls-key '{folder}/worker.key'" in out
    assert "copy there: client.pem, client.key, ca.pem" in out
    told = [
        line.strip() for line in out.splitlines() if line.strip().startswith(("executor", "certificates ="))
    ]
    settings = tmp_path / "fwd2bot.toml"
    write_settings(settings)
    settings.write_text(settings.read_text().replace('executor = "inline"', "\n".join(told)))
    execution = load_settings(settings).execution  # what it prints can be pasted
    assert (execution.executor, execution.certificates) == ("tls://[fd00::5]:8786", str(folder))


def test_json_names_files_and_never_the_authoritys_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, str(tmp_path / "certs"), "--json")
    said = json.loads(out)
    assert code == 0
    assert said["hosts"] == ["localhost", "127.0.0.1"]
    assert said["new_authority"] is True
    for names in said["files"].values():
        assert all((tmp_path / "certs" / name).is_file() for name in names)
        assert "ca.key" not in names


def test_a_second_time_needs_renew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, str(tmp_path / "certs"), "--host", "a.example")
    code, out, err = run(capsys, str(tmp_path / "certs"), "--host", "b.example")
    assert (code, out) == (2, "")
    assert err.startswith("fwd2bot: ")
    assert "--renew" in err
    assert len(err.strip().splitlines()) == 1
    code, out, _ = run(capsys, str(tmp_path / "certs"), "--renew", "--json")
    assert (code, json.loads(out)["hosts"]) == (0, ["a.example"])


def test_what_is_no_host_or_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, str(tmp_path / "certs"), "--host", "a b")[0] == 2
    assert run(capsys, str(tmp_path / "certs"), "--days", "0")[0] == 2
    assert not (tmp_path / "certs" / "ca.key").exists()
