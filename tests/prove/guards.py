"""Remove each single guard of destruction, and see what goes wrong: ``python -m tests.prove.guards``.

A guard is one question in ``tasks.destroy_checks``; each has scenarios in which it alone stands in the way of an
original. Every scenario runs twice in a site of its own: with all guards, where nothing may be wrong, and without that
one, where something must be. Writes ``guards.md`` with the test that fails for each. Takes a minute.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cyclopts
import pytest

from tasks import destroy_checks
from tests.bench import machine
from tests.tasks.destroy_scenarios import SCENARIOS, Scenario
from tests.tasks.disposals import Template, without
from tests.tasks.stormy import Crash

TEST = "tests/tasks/test_destroy_checks.py::test_nothing_is_wrong_with_all_guards"
app = cyclopts.App(name="guards", help=__doc__)


@dataclass(frozen=True)
class Tried:
    """One scenario with all guards, and without its own."""

    guard: str
    question: str
    scenario: str
    with_all: list[str]  # what was wrong
    without: list[str]

    @property
    def shown(self) -> bool:
        """Whether the guard, and nothing else, keeps the original."""
        return not self.with_all and bool(self.without)


@app.default
def main(
    *, out: Annotated[Path, cyclopts.Parameter(help="Folder of guards.md.")] = Path("docs/evidence")
) -> int:
    """Try every scenario. Exit code 1 if a guard could be removed and no test would notice."""
    with (
        tempfile.TemporaryDirectory(prefix="fwd2bot-guards-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        tried = list(every(Template(Path(folder), patch)))
    out.mkdir(parents=True, exist_ok=True)
    (out / "guards.md").write_text(page(tried))
    idle = sorted(
        {guard.__name__ for guard in destroy_checks.GUARDS} - {one.guard for one in tried if one.shown}
    )
    print(f"{len(destroy_checks.GUARDS)} guards, {len(tried)} scenarios; not shown: {idle or 'none'}")
    return int(bool(idle) or not all(one.shown for one in tried))


def every(template: Template) -> Iterator[Tried]:
    """Each scenario of each guard, in the order in which they are asked."""
    for guard in destroy_checks.GUARDS:
        for scenario in SCENARIOS[guard]:
            question = " ".join((guard.__doc__ or "").split("\n\n")[0].split())
            with_all, alone = (_wrong(template, scenario, removed) for removed in (None, guard))
            yield Tried(guard.__name__, question, scenario.__name__, with_all, alone)


def _wrong(template: Template, scenario: Scenario, removed: Callable[..., None] | None) -> list[str]:
    world = template.world()
    try:
        with pytest.MonkeyPatch.context() as patch:
            if removed is not None:
                without(patch, removed)
            with suppress(Crash):
                scenario(world, patch)
        return world.violations()
    finally:
        world.house.ledger.close()


def page(tried: list[Tried]) -> str:
    """As Markdown."""
    about, shown = machine.describe(), sum(one.shown for one in tried)
    lines = [
        "# Each guard of destruction, removed",
        "",
        f"Made by `python -m tests.prove.guards` at commit {about['commit']}: {len(destroy_checks.GUARDS)} guards in "
        f"`tasks/destroy_checks.py`, {shown} of {len(tried)} scenarios go wrong without their guard and only then.",
        "",
        f"The test that fails when a guard is removed is `{TEST}[scenario]`; that each scenario does go wrong without "
        "its guard is a test, too (`test_something_is_wrong_without_this_one`).",
        "",
        "| guard | what it asks | scenario | without it |",
        "|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, tried)]) + "\n"


def _line(one: Tried) -> str:
    counted = Counter(
        part.split(": ", 1)[-1] for part in set(one.without)
    )  # each begins with an original's number
    said = "; ".join(f"{count} x {what}" for what, count in sorted(counted.items())) or "NOTHING GOES WRONG"
    if one.with_all:
        said = f"WRONG WITH ALL GUARDS: {'; '.join(one.with_all)}"
    cells = (f"`{one.guard}`", one.question, one.scenario.replace("_", " "), said)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    raise SystemExit(app())
