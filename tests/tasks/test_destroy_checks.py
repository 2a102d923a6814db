"""Each guard stops what it is there for; and without it, with all others in place, an original is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fwd2bot_core.retention.disposition import ItemState
from tasks import destroy_checks as checks
from tests.tasks.destroy_scenarios import SCENARIOS, Scenario
from tests.tasks.disposals import Template, World, without


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        yield Template(tmp_path_factory.mktemp("checks"), patch)


@pytest.fixture
def world(template: Template) -> Iterator[World]:
    made = template.world()
    yield made
    made.house.ledger.close()


CASES = [(guard, scenario) for guard, found in SCENARIOS.items() for scenario in found]


@pytest.mark.parametrize(("guard", "scenario"), CASES, ids=[case[1].__name__ for case in CASES])
def test_nothing_is_wrong_with_all_guards(
    world: World, monkeypatch: pytest.MonkeyPatch, guard: Callable[..., None], scenario: Scenario
) -> None:
    scenario(world, monkeypatch)
    assert world.violations() == []


@pytest.mark.slow
@pytest.mark.parametrize(("guard", "scenario"), CASES, ids=[case[1].__name__ for case in CASES])
def test_something_is_wrong_without_this_one(
    world: World, monkeypatch: pytest.MonkeyPatch, guard: Callable[..., None], scenario: Scenario
) -> None:
    without(monkeypatch, guard)
    scenario(world, monkeypatch)
    assert world.violations() != []


def test_every_guard_has_its_scenario() -> None:
    assert set(SCENARIOS) == set(checks.GUARDS)
    assert len(checks.GUARDS) == len(set(checks.GUARDS))


def test_what_is_kept_says_why() -> None:
    kept = checks.Kept(ItemState.BLOCKED, "hold", "1 legal holds")
    assert (str(kept), kept.state, kept.reason) == ("blocked: hold 1 legal holds", ItemState.BLOCKED, "hold")
