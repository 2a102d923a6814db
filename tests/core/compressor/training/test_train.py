from __future__ import annotations

import json
import os
import signal

import pytest
import safetensors.torch
import torch

from fwd2bot_core.compressor import bundle, manifest
from fwd2bot_core.compressor.training import config as settings
from fwd2bot_core.compressor.training import provenance
from fwd2bot_core.compressor.training.train import STATE, Screen, train
from fwd2bot_core.compressor.view import View
from fwd2bot_core.errors import SettingsError, TrainingFailed, TrainingStopped, UsageError
from tests.core.compressor import models
from tests.core.compressor.training import worlds

PROBES = ["describe .", "is there a bag ?"]
BASE_METHOD = worlds.replace(models.METHOD, max_new_tokens=6)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    worlds.write(folder, 12)
    base = models.saved(folder / "base", BASE_METHOD)
    bundle.add_files(base, {bundle.PROBES: manifest.canonical({"probes": [], "fidelity_probes": PROBES})})
    with pytest.MonkeyPatch.context() as patch:  # somebody may commit while this runs
        patch.setattr(provenance, "_commit", lambda: "c0ffee")
        yield folder


def configured(world, output, training=(), **sections):
    values = {
        "base": "base",
        "name": "tuned",
        "output": str(output),
        "data": {"train": ["data.jsonl"], "held_out": 0.3, **sections.pop("data", {})},
        "method": {"nested_k": [1], **sections.pop("method", {})},
        "losses": sections.pop("losses", {}),
        "training": {
            "steps": 6,
            "batch": 3,
            "contrastive_batch": 5,
            "chunk": 2,
            "rate": 0.01,
            "seed": 20261124,
        }
        | {"report_every": 2, "checkpoint_seconds": 0, **dict(training)},
        **sections,
    }
    return settings.parse(values, world)


class Told(Screen):
    """Remembers what it is told, and interrupts or fails where it is asked to."""

    def __init__(self, at: int = -1, what=None):
        self.steps, self.notes, self.examinations = [], [], []
        self._at, self._what = at, what

    def stepped(self, recipe, progress):
        self.steps.append(progress.step)
        if progress.step == self._at:
            self._what()

    def reported(self, recipe, progress, values):
        pass

    def noted(self, note):
        self.notes.append(note)

    def examined(self, done, total):
        self.examinations.append((done, total))


def adapters(output):
    return safetensors.torch.load_file(output / "bundle" / bundle.ADAPTERS)


@pytest.fixture(scope="module")
def trained(world):
    output = world / "whole"
    screen = Told()
    return train(configured(world, output), screen), output, screen


def test_a_training_ends_in_a_bundle_that_says_how_it_was_made(trained, world):
    made, output, screen = trained
    loaded = bundle.load_bundle(made.bundle)
    base = bundle.load_bundle(world / "base")
    assert bundle.self_check(loaded) == []
    assert loaded.method.merged is base.method.merged is True
    assert (loaded.spec.k, loaded.method.trained_k, loaded.spec.name) == (3, (1,), "tuned")
    assert loaded.at(View(k=1)).spec.k == 1
    assert (
        list(loaded.fidelity_probes) == PROBES
    )  # the base's, not what the held-out images happen to be asked
    figures = json.loads((made.bundle / "evaluation.json").read_text())
    assert figures == made.figures
    assert figures["fingerprint"] == loaded.spec.fingerprint != base.spec.fingerprint
    assert figures["training"]["base_fingerprint"] == base.spec.fingerprint
    assert figures["training"]["steps"] == 6
    assert figures["data"]["images"] + figures["data"]["held_out"] == 12
    asked = 2 * figures["data"]["held_out"]
    assert figures["accuracy"]["all"]["questions"] == asked == screen.examinations[-1][1]
    assert set(figures["accuracy"]) == {"all", "count", "cell"}
    assert set(figures["accuracy"]["all"]["from_tokens"]) == set(figures["recall_at_1"]) == {"3", "1"}
    card = (made.bundle / "MODEL_CARD.md").read_text()
    for said in (
        loaded.spec.fingerprint,
        "Seed 20261124",
        "6 of 6 steps",
        "data.jsonl",
        figures["origin"]["commit"],
    ):
        assert said in card
    assert (made.bundle / "loss.svg").read_bytes().startswith(b"<?xml")
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[0].keys() == {"step", "seconds", "answers", "contrast"}


def test_fine_tuning_moves_adapters_and_summary_tokens_and_nothing_else(trained, world):
    made, output, _ = trained
    for name in (bundle.WEIGHTS, bundle.WORDS):
        assert (made.bundle / name).read_bytes() == (world / "base" / name).read_bytes()
    before = safetensors.torch.load_file(world / "base" / bundle.ADAPTERS)
    after = adapters(output)
    assert before.keys() == after.keys()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    moved = max((before[name] - after[name]).abs().max() for name in before)
    assert moved < 0.1  # they began where the base's were


class Killed(BaseException):
    """Nobody catches it, and nothing is saved on its way."""


def die(*_: object) -> None:
    raise Killed


def killed(run, screen):
    with pytest.raises(Killed):
        train(run, screen)


