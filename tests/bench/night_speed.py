"""A whole night against a bare loop of the same model, side by side: ``python -m tests.bench.night_speed``.

The night is the real one, from files on disk to committed rows in a fresh archive, on Dask worker processes.
Both run in turns, so that a busy machine slows both; the figure to read is their ratio.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from rich.console import Console
from rich.table import Table

from flows.nightly import run_night
from infra.audit_settings import AuditSettings
from infra.settings import (
    ArchiveSettings,
    CollectionSettings,
    CompressorSettings,
    ExecutionSettings,
    NightSettings,
    Settings,
)
from tasks.summary import NightSummary
from tests.bench import bound, machine, photos
from tests.bench.plots import plot
from tests.bench.processor import Meter

EVIDENCE = Path("docs/evidence")
app = cyclopts.App(name="night_speed", help=__doc__)


@dataclass(frozen=True)
class Round:
    """One night and one bound, of the same images, in the same minute. Images a second; ratios to the bound."""

    workers: int
    bound: float
    bound_forward: float
    night: float  # workers up
    night_wall: float  # with discovery, start of workers, manifest
    bound_stages: dict[str, float]  # seconds
    night_stages: dict[str, float]
    bound_processor: float  # seconds of processor time
    night_processor: float  # of driver and workers, the workers being up

    @property
    def ratio(self) -> float:
        return self.night / self.bound

    @property
    def processor_ratio(self) -> float:
        """What the ratio would be if every core were busy all the time: the same, less what overlap gains."""
        return self.bound_processor / self.night_processor


@app.default
def main(
    *,
    images: Annotated[int, cyclopts.Parameter(help="Photos a night.")] = 3000,
    workers: Annotated[list[int], cyclopts.Parameter(help="Worker counts.", consume_multiple=True)] = [1, 2],  # noqa: B006
    rounds: Annotated[int, cyclopts.Parameter(help="Nights and bounds for each worker count.")] = 3,
    bundle: Annotated[str, cyclopts.Parameter(help="'nano', 'fake' or a folder.")] = "nano",
    batch_size: Annotated[int, cyclopts.Parameter(help="Images a shard.")] = 250,
    micro_batch: Annotated[int, cyclopts.Parameter(help="Images a forward pass.")] = 32,
    goal: Annotated[float, cyclopts.Parameter(help="Ratio to reach.")] = 0.90,
    out: Annotated[Path, cyclopts.Parameter(help="Folder of night_speed.json and .svg.")] = EVIDENCE,
) -> int:
    """Measure, print one table, write JSON and a plot. Exit code 1 when a median misses the goal."""
    root, keys = photos.lay_out(images)
    before = machine.describe()
    measured = []
    for count in workers:
        for turn in range(rounds):
            measured.append(_round(root, keys, count, turn, bundle, batch_size, micro_batch))
            _say(measured[-1], turn)
    result = {
        "machine": before,
        "load_average_after": machine.describe()["load_average"],
        "parameters": {
            "images": images,
            "bundle": Path(bundle).name,
            "batch_size": batch_size,
            "micro_batch": micro_batch,
            "torch_threads": 1,
        },
        "goal": goal,
        "median_ratio": {str(count): round(_median(measured, count, "ratio"), 4) for count in workers},
        "median_processor_ratio": {
            str(count): round(_median(measured, count, "processor_ratio"), 4) for count in workers
        },
        "rounds": [
            _rounded(asdict(one) | {"ratio": one.ratio, "processor_ratio": one.processor_ratio})
            for one in measured
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "night_speed.json").write_text(json.dumps(result, indent=2) + "\n")
    plot(result, out / "night_speed.svg")
    Console().print(_table(measured, workers, goal))
    return 0 if min(result["median_ratio"].values()) >= goal else 1


def _round(
    root: Path, keys: list[str], workers: int, turn: int, bundle: str, batch_size: int, micro_batch: int
) -> Round:
    """Bound first in even turns, night first in odd ones."""

    def a_bound() -> bound.Bound:
        files = [root / key for key in keys]
        return bound.measure(
            bundle, files, workers, batch_size=batch_size, micro_batch=micro_batch, torch_threads=1
        )

    meter = Meter()

    def a_night() -> NightSummary:
        with tempfile.TemporaryDirectory(prefix="fwd2bot-night-") as folder:
            settings = night_settings(root, Path(folder), workers, bundle, batch_size, micro_batch)
            return run_night(settings, None, meter)

    if turn % 2 == 0:
        fastest, night = a_bound(), a_night()
    else:
        night, fastest = a_night(), a_bound()
    if night.compressed != len(keys):
        raise SystemExit(f"the night compressed {night.compressed} of {len(keys)} images: {night.message}")
    return Round(
        workers=workers,
        bound=fastest.whole,
        bound_forward=fastest.forward,
        night=night.images_per_second,
        night_wall=night.compressed / night.wall_seconds,
        bound_stages=fastest.stages,
        night_stages=night.stage_seconds,
        bound_processor=fastest.processor,
        night_processor=meter.seconds,
    )


def night_settings(
    root: Path, folder: Path, workers: int, bundle: str, batch_size: int, micro_batch: int
) -> Settings:
    """A night over the photos in ``root`` on worker processes of this machine, its archive in ``folder``."""
    return Settings(
        archive=ArchiveSettings(store=str(folder / "archive"), ledger=str(folder / "ledger.sqlite")),
        audit=AuditSettings(key=str(folder / "audit-key")),
        collections={"bench": CollectionSettings(originals=str(root))},
        compressor=CompressorSettings(bundle=bundle, micro_batch=micro_batch),
        execution=ExecutionSettings(executor="local", workers=workers, torch_threads=1),
        night=NightSettings(batch_size=batch_size, smallest_batch=min(batch_size, 64), engine="direct"),
    )


def _median(rounds: list[Round], workers: int, name: str) -> float:
    found: float = statistics.median(getattr(one, name) for one in rounds if one.workers == workers)
    return found


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _rounded(value) if isinstance(value, dict) else round(value, 4)
        for name, value in values.items()
    }


def _say(one: Round, turn: int) -> None:
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in one.night_stages.items())
    print(
        f"{one.workers} worker(s), round {turn + 1}: bound {one.bound:.0f}/s, night {one.night:.0f}/s "
        f"({one.ratio:.3f}, processor time {one.processor_ratio:.3f}); night's seconds: {stages}",
        flush=True,
    )


def _table(rounds: list[Round], workers: list[int], goal: float) -> Table:
    table = Table(title="images a second, medians; ratio = night / bound of the same round")
    for name in (
        "workers",
        "bound",
        "forward alone",
        "night",
        "with start-up",
        "ratio",
        "goal",
        "processor ratio",
    ):
        table.add_column(name, justify="right")
    for count in workers:
        ratio = _median(rounds, count, "ratio")
        rates = [
            f"{_median(rounds, count, n):.0f}" for n in ("bound", "bound_forward", "night", "night_wall")
        ]
        verdict = f"{goal} {'met' if ratio >= goal else 'missed'}"
        processor = _median(rounds, count, "processor_ratio")
        table.add_row(str(count), *rates, f"{ratio:.3f}", verdict, f"{processor:.3f}")
    return table


if __name__ == "__main__":
    raise SystemExit(app())
