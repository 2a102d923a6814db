"""The list of runs: what an outcome depends on, what is run again and what is not, and what is concluded."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fwd2bot_core.compressor.training.course import Course, Lesson
from fwd2bot_core.errors import TrainingStopped
from tests.prove.rivals import outcome, plan, running, tables
from tests.prove.rivals.__main__ import publish
from tests.prove.rivals.plan import Settings
from tests.prove.rivals.running import Place, complete, held

RUN = plan.Run("ours", "ours", (1, 2), 4)


class Method:
    """One number to learn."""

    net = None

    def __init__(self) -> None:
        self.p = torch.nn.Parameter(torch.zeros(()), requires_grad=False)

    def learns(self) -> dict[str, torch.nn.Parameter]:
        return {"p": self.p}

    def rates(self) -> dict[str, float]:
        return {}

    def to(self, device: str) -> None:
        assert device == "cpu"


class nothing:
    def __init__(self, *_: object) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place without a bundle, pictures or network; its exam's marks are what was learned."""
    made = Place("nowhere", Settings(), tmp_path / "work", tmp_path / "out")
    made.__dict__.update(base="b" * 64, fingerprint="f" * 64, origin=None, bench=None)
    methods: list[Method] = []

    def make(*_: object) -> Method:
        methods.append(Method())
        return methods[-1]

    def lessons(*_: object) -> Course:
        p = methods[-1].p
        return Course(
            {"p": p},
            lambda step: Lesson((), {"step": torch.tensor(step)}),
            lambda lesson: {"loss": (p - 1 - lesson["step"]) ** 2},
        )

    def examine(place: Place, run: plan.Run, method: Method) -> dict[str, Any]:
        return {str(k): {"all": float(method.p.detach())} for k in run.serves}

    monkeypatch.setattr(running.methods, "make", make)
    monkeypatch.setattr(running, "lessons", lessons)
    monkeypatch.setattr(running, "_examine", examine)
    monkeypatch.setattr(running, "made_faster", nothing)
    monkeypatch.setattr(running.machine, "describe", lambda: {"processor": "a machine", "commit": "abc"})
    return made


def test_a_key_changes_with_all_that_the_outcome_depends_on() -> None:
    settings = Settings()
    first = plan.key(RUN, settings, "base")
    others = [
        plan.key(replace(RUN, steps=5), settings, "base"),
        plan.key(replace(RUN, seed=2), settings, "base"),
        plan.key(replace(RUN, contrast=True), settings, "base"),
        plan.key(replace(RUN, batch=16), settings, "base"),
        plan.key(RUN, replace(settings, trays=40), "base"),
        plan.key(RUN, replace(settings, pictures=40), "base"),
        plan.key(RUN, replace(settings, lead=0.1), "base"),
        plan.key(RUN, settings, "another"),
    ]
    assert len({first, *others}) == 9
    assert first == plan.key(RUN, replace(settings, short_steps=9), "base")  # its steps are said by the run


def test_the_list_is_whole_and_its_names_are_unlike() -> None:
    runs = plan.runs(Settings(steps=7, short_steps=3))
    names = [run.name for run in runs]
    assert len(names) == len(set(names)) == 7 + 15
    assert {run.steps for run in plan.chosen(runs, "ablation-*")} == {3}
    assert {run.method for run in runs} <= set(running.methods.METHODS)
    assert {run.serves for run in plan.chosen(runs, "ablation-*")} == {(9,)}
    alone = next(run for run in runs if run.name == "ablation-contrast-2")
    assert (alone.answers, alone.contrast, alone.seed) == (False, True, 2)
    assert next(run for run in runs if run.name == "twin").steps == plan.TWIN_STEPS


def test_a_run_leaves_evidence_and_is_not_run_again_under_the_same_key(place: Place) -> None:
    assert complete(place, RUN)
    said = json.loads((place.out / "rivals" / "ours.json").read_text())
    assert said["key"] == place.key(RUN)
    assert said["run"]["steps"] == 4
    assert set(said["at"]) == {"1", "2"}
    assert not complete(place, RUN)
    longer = replace(RUN, steps=6)
    assert place.evidence(longer) is None
    assert complete(place, longer)
    assert not list(place.work.rglob("checkpoint.pt"))


def test_a_stopped_run_goes_on_to_the_same_end(place: Place, tmp_path: Path) -> None:
    assert complete(place, RUN)
    whole = place.evidence(RUN)
    (place.out / "rivals" / "ours.json").unlink()
    steps = 0
    while True:  # a deadline that is over lets one step through
        try:
            assert complete(place, RUN, until=time.monotonic())
            break
        except TrainingStopped:
            steps += 1
            assert list(place.work.rglob("checkpoint.pt"))
    assert steps == RUN.steps - 1
    again = place.evidence(RUN)
    assert whole is not None
    assert again is not None
    assert again["at"] == whole["at"]
    assert whole["at"]["1"]["all"] > 0


def test_the_twin_leaves_what_it_learned(place: Place) -> None:
    run = plan.Run("twin", "twin", (plan.ALL,), 2)
    assert complete(place, run)
    kept = torch.load(place.work / place.key(run) / "twin.pt", weights_only=True)
    evidence = place.evidence(run)
    assert evidence is not None
    assert float(kept["p"]) == pytest.approx(evidence["at"]["144"]["all"])


