"""Every command of docs/runbook.md that stands in a marked block is run, in its order, and ends as it says there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.cli import main
from infra.database import open_ledger
from tests.houses import lay_out, write_settings

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(
    r"^```sh ([\w-]+)\n(.*?)^```", (DOCS / "runbook.md").read_text(), re.DOTALL | re.MULTILINE
)
EXPECTED = re.compile(r"#\s*exit code (\d)")
KNOWN = {"run", "drill", "after-a-later-night", "postgresql", "postgresql-restore", "postgresql-password"}


def lines(kind: str) -> list[str]:
    return [line for found, text in BLOCKS if found == kind for line in text.splitlines() if line.strip()]


def execute(line: str) -> None:
    """One line: ours in this process, since it was started often enough in other tests; others by the shell."""
    said = EXPECTED.search(line)
    expected = int(said[1]) if said else 0
    words = shlex.split(line, comments=True)
    if words[0] == "fwd2bot":
        with pytest.raises(SystemExit) as ended:
            main(words[1:])
        code = ended.value.code
    else:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-euc", line], env=environment, capture_output=True, text=True, timeout=60
        )
        code = done.returncode
    assert code == expected, line


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which nights run, with three photos, and an anchor."""
    lay_out(tmp_path / "photos", 3)
    (tmp_path / "vault").mkdir()
    write_settings(
        tmp_path / "fwd2bot.toml",
        audit__anchors__vault={"kind": "directory", "place": str(tmp_path / "vault")},
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_runbook_from_its_beginning_to_its_end(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in lines("run"):
        execute(line)
    drill = site / "drill"
    shutil.copytree(site / "backup", drill)
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(drill)
        for line in lines("drill"):
            execute(line)


def test_a_ledger_that_is_older_than_its_archive_is_put_back(site: Path) -> None:
    execute("fwd2bot night --direct")
    [backup] = [line for line in lines("run") if "VACUUM INTO" in line]
    execute("mkdir -p backup")
    execute(backup)
    lay_out(site / "photos", 2, start=3)
    execute("fwd2bot night --direct")
    for line in lines("after-a-later-night"):
        execute(line)
    ledger = open_ledger(f"sqlite:///{site}/ledger.sqlite")
    with ledger.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM summaries").scalar_one() == 5
    ledger.close()


def test_a_ledger_in_postgresql(
    site: Path, postgres_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed: apt-get install postgresql-client")
    url = sa.make_url(postgres_url())
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("LEDGER", plain)
    monkeypatch.setenv("FWD2BOT_ARCHIVE__LEDGER", url.render_as_string(hide_password=False))
    execute("fwd2bot night --direct")
    for line in lines("postgresql"):
        execute(line)
    execute("psql \"$LEDGER\" -c 'CREATE ROLE runbook_app LOGIN'")
    try:
        for line in (*lines("postgresql-restore"), *lines("postgresql-password")):
            execute(line)
    finally:
        execute("psql \"$LEDGER\" -c 'DROP ROLE runbook_app'")
    execute("fwd2bot night --direct")
    execute("fwd2bot audit verify")


def test_every_block_has_its_test() -> None:
    assert {kind for kind, _ in BLOCKS} == KNOWN


def test_links_lead_somewhere() -> None:
    text = (DOCS / "runbook.md").read_text()
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, heading = target.partition("#")
        page = (DOCS / file).read_text() if file else text
        titles = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
                  for line in page.splitlines() if line.startswith("#")}  # fmt: skip
        assert not heading or heading in titles, target
