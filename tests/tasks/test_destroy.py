"""Originals go when everything says so, and then it is certain; else they stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tasks.disposals import World, make_world

Build = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = make_world(tmp_path, ledger_url, monkeypatch)
    made.may_go = set(made.numbers)
    yield made
    made.house.ledger.close()


def test_what_may_go_goes(world: World) -> None:
    world.list(world.numbers)
    done = world.run()
    assert (done.destroyed, done.kept, done.unknown, done.waiting, done.done) == (3, 0, 0, {}, True)
    assert world.states() == ["destroyed"] * 3
    assert world.violations() == []
    assert not any(map(world.present, world.numbers))
