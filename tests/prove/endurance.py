"""Nights and backfills together for as long as is asked, while parts die, the store fails and the disk is full.

``python -m tests.prove.endurance --minutes 60``. Real SeaweedFS behind a way on which things go wrong, PostgreSQL, Dask
over TLS with two workers. New photos come and are compressed by nights; waves of old ones by backfills, on the same
workers. At the end everything is left in peace, and must come out: each photo once, the log whole, memory flat.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
from cyclopts import Parameter

from tests.bench import machine
from tests.parts.plant import Plant
from tests.parts.store import TOKENS
from tests.prove import checks
from tests.prove.endurance_play import Diary, Play
from tests.prove.endurance_report import draw, markdown
from tests.prove.places import Bucket, PostgresDatabase
from tests.prove.victims import looked_after
from tests.servers.flaky import flaky

NAME = "line"
GROWTH = 1.25  # of warm processes' memory in the second half, over that in the first
ENOUGH = 20  # samples of a half
SETTLING = 12  # commands that may be needed until nothing is left
app = cyclopts.App(name="endurance", help=__doc__)


@app.default
def main(
    *,
    minutes: Annotated[float, Parameter(help="How long it goes on.")] = 60,
    wave: Annotated[int, Parameter(help="Old photos a backfill.")] = 2000,
    arrivals: Annotated[int, Parameter(help="New photos a night.")] = 100,
    pause: Annotated[float, Parameter(help="Seconds between two nights, and between two deaths.")] = 20,
    batch: Annotated[int, Parameter(help="Images a batch, at most.")] = 50,
    bundle: Annotated[str, Parameter(help="'nano', 'fake' or a folder.")] = "nano",
    seed: int = 20261126,
    work: Annotated[Path, Parameter(help="Where the parts keep their data.")] = Path("prove-work/endurance"),
    out: Annotated[Path, Parameter(help="Folder of endurance.json, .md and .svg.")] = Path("docs/evidence"),
) -> int:
    """Exit code 0: everything holds; 1: something does not."""
    before, plant = machine.describe(), Plant(work.resolve(), 2, with_prefect=False)
    plant.down(clean=True)
    try:
        said = play(plant, minutes, wave, arrivals, pause, batch, bundle, seed)
    finally:
        plant.down()
    asked = {"minutes": minutes, "wave": wave, "arrivals": arrivals, "pause": pause, "batch": batch}
    said = {"machine": before, "asked": asked | {"bundle": bundle, "seed": seed}, **said}
    out.mkdir(parents=True, exist_ok=True)
    (out / "endurance.json").write_text(json.dumps(said, indent=1) + "\n")
    (out / "endurance.md").write_text(markdown(said))
    draw(said, out / "endurance.svg")
    print("everything holds" if not said["problems"] else "\n".join(said["problems"]), flush=True)
    if not said["problems"]:
        shutil.rmtree(work)
    return bool(said["problems"])


def play(
    plant: Plant, minutes: float, wave: int, arrivals: int, pause: float, batch: int, bundle: str, seed: int
) -> dict[str, Any]:
    """Everybody acts for so long; then peace, and what must hold."""
    plant.up()
    with flaky(plant.store.address) as (address, weather), looked_after(plant) as caretaker:
        config = _settings(plant, address, batch, bundle)
        drama = Play(plant, config, Diary(), plant.variables, seed, wave, arrivals, pause)
        actors = [
            threading.Thread(target=act, name=f"actor-{number}", daemon=True)
            for number, act in enumerate(drama.everybody(caretaker, weather))
        ]
        drama.begin_wave()
        for actor in actors:
            actor.start()
        time.sleep(60 * minutes)
        drama.diary.note("director", "peace")
        drama.stop.set()
        for actor in actors:
            actor.join(timeout=900)
        weather.change()
        _settle(drama)
        problems = [f"an actor did not end: {actor.name}" for actor in actors if actor.is_alive()]
        problems += [f"an actor could not go on: {said}" for said in drama.broken]
        problems += _judge(drama, plant)
        return _said(drama, plant, weather.counts, caretaker.restarts, problems)


def _settings(plant: Plant, address: str, batch: int, bundle: str) -> Path:
    """The plant's settings, but for the way to its store."""
    sizes = {"batch_size": batch, "smallest_batch": batch, "lease_seconds": 15, "orphan_hours": 24}
    file = plant.write_settings(
        plant.folder / NAME / "fwd2bot.toml", NAME, archive=NAME, ledger=NAME, bundle=bundle, night=sizes
    )
    (plant.folder / "anchor").mkdir(exist_ok=True)
    text = file.read_text().replace(plant.store.address, address)
    file.write_text(
        text + f'\n[audit.anchors.beside]\nkind = "directory"\nplace = "{plant.folder / "anchor"}"\n'
    )
    return file