def test_a_training_that_is_killed_goes_on_to_the_same_bytes(trained, world, tmp_path, monkeypatch):
    """After a step without checkpoint, while a checkpoint is written, and while the bundle is examined."""
    run = configured(world, tmp_path / "run")
    killed(run, Told(2, die))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        killed(run, Told())
    assert (tmp_path / "run" / "state.partial").exists()
    screen = Told()
    screen.examined = die
    killed(run, screen)
    assert screen.steps == [2, 3, 4, 5, 6]  # the first step's checkpoint is whole
    assert not (tmp_path / "run" / "bundle").exists()
    last = Told()
    train(run, last)
    assert last.steps == []
    _, output, _ = trained
    for name in (bundle.ADAPTERS, bundle.PROBES, bundle.METHOD, "loss.svg"):
        assert (tmp_path / "run" / "bundle" / name).read_bytes() == (output / "bundle" / name).read_bytes()
    lines = [json.loads(line)["step"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert lines == [2, 4, 6]


def test_an_interrupt_saves_and_says_how_to_go_on(trained, world, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        TrainingStopped, match=r"stopped after step 4 and saved in .*run the same command again"
    ):
        train(
            configured(world, tmp_path / "run", {"checkpoint_seconds": 1000}),
            Told(3, lambda: os.kill(os.getpid(), signal.SIGINT)),
        )
    assert signal.getsignal(signal.SIGINT) is before
    screen = Told()
    train(configured(world, tmp_path / "run"), screen)
    assert screen.steps == [5, 6]
    assert all(torch.equal(p, adapters(tmp_path / "run")[name]) for name, p in adapters(trained[1]).items())


def test_a_finished_training_only_writes_its_bundle_again(trained, world):
    made, output, _ = trained
    before = {path.name: path.read_bytes() for path in made.bundle.iterdir()}
    screen = Told()
    train(configured(world, output), screen)
    assert screen.steps == []
    assert {path.name: path.read_bytes() for path in made.bundle.iterdir()} == before


def test_an_output_of_another_training_is_refused(trained, world):
    with pytest.raises(UsageError, match=r"another training.rate \(0.01, now 0.02\)"):
        train(configured(world, trained[1], {"rate": 0.02}), Told())


def test_a_loss_that_is_no_number_ends_it_and_names_the_step(world, tmp_path):
    with pytest.raises(TrainingFailed, match=r"answers is nan at step \d+; the last checkpoint is whole"):
        train(configured(world, tmp_path / "run", {"rate": 1.0, "steps": 200, "weight_decay": 1e30}), Told())


def test_a_checkpoint_that_is_none_is_refused(world, tmp_path):
    run = configured(world, tmp_path / "run")
    with pytest.raises(TrainingStopped):
        train(run, Told(1, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    state = tmp_path / "run" / STATE
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(TrainingFailed, match="is no checkpoint of this training"):
        train(run, Told())


def test_more_tokens_and_other_adapters_can_be_begun(world, tmp_path):
    longer = configured(world, tmp_path / "a", {"steps": 1}, method={"k": 5, "nested_k": [3, 1]})
    train(longer, Told())
    loaded = bundle.load_bundle(tmp_path / "a" / "bundle")
    assert (loaded.spec.k, loaded.method.trained_k) == (5, (3, 1))
    fresh = configured(world, tmp_path / "b", {"steps": 1}, method={"fresh": True, "rank": 4, "k": 2})
    train(fresh, Told())
    assert bundle.load_bundle(tmp_path / "b" / "bundle").method.rank == 4
    with pytest.raises(SettingsError, match=r"leave both out, or set method\.fresh"):
        train(configured(world, tmp_path / "c", method={"rank": 4}), Told())
    with pytest.raises(SettingsError, match=r"method\.nested_k: 4 is more than k, which is 3"):
        train(configured(world, tmp_path / "d", method={"nested_k": [4]}), Told())


def test_bfloat16_learns_by_float32_masters(world, tmp_path):
    """Steps of a hundred-thousandth are lost in bfloat16 one by one, and add up in the masters."""
    run = configured(
        world,
        tmp_path / "run",
        {"dtype": "bfloat16", "rate": 1e-5, "steps": 3, "train": ["adapters", "projector"]},
    )
    train(run, Told())
    state = torch.load(tmp_path / "run" / STATE, weights_only=True)["parameters"]
    assert {p.dtype for p in state.values()} == {torch.float32}
    tokens = adapters(tmp_path / "run")["summary_tokens"]
    assert tokens.dtype == torch.bfloat16
    assert torch.equal(tokens, state["summary_tokens"].bfloat16())
    assert not torch.equal(tokens.float(), state["summary_tokens"])


def test_images_that_cannot_be_read_are_skipped_and_listed_up_to_a_limit(tmp_path):
    worlds.write(tmp_path, 12)
    models.saved(tmp_path / "base", BASE_METHOD)
    for number in range(12):
        if number % 4 == 0:
            (tmp_path / "images" / f"{number}.png").write_bytes(b"no image")
    made = train(configured(tmp_path, tmp_path / "a", {"steps": 8}), Told())
    bad = set(made.figures["data"]["unreadable"])
    assert bad
    assert bad <= {"0.png", "4.png", "8.png"}
    assert f"{len(bad)} could not be read" in (made.bundle / "MODEL_CARD.md").read_text()
    with pytest.raises(
        TrainingFailed, match=r"1 images cannot be used, and data.unreadable is 0: .*\.png \(not_an_image"
    ):
        train(configured(tmp_path, tmp_path / "b", {"steps": 8}, data={"unreadable": 0}), Told())


def test_words_that_the_model_does_not_know_are_told(world, tmp_path):
    rows = [row | {"question": "any whatsits ?"} if "question" in row else row for row in worlds.rows(12)]
    (world / "strange.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    screen = Told(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingStopped):
        train(configured(world, tmp_path / "run", data={"train": ["strange.jsonl"]}), screen)
    assert "'whatsits' (24 times)" in screen.notes[0]


def test_held_out_images_are_in_no_training_file(world, tmp_path):
    with pytest.raises(UsageError, match=r"is in data.train and in data.validation"):
        train(configured(world, tmp_path / "run", data={"validation": ["data.jsonl"]}), Told())
