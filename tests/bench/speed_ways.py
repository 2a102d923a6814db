"""The ways through all photos that the speed table compares: the bound, the pipeline, and each rival.

Knows how to start each one. Knows nothing of rounds, ratios or goals.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.compressor.loading import FAKE, load
from tests.bench import bound, night_speed, photos
from tests.bench.rivals import running
from tests.bench.rivals.task import Forward, Task
from tests.bench.speed_figures import BOUND, NIGHT, Run

KNOWN = 8  # photos of which every rival's vectors are held against ours
Speed = tuple[float, float | None]  # images a second, seconds with start-up


@dataclass(frozen=True)
class Corpus:
    """What all ways go through, and how."""

    bundle: str
    root: Path
    keys: list[str]
    batch_size: int
    micro_batch: int
    token_bytes: int
    expected: Mapping[str, npt.NDArray[np.float32]]  # vectors [d] of some keys


@dataclass(frozen=True)
class Way:
    """One thing to run in each round."""

    name: str
    forward: Forward
    workers: int
    setting: str
    go: Callable[[], Speed]

    def run(self, turn: int) -> Run:
        load_average = round(os.getloadavg()[0], 2)
        rate, whole = self.go()
        made = Run(self.name, self.forward, self.workers, self.setting, turn, rate, whole, load_average)
        print(
            f"round {turn + 1}: {self.name} {self.setting} ({self.forward}, {self.workers}): {rate:.0f}/s",
            flush=True,
        )
        return made


def lay_out(bundle: str, images: int, batch_size: int, micro_batch: int) -> Corpus:
    """The photos in a temporary folder, and what every rival must find in some of them."""
    root, keys = photos.lay_out(images)
    compressor, some = load(bundle), keys[:KNOWN]
    vectors = compressor.compress([compressor.prepare((root / key).read_bytes()) for key in some]).pooled
    expected = dict(zip(some, vectors, strict=True))
    return Corpus(bundle, root, keys, batch_size, micro_batch, compressor.spec.token_bytes, expected)


def own(corpus: Corpus, workers: int) -> list[Way]:
    """The bound and the pipeline, with as many processes."""
    return [
        Way(BOUND, "ours", workers, "", partial(_bound, corpus, workers)),
        Way(NIGHT, "ours", workers, "", partial(_night, corpus, workers)),
    ]


def _bound(corpus: Corpus, workers: int) -> Speed:
    found = bound.measure(
        corpus.bundle,
        [corpus.root / key for key in corpus.keys],
        workers,
        batch_size=corpus.batch_size,
        micro_batch=corpus.micro_batch,
        torch_threads=1,
        forward=False,
    )
    return found.whole, None


def _night(corpus: Corpus, workers: int) -> Speed:
    with tempfile.TemporaryDirectory(prefix="fwd2bot-night-") as folder:
        settings = night_speed.night_settings(
            corpus.root, Path(folder), workers, corpus.bundle, corpus.batch_size, corpus.micro_batch
        )
        night = run_night(settings, None, SilentScreen())
    if night.compressed != len(corpus.keys):
        raise SystemExit(f"the night compressed {night.compressed} of {len(corpus.keys)}: {night.message}")
    return night.images_per_second, night.wall_seconds


def of_rival(name: str, corpus: Corpus, workers: int, tune: bool) -> list[Way]:
    """With our forward and, where ``transformers`` knows the model, the plain one."""
    settings = running.SETTINGS[name] if tune else running.SETTINGS[name][:1]
    forwards: tuple[Forward, ...] = ("ours",) if corpus.bundle == FAKE else ("ours", "plain")

    def way(forward: Forward, setting: str) -> Way:
        return Way(name, forward, workers, setting, partial(_rival, name, corpus, workers, forward, setting))

    return [way(forward, setting) for setting in settings for forward in forwards]


def _rival(name: str, corpus: Corpus, workers: int, forward: Forward, setting: str) -> Speed:
    with tempfile.TemporaryDirectory(prefix="fwd2bot-rival-") as folder:
        out, gate, keys = (Path(folder) / part for part in ("out", "gate", "keys"))
        out.mkdir()
        gate.mkdir()
        keys.write_text("\n".join(corpus.keys))
        task = Task(
            bundle=corpus.bundle,
            forward=forward,
            root=str(corpus.root),
            keys_file=str(keys),
            out=str(out),
            gate=str(gate),
            models=workers,
            micro_batch=corpus.micro_batch,
            setting=setting,
            token_bytes=corpus.token_bytes,
            d=len(next(iter(corpus.expected.values()))),
        )
        found = running.run(name, task, corpus.expected)
    return found.images_per_second, found.with_start