def test_what_another_process_is_at_is_left_to_it(place: Place) -> None:
    with held(place.work / "ours.lock") as mine:
        assert mine
        assert not complete(place, RUN)
    assert place.evidence(RUN) is None
    (place.work / "ours.lock").write_text("999999\n")  # a process that died long ago
    assert complete(place, RUN)


def test_pages_say_what_is_there_and_what_is_not(place: Place) -> None:
    publish(place)
    page = (place.out / "rivals.md").read_text()
    assert page.count("not run yet") >= 6
    assert "meets" not in page
    assert "misses" not in page
    assert complete(place, replace(RUN, serves=plan.PREFIXES, steps=Settings().steps, contrast=True))
    publish(place)
    again = (place.out / "rivals.md").read_text()
    assert again.count("not run yet") < page.count("not run yet")
    assert "not run yet" in (place.out / "ablations.md").read_text()
    assert json.loads((place.out / "rivals.json").read_text())["met"] is None
    for name in ("rivals.svg", "ablations.svg"):
        assert b"<svg" in (place.out / name).read_bytes()


def test_tokens_needed_are_interpolated_in_log_k() -> None:
    assert outcome.needed({1: 0.2, 4: 0.6, 16: 0.8}, 0.7) == pytest.approx(8)
    assert outcome.needed({1: 0.2, 4: 0.6}, 0.6) == pytest.approx(4)
    assert outcome.needed({1: 0.9, 4: 0.95}, 0.7) == 1  # it may need less than was tried
    assert outcome.needed({1: 0.2, 36: 0.69}, 0.7) == plan.ALL
    assert outcome.needed({16: 0.8, 1: 0.8, 4: 0.5}, 0.7) == 1
    assert outcome.needed({1: 0.2, 2: 0.4, 4: 0.4, 8: 0.8}, 0.6) == pytest.approx(math.sqrt(32))


def evidence(points: dict[int, float], r1: float = 0.0) -> dict[str, Any]:
    return {"at": {str(k): {"all": a, "r1": r1} for k, a in points.items()}, "learned": 10}


def every_run() -> dict[str, Any]:
    rivals = {name: evidence({1: 0.2, 4: 0.4, 9: 0.5, 16: 0.6, 36: 0.89}) for name in plan.RIVALS}
    rivals["querying"] = evidence({1: 0.3, 4: 0.7, 9: 0.8, 16: 0.9, 36: 0.9})
    return {
        "base": evidence({plan.ALL: 0.9}),
        "twin": evidence({plan.ALL: 0.92}),
        "ours": evidence({1: 0.6, 2: 0.8, 4: 0.89, 9: 0.9}),
        **rivals,
    }


def test_the_ratio_is_to_the_best_rival_and_is_judged_when_all_have_run() -> None:
    found = every_run()
    told = outcome.against_rivals(found)
    assert told["best_rival"] == "querying"
    ours = outcome.needed({2: 0.8, 4: 0.89}, 0.882)
    best = outcome.needed({9: 0.8, 16: 0.9}, 0.882)
    assert told["ratio"] == pytest.approx(ours / best)
    assert told["met"] is True
    assert "meets the goal" in tables.rivals_page(told, Settings(), "")
    found["resizing"] = None
    told = outcome.against_rivals(found)
    assert told["missing"] == ["resizing"]
    assert told["met"] is None
    never = outcome.against_rivals(every_run() | {"ours": evidence({1: 0.1, 9: 0.2})})
    assert never["met"] is False
    assert "never (144)" in tables.rivals_page(never, Settings(), "")


def test_orderings_are_stated_plainly() -> None:
    means = {"both": 0.8, "answers": 0.81, "contrast": 0.1, "one-adapter": 0.7, "single-pass": 0.6}
    found = every_run() | {
        f"ablation-{variant}-{seed}": evidence({4: accuracy + (seed - 2) * 0.01}, r1=1 - accuracy)
        for variant, accuracy in means.items()
        for seed in plan.SEEDS
    }
    told = outcome.ablations(found, outcome.against_rivals(found))
    by_name = {one["said"]: one for one in told["orderings"]}
    close = by_name["both losses answer at least as well as answers alone"]
    assert close["holds"] is False
    assert close["text"].startswith(
        "does not hold here: -0.010, which is within the spread of the seeds (0.014)"
    )
    clear = by_name["a double pass answers at least as well as a single one"]
    assert (clear["holds"], clear["text"]) == (True, "holds: +0.200")
    assert by_name["two adapters search at least as well as one"]["holds"] is False
    double = told["orderings"][-1]
    assert double["holds"] is True
    assert "ours 0.890 with 4, querying 0.800 with 9" in double["text"]
    assert told["variants"]["both"]["answers"]["spread"] == pytest.approx(0.01)
    del found["ablation-both-3"]
    told = outcome.ablations(found, outcome.against_rivals(found | {"pooling": None}))
    assert {one["text"] for one in told["orderings"]} == {"not run yet"}
    assert told["variants"]["both"]["seeds"] == 2
