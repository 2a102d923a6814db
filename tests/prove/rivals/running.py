"""One run from its first step to its evidence: held by one process at a time, and going on where it was stopped.

    WORK/KEY/checkpoint.pt        while it learns; gone when its evidence is written
    WORK/KEY/NAME.pt              what the twin has learned
    OUT/rivals/NAME.json          its evidence, which says its key: with the same key it is not run again

Knows files, locks and clocks. Knows nothing of what methods are.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from fwd2bot_core.compressor import bundle, manifest
from fwd2bot_core.compressor.double_forward import script
from fwd2bot_core.compressor.nano import data, design, train
from fwd2bot_core.compressor.nano.faster import made_faster
from fwd2bot_core.compressor.nano.lessons import Bench
from fwd2bot_core.compressor.training import provenance
from fwd2bot_core.compressor.training.course import Graphed
from fwd2bot_core.compressor.training.loop import Progress, Recipe
from fwd2bot_core.compressor.training.loop import run as learn_by
from fwd2bot_core.compressor.training.team import Team
from fwd2bot_core.errors import UsageError
from tests.bench import machine
from tests.prove.rivals import exam, methods, plan
from tests.prove.rivals.learning import lessons
from tests.prove.rivals.plan import Run, Settings

KEPT = ("twin",)  # whose weights are wanted afterwards


@dataclass(frozen=True, slots=True)
class Until(Team):
    """A team of one that stops at a time."""

    moment: float = math.inf

    def agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        return seconds, stop or time.monotonic() >= self.moment


@dataclass(frozen=True)
class Place:
    """Where runs begin and end. ``pool``: a file of pictures to learn from, else one is drawn in ``work``."""

    bundle: str
    settings: Settings
    work: Path
    out: Path
    pool: Path | None = None
    device: str = "cpu"
    processes: int = 4  # that prepare lessons for a GPU

    @cached_property
    def fingerprint(self) -> str:
        return bundle.read_spec(self.bundle).fingerprint

    @cached_property
    def base(self) -> str:
        """A hash of the bundle's model and words: its adapters are not used here."""
        files = manifest.read(bundle.locate(self.bundle)).files
        parts = [files[name].sha256 for name in (bundle.WEIGHTS, bundle.MODEL, bundle.WORDS)]
        return manifest.sha256(" ".join(parts).encode())

    @cached_property
    def origin(self) -> methods.Origin:
        found = bundle.load_bundle(self.bundle, trainable=True)
        if found.method.size != design.METHOD.size:
            raise UsageError(f"{self.bundle} is no nano bundle of this version: make one with nano.train")
        words = script(found.tokenizer, found.method)
        return methods.Origin(found.net.lvlm.base, found.method, words, data.Words(found.tokenizer))

    @cached_property
    def bench(self) -> Bench:
        """What all runs learn from; its network is the one that no run trains."""
        path = self.pool or self.work / "pool.npz"
        with held(self.work / "pool.lock", wait=True):
            pool = exam.kept_pool(path, "train", self.settings.pictures, train.SEED)
        net = methods.make("base", self.origin, 0).net
        return Bench(train.SEED, self.origin.words, pool, data.easy("train"), net)

    @cached_property
    def exam(self) -> exam.Exam:
        path = self.work / f"exam-{self.settings.trays}.npz"
        with held(self.work / "exam.lock", wait=True):
            return exam.of_pool(exam.kept_pool(path, "test", self.settings.trays, exam.SEED))

    def key(self, run: Run) -> str:
        return plan.key(run, self.settings, self.base)

    def evidence(self, run: Run) -> dict[str, Any] | None:
        """Of a run that ended under these very settings, else nothing."""
        path = self.out / "rivals" / f"{run.name}.json"
        said: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return said if said.get("key") == self.key(run) else None


@contextmanager
def held(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether the lock at ``path`` is this process's within the block. A dead process holds none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n")  # for people
        file.flush()
        yield True


def complete(place: Place, run: Run, until: float = math.inf) -> bool:
    """Run it to its end unless that was done or another process is at it; whether this one has.

    Raises ``TrainingStopped``, with everything saved, at a time ``until`` (of ``time.monotonic``) or an interrupt.
    """
    with held(place.work / f"{run.name}.lock") as mine:
        if not mine or place.evidence(run) is not None:
            return False
        print(f"{run.name}: {run.steps} steps", flush=True)
        folder = place.work / place.key(run)
        folder.mkdir(parents=True, exist_ok=True)
        method = methods.make(run.method, place.origin, run.seed)
        method.to(place.device)
        checkpoint = folder / "checkpoint.pt"
        progress = _learn(place, run, method, checkpoint, until)
        method.to("cpu")
        if run.name in KEPT:
            _keep(folder / f"{run.name}.pt", method.learns())
            print(f"what it learned: {folder / run.name}.pt", flush=True)
        found = _examine(place, run, method)
        write_json(place.out / "rivals" / f"{run.name}.json", _said(place, run, method, progress, found))
        checkpoint.unlink(missing_ok=True)
        return True


def _learn(place: Place, run: Run, method: methods.Reading, checkpoint: Path, until: float) -> Progress:
    if not run.steps:
        return Progress()
    course = lessons(place.bench, method, run, place.settings.lead)
    recipe = Recipe(run.name, run.steps, math.inf, place.settings.rate, run.batch, weight_decay=0.0)
    device = place.device != "cpu"
    terms = Graphed(course, steps=run.steps, processes=place.processes) if device else course.terms
    with made_faster(method.net):
        return learn_by(
            recipe,
            course.learn,
            terms,
            checkpoint,
            own_backward=device,
            rates=method.rates(),
            team=Until(moment=until),
        )


def _examine(place: Place, run: Run, method: methods.Reading) -> dict[str, Any]:
    words, search = place.origin.words, run.contrast or run.name.startswith("ablation")
    return {str(k): exam.sit(method, words, place.exam, k, search=search) for k in run.serves}


def _said(
    place: Place, run: Run, method: methods.Reading, progress: Progress, found: dict[str, Any]
) -> dict[str, Any]:
    return {
        "key": place.key(run),
        "bundle": place.fingerprint,
        "run": asdict(run),
        "settings": asdict(place.settings),
        "machine": machine.describe(),
        "accelerator": provenance.machine() if place.device != "cpu" else None,
        "threads": torch.get_num_threads(),
        "seconds": round(progress.seconds, 1),
        "learned": sum(p.numel() for p in method.learns().values()),
        "losses": progress.history[-1:],
        "at": found,
    }


def _keep(path: Path, learnt: Mapping[str, torch.Tensor]) -> None:
    partial = path.with_suffix(".partial")
    torch.save({name: p.detach().clone() for name, p in learnt.items()}, partial)
    partial.replace(path)


def write_json(path: Path, said: Mapping[str, Any]) -> None:
    """Replace the file in one instant."""
    write_text(path, json.dumps(said, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text)
    partial.replace(path)
