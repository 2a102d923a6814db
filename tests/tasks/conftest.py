"""What the tests of single steps share: an anchored log, a site whose originals may go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.installation import Installation
from tests.tasks.audit_logs import anchored
from tests.tasks.disposals import World, open_world
from tests.tasks.erasures import Place


@pytest.fixture
def log(house: Callable[..., Installation], tmp_path: Path) -> Installation:
    """600 events, signed and anchored at three sizes; on SQLite."""
    return anchored(house, tmp_path)


@pytest.fixture
def log_on_each(house: Callable[..., Installation], ledger_url: str, tmp_path: Path) -> Installation:
    """The same on both databases."""
    return anchored(house, tmp_path, archive={"ledger": ledger_url})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Every original in it may go, on SQLite."""
    with open_world(tmp_path / "w", monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def erasure_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """What ``place`` is put back to: made once for the tests of a file."""
    with pytest.MonkeyPatch.context() as patch:
        yield Place(tmp_path_factory.mktemp("erase"), patch)


@pytest.fixture
def place(erasure_template: Place) -> Iterator[World]:
    """Three photos and a copy of one, somebody who plans erasures and somebody who signs them; on SQLite."""
    made = erasure_template.world()
    yield made
    made.house.ledger.close()
