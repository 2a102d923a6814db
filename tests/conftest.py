"""What several rooms share in tests: a clean environment, tiny photos, small houses, one server of each kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.installation import Installation
from infra.settings import load_settings
from tests.houses import lay_out, write_settings
from tests.servers import postgresql
from tests.servers.seaweedfs import S3Server, seaweedfs

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that reaches for a network fails
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["DO_NOT_TRACK"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # in their processes, too: tiny models, few cores


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[Callable[[], str]]:
    """``postgres_url()`` makes an empty database and names it; where no server is installed, the test is skipped."""
    if reason := postgresql.missing():
        pytest.skip(reason)
    with postgresql.postgresql() as server:
        yield server.make_database


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made: a test that asks for it runs once on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite"
    return str(request.getfixturevalue("postgres_url")())


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("FWD2BOT_"):
            monkeypatch.delenv(name)


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., list[Path]]:
    """``photos(count, start=0)`` lays tiny distinct JPEGs into the house's folder of originals."""
    return lambda count, start=0: lay_out(tmp_path / "photos", count, start=start)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """``house(night={"batch_size": 5})`` writes a settings file and opens the installation that it describes."""
    made: list[Installation] = []

    def build(**sections: Any) -> Installation:
        (tmp_path / "photos").mkdir(exist_ok=True)
        made.append(Installation(load_settings(write_settings(tmp_path / "fwd2bot.toml", **sections))))
        return made[-1]

    yield build
    for installation in made:
        if "ledger" in installation.__dict__:
            installation.ledger.close()