def _settle(drama: Play) -> None:
    """In peace: nights, retries and backfills until nothing is left to do."""
    for _ in range(SETTLING):
        if (oldest := drama.oldest("settling")) is not None:
            _once(drama, "backfill", "run", oldest)
        codes = [_once(drama, "night", "--direct"), _once(drama, "retry", "--direct")]
        if codes == [0, 0] and drama.oldest("settling") is None:
            return


def _once(drama: Play, *words: str) -> int:
    code, said, complaint = drama.run("settling", *words)
    told = said or {}
    drama.diary.note(
        "settling", f"{' '.join(words)}: {told.get('message') or told.get('why') or complaint}", code=code
    )
    return code


def _judge(drama: Play, plant: Plant) -> list[str]:
    """What does not hold."""
    ledger = _ledger(plant)
    archive = Bucket(plant.store.server.client(), TOKENS, f"{NAME}/")
    problems = list(checks.check(ledger, archive, drama.keys, failing={}).problems)
    for words in (["verify"], ["audit", "verify"]):
        code, said, complaint = drama.run("checking", *words)
        drama.diary.note("checking", f"{' '.join(words)}: {complaint or 'ok'}", code=code)
        if code:
            problems.append(
                f"fwd2bot {' '.join(words)} ended with {code}: {complaint or json.dumps(said)[:400]}"
            )
    states = dict(ledger.ask("SELECT state, count(*) FROM backfills GROUP BY state"))
    if set(states) - {"done"}:
        problems.append(f"backfills are left: {states}")
    sums = ledger.ask("SELECT note FROM backfills WHERE note NOT LIKE '%+ 0 rejected + 0 left'")
    problems += [f"a backfill ended as: {note}" for (note,) in sums]
    killed = sum("driver" in entry["what"] for entry in drama.diary.of("killer"))
    abandoned = ledger.ask("SELECT count(*) FROM runs WHERE state = 'abandoned'")[0][0]
    if abandoned > killed + sum(entry.get("code", 0) < 0 for entry in drama.diary.entries):
        problems.append(f"{abandoned} runs are called abandoned, and {killed} drivers were killed")
    return problems + _grown(drama.diary.warm)


def _ledger(plant: Plant) -> PostgresDatabase:
    return PostgresDatabase(plant.database.server.url(NAME).replace("+psycopg", ""))


def _grown(warm: dict[str, list[float]]) -> list[str]:
    """Roles whose memory is well above what it was: that of processes that had loaded what they load."""
    problems = []
    for role, values in sorted(warm.items()):
        half = len(values) // 2
        first, last = values[:half], values[half:]
        if half >= ENOUGH and np.percentile(last, 95) > GROWTH * np.percentile(first, 95):
            grown = f"{np.percentile(first, 95):.0f} to {np.percentile(last, 95):.0f}"
            problems.append(f"memory of {role} grew from {grown} MB")
    return problems


def _halves(warm: dict[str, list[float]]) -> dict[str, list[float]]:
    """MB of each role, the 95th percentile: in the first half of its warm samples, in the second; how many."""
    found = {}
    for role, values in sorted(warm.items()):
        if half := len(values) // 2:
            ends = (float(np.percentile(part, 95)) for part in (values[:half], values[half:]))
            found[role] = [*ends, len(values)]
    return found


def _said(
    drama: Play, plant: Plant, counts: Counter[str], restarts: list[str], problems: list[str]
) -> dict[str, Any]:
    ledger, diary = _ledger(plant), drama.diary
    done = "SELECT r.kind, sum(s.rows) FROM shards s JOIN runs r ON r.id = s.run_id GROUP BY r.kind"
    return {
        "photos": len(drama.keys),
        "compressed_by": {kind: int(rows) for kind, rows in ledger.ask(done)},
        "runs": {f"{kind} {state}": n for kind, state, n in ledger.ask(
            "SELECT kind, state, count(*) FROM runs GROUP BY kind, state ORDER BY kind, state")},
        "events": dict(ledger.ask("SELECT type, count(*) FROM audit_events GROUP BY type ORDER BY type")),
        "rejects_on_the_way": dict(ledger.ask("SELECT reason, count(*) FROM failures GROUP BY reason")),
        "yielded": ledger.ask(
            "SELECT count(*) FROM runs WHERE message LIKE '%stands still: a night works%'")[0][0],
        "requests": dict(sorted(counts.items())),
        "deaths": dict(Counter(entry["what"].split(",")[0] for entry in diary.of("killer"))),
        "restarts": dict(Counter(restarts)),
        "incidents": diary.entries,
        "memory": diary.memory,
        "warm_mb": _halves(diary.warm),
        "problems": problems,
    }  # fmt: skip


if __name__ == "__main__":
    app()
