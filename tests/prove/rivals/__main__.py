"""Our method against its rivals, and without each of its parts, from a published bundle's base.

    python -m tests.prove.rivals [--only 'ablation-*'] [--minutes 240]

A list of named runs (``--list``). Each goes on from its checkpoint in ``--work``, and one whose evidence lies in
``docs/evidence/rivals`` with the same key is not run again; so this can be stopped, continued on another machine, and
started twice side by side. After each run ``docs/evidence/rivals.*`` and ``ablations.*`` are made from what there is.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cyclopts
import torch
from cyclopts import Parameter

from fwd2bot_core.compressor.nano import train
from fwd2bot_core.compressor.training.device import tried
from fwd2bot_core.errors import TrainingStopped
from tests.prove.rivals import outcome, plan, tables
from tests.prove.rivals.plan import Settings
from tests.prove.rivals.running import Place, complete, held, write_json, write_text

app = cyclopts.App(name="rivals", help=__doc__)


def publish(place: Place) -> None:
    """Write the pages, numbers and plots of all evidence under these settings."""
    found = {run.name: place.evidence(run) for run in plan.runs(place.settings)}
    with held(place.work / "publish.lock", wait=True):
        said = next((one["machine"] for one in found.values() if one), None)
        machine = f"Machine of the first: {said['processor']}, commit {said['commit']}." if said else ""
        rivals = outcome.against_rivals(found)
        parts = outcome.ablations(found, rivals)
        shared = {"bundle": place.fingerprint, "settings": asdict(place.settings)}
        write_json(place.out / "rivals.json", shared | rivals)
        write_json(place.out / "ablations.json", shared | {"k": place.settings.ablated_k} | parts)
        write_text(place.out / "rivals.md", tables.rivals_page(rivals, place.settings, machine))
        write_text(place.out / "ablations.md", tables.ablations_page(parts, place.settings, machine))
        tables.rivals_plot(rivals, place.out / "rivals.svg")
        tables.ablations_plot(parts, place.out / "ablations.svg")


@app.default
def main(
    *,
    bundle: str = "nano",
    only: str = "*",
    steps: int = 4000,
    short_steps: int = 400,
    ablated_k: int = 9,
    minutes: float = math.inf,
    threads: int = 1,
    device: str = "cpu",
    processes: int = 4,
    trays: int = 400,
    pictures: int = train.PICTURES,
    pool: Path | None = None,
    work: Path = Path("prove-work/rivals"),
    out: Path = Path("docs/evidence"),
    list_: Annotated[bool, Parameter(name="--list", negative=())] = False,
) -> None:
    """Run what is left of the list.

    Parameters
    ----------
    ablated_k: tokens of the ablations; a square.
    only: names of runs, as a pattern.
    minutes: of this process; what runs then is saved.
    device: "cuda" is some fifty times faster; ``processes`` prepare its lessons.
    pool: a file of tray pictures that ``nano.train`` has drawn, in place of drawing them again.
    """
    torch.set_num_threads(threads)
    until = time.monotonic() + 60 * minutes
    settings = Settings(
        steps=steps, short_steps=short_steps, trays=trays, pictures=pictures, ablated_k=ablated_k
    )
    place = Place(bundle, settings, work.absolute(), out.absolute(), pool, tried(device), processes)
    wanted = plan.chosen(plan.runs(settings), only)
    if list_:
        for run in wanted:
            print(f"{run.name:<24} {'done' if place.evidence(run) else 'to do'}  {run.steps} steps")
        return
    place.work.mkdir(parents=True, exist_ok=True)
    try:
        for run in wanted:
            if time.monotonic() < until and complete(place, run, until):
                publish(place)
    except TrainingStopped as stopped:
        print(f"{stopped}; the same command goes on from there", flush=True)
        publish(place)
        if time.monotonic() < until:  # it was a person
            sys.exit(130)
        return
    publish(place)


if __name__ == "__main__":
    app()
