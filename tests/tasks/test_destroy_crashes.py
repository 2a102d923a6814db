"""Whatever a store answers and wherever a run dies: nothing is ever wrong, and running again comes to the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.crashpoints import DESTROY_STEPS
from infra.retention_tables import disposition_lists
from tests.tasks.disposals import Template, World, crash_at, make_world
from tests.tasks.stormy import Crash

ANSWERS = (
    "as it should", "effect-timeout", "timeout", "forbidden", "missing", "lie", "deaf", "die-before", "die-after",
)  # fmt: skip
STEPS = [(step, nth) for step in DESTROY_STEPS for nth in ((1, 2) if step == "destroy.deleted" else (1,))]
ENDS = {"forbidden": "blocked"}  # of the item that was answered so; all others go in the end


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        yield Template(tmp_path_factory.mktemp("crashes"), patch, photos=2)


@pytest.fixture
def world(template: Template) -> Iterator[World]:
    made = template.world()
    made.may_go = set(made.numbers)
    made.list(made.numbers)
    yield made
    made.house.ledger.close()


def run_to_the_end(world: World, answer: str) -> None:
    """Again and again, as operations would, until nothing is left open."""
    for _ in range(4):
        try:
            world.try_run()
        except Crash:
            continue
        finally:
            assert world.violations() == []
    first = ENDS.get(answer, "destroyed")
    assert world.states() == [first, "destroyed"]


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer(world: World, answer: str) -> None:
    world.store.answers = {0: answer}
    run_to_the_end(world, answer)


@pytest.mark.slow
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(("step", "nth"), STEPS)
def test_every_answer_and_a_crash_after_every_step(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, nth: int, answer: str
) -> None:
    world.store.answers = {0: answer}
    crash_at(monkeypatch, step, nth)
    run_to_the_end(world, answer)


@pytest.mark.parametrize(
    "step", ["destroy.intended", "destroy.anchored", "destroy.deleted", "destroy.confirmed"]
)
def test_a_hold_that_comes_while_nobody_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """What is still there stays; what went before is gone, by an intent that was outside."""
    crash_at(monkeypatch, step)
    with pytest.raises(Crash):
        world.run()
    left = [number for number in world.numbers if world.present(number)]
    for number in world.numbers:
        world.hold(number)
    for _ in range(2):
        world.try_run()
        assert world.violations() == []
    assert [number for number in world.numbers if world.present(number)] == left
    assert world.states() == ["blocked" if number in left else "destroyed" for number in world.numbers]


@pytest.mark.parametrize("step", ["destroy.intended", "destroy.anchored", "destroy.deleted"])
def test_a_list_that_expires_while_nobody_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    crash_at(monkeypatch, step)
    with pytest.raises(Crash):
        world.run()
    left = [number for number in world.numbers if world.present(number)]
    world.write(disposition_lists.update().values(expires_at=disposition_lists.c.made_at))
    world.try_run()
    assert world.violations() == []
    assert world.states() == ["blocked" if number in left else "destroyed" for number in world.numbers]


def test_the_same_on_each_database(tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path / "w", ledger_url, monkeypatch, photos=2)
    world.may_go = set(world.numbers)
    world.list(world.numbers)
    world.store.answers = {0: "die-after", 1: "effect-timeout"}
    crash_at(monkeypatch, "destroy.confirmed")
    run_to_the_end(world, "")
    world.house.ledger.close()
