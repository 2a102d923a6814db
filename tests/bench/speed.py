"""The pipeline beside what a user would pick instead, and beside the bound: ``python -m tests.bench.speed``.

bound       the bare loop of the same model over bytes in memory (``bound``)
Fwd2Bot     a whole night on Dask worker processes, from files to committed rows, metrics and audit events
rivals      a torch DataLoader script, Ray Data and Daft, from the same files to the same Parquet columns: with our
            forward inside, and with the plain ``transformers`` forward; no ledger, no audit, nothing resumable

As many model processes each, one torch thread in each, memory allocated alike; starting them is not counted. They run
in turns, in another order each round; the ratios within a round are what counts.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import cyclopts

from tests.bench import evidence, tables
from tests.bench.arguments import OUT, Out
from tests.bench.rivals import running
from tests.bench.speed_figures import Ratio, Run, figures, page, plot, rates
from tests.bench.speed_ways import Way, lay_out, of_rival, own

GOALS = {"bound": 0.95, "ours": 1.0, "plain": 1.2, "workers": 1.8}

app = cyclopts.App(name="speed", help=__doc__)


@app.default
def main(
    *,
    images: Annotated[int, cyclopts.Parameter(help="Photos.")] = 1500,
    workers: Annotated[int, cyclopts.Parameter(help="Model processes of each way.")] = 2,
    minutes: Annotated[float, cyclopts.Parameter(help="No round begins that would end later.")] = 6.0,
    rounds: Annotated[int, cyclopts.Parameter(help="At most.")] = 3,
    bundle: Annotated[str, cyclopts.Parameter(help="'nano', 'fake' or a folder.")] = "nano",
    batch_size: Annotated[int, cyclopts.Parameter(help="Images a shard of the pipeline.")] = 250,
    micro_batch: Annotated[int, cyclopts.Parameter(help="Images a forward pass, of every way.")] = 32,
    rivals: Annotated[list[str], cyclopts.Parameter(help="Which ones.", consume_multiple=True)] = list(  # noqa: B006
        running.SETTINGS
    ),
    tune: Annotated[bool, cyclopts.Parameter(help="Every rival under all its settings.")] = False,
    goals: Annotated[bool, cyclopts.Parameter(help="Exit code 1 where a goal is missed.")] = True,
    out: Out = OUT,
) -> int:
    """Measure, print one table, write speed.json, .svg and .md. Exit code 1 when a median misses its goal."""
    before = evidence.begin()
    corpus = lay_out(bundle, images, batch_size, micro_batch)
    ways = [*own(corpus, workers), *own(corpus, 1)] if workers > 1 else own(corpus, 1)
    here = [name for name in rivals if running.installed(name)]
    ways += [way for name in here for way in of_rival(name, corpus, workers, tune)]
    left_out = [
        f"{name} is not installed (pip install 'fwd2bot[bench]')" for name in rivals if name not in here
    ]
    runs = _rounds(ways, rounds, 60 * minutes, left_out)
    found = figures(runs, workers, GOALS)
    result = evidence.write(
        out / "speed.json",
        before,
        {
            "parameters": {
                "images": images,
                "bundle": Path(bundle).name,
                "batch_size": batch_size,
                "micro_batch": micro_batch,
                "torch_threads": 1,
            },
            "versions": {name: running.installed(name) for name in here},
            "rounds": 1 + max(run.turn for run in runs),
            "rates": rates(runs),
            "figures": [asdict(one) | {"met": one.met} for one in found],
            "left_out": left_out,
            "runs": [asdict(run) for run in runs],
        },
    )
    plot(result, out / "speed.svg")
    (out / "speed.md").write_text(page(result))
    _show(result, found)
    return int(goals and not all(one.met for one in found))


def _rounds(ways: list[Way], most: int, seconds: float, left_out: list[str]) -> list[Run]:
    """Each round begins with another way. A rival that fails is left out from then on, with the reason."""
    began, runs, longest = time.monotonic(), list[Run](), 0.0
    for turn in range(most):
        if turn and time.monotonic() - began + longest > seconds:
            break
        at = time.monotonic()
        start = turn * (len(ways) // most or 1) % len(ways)
        for way in [*ways[start:], *ways[:start]]:
            try:
                runs.append(way.run(turn))
            except running.RivalFailed as error:
                print(error, flush=True)
                left_out.append(str(error).partition("\n")[0])
                ways = [one for one in ways if one is not way]
        longest = max(longest, time.monotonic() - at)
    return runs


def _show(result: dict[str, Any], found: list[Ratio]) -> None:
    headings = ("workers", "way", "forward", "setting", "runs", "images/s", "with start-up, s")
    names = ("workers", "way", "forward", "setting", "runs", "images_per_second", "seconds_with_start")
    tables.show("images a second, medians", result["rates"], dict(zip(headings, names, strict=True)))
    rows = [
        {"ratio": one.name, "found": one.ratio, "goal": one.goal or None, "rounds": len(one.each)}
        for one in found
    ]
    tables.show("ratios, medians over rounds", rows, {name: name for name in rows[0]})


if __name__ == "__main__":
    raise SystemExit(app())
