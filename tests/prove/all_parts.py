"""The whole night on all parts: SeaweedFS, PostgreSQL, Dask over TLS, Prefect with a schedule; then each part killed.

``python -m tests.prove.all_parts`` runs every night that is not proven yet and can be stopped at any time; ``--fresh``
starts over. The first night is begun by a cron line a minute ahead and left alone. In each of the others driver,
worker, scheduler, store and database get SIGKILL one after the other, at random points. In the last one Prefect's
server is away for ten minutes.
"""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from fwd2bot_core.compressor.loading import read_spec
from tests.bench import machine
from tests.bench.photos import lay_out
from tests.houses import fwd2bot
from tests.parts import photos
from tests.parts.plant import Plant
from tests.prove import checks
from tests.prove.all_parts_evidence import Evidence, Night
from tests.prove.all_parts_night import (
    Installation,
    follow,
    follow_without_prefect,
    in_a_minute,
    points,
)
from tests.prove.victims import looked_after

SEED = 20261126
BATCH = 50
WORKERS = 2
NEVER = "0 0 29 2 *"  # of a schedule that is not to fire by itself
UNDISTURBED, WITHOUT_PREFECT = "scheduled", "prefect-away"
TOLERANCE = 1e-4  # of tokens: another composition of a micro-batch rounds differently
app = cyclopts.App(name="all_parts", help=__doc__)


@app.default
def main(
    *,
    images: Annotated[int, Parameter(help="Photos a night.")] = 5000,
    nights: Annotated[int, Parameter(help="Nights with five kills each.")] = 4,
    bundle: Annotated[str, Parameter(help="'nano', 'fake' or a folder.")] = "nano",
    minutes: Annotated[float, Parameter(help="Begin no night later than this.")] = 60,
    fresh: Annotated[bool, Parameter(help="Forget what was proven.", negative="")] = False,
    work: Annotated[Path, Parameter(help="Where the parts keep their data.")] = Path("prove-work/all-parts"),
    out: Annotated[Path, Parameter(help="Folder of all_parts.json and .md.")] = Path("docs/evidence"),
) -> int:
    """Run what is not proven yet. Exit code 0: all hold; 1: one does not; 3: the time ran out."""
    ends = time.monotonic() + 60 * minutes
    spec = read_spec(bundle)
    parameters = {"images": images, "batch": BATCH, "workers": WORKERS, "bundle": f"{spec.name} {spec.short}"}
    evidence = Evidence(out, parameters, fresh=fresh)
    plant = Plant(work.resolve(), WORKERS)
    if fresh:
        plant.down(clean=True)
    cases = [UNDISTURBED, *(f"killed-{n + 1}" for n in range(nights)), WITHOUT_PREFECT]
    if all(case in evidence for case in cases):
        return 0
    if not _undisturbed(plant).exists():
        evidence.forget(UNDISTURBED)  # its tokens are what the others are held against
    left = [case for case in cases if case not in evidence]
    try:
        plant.up()
        photos.fill(plant.store, images)
        while left and time.monotonic() < ends:
            night = _night(plant, left.pop(0), images, bundle)
            evidence.add(night, machine.describe())
            print(
                f"{night.case}: {'holds' if night.proven else night.problems} {night.runs} {night.seconds} s",
                flush=True,
            )
            if not night.proven:
                return 1
    finally:
        plant.down()
    if not left:
        shutil.rmtree(work)
    return 3 if left else 0


def _night(plant: Plant, case: str, images: int, bundle: str) -> Night:
    """One night in an archive of its own, and what must hold after it."""
    dice = random.Random(f"{SEED} {case}")
    stamp = time.strftime("%H%M%S", time.gmtime())  # a night that is run again has a ledger of its own
    house = Installation(plant, f"{case}-{stamp}", BATCH)
    scheduled = case == UNDISTURBED
    night = Night(case, "its cron line" if scheduled else "a run asked of Prefect", images)
    house.set_up(in_a_minute() if scheduled else NEVER, bundle)
    begun = time.monotonic()
    with looked_after(plant) as caretaker:
        if not scheduled:
            house.begin_run()
        before: list[checks.Shard] = []
        if case == WITHOUT_PREFECT:
            follow_without_prefect(house, night, caretaker)
        else:
            plan = [] if scheduled else points(images, dice)
            before = follow(house, night, plan, caretaker, dice)
        night.seconds = round(time.monotonic() - begun, 1)
        night.notes |= {"restarted": caretaker.restarts, "troubles": caretaker.troubles}
        _judge(house, night, before)
    return night


def _judge(house: Installation, night: Night, before: list[checks.Shard]) -> None:
    """What must hold now, whatever was killed before."""
    night.commit = machine.describe()["commit"]
    runs = house.runs()
    night.runs = [run["state_name"] for run in runs]
    alone = [(run["auto_scheduled"], run["state_name"]) for run in runs] == [(True, "Completed")]
    if night.case == UNDISTURBED and not alone:
        night.problems.append(f"one run, by the schedule, was to complete: {night.runs}")
    night.problems += checks.unharmed(before, checks.committed(house.ledger, house.archive))
    verdict = _checked(house, night.images)
    night.problems += verdict.problems
    night.orphans = verdict.orphans
    scrub = fwd2bot("verify", "--config", house.config, env=house.plant.variables, timeout=600)
    if scrub.returncode:
        said = " ".join((scrub.stdout + scrub.stderr).split())[-300:]
        night.problems.append(f"verify ended with {scrub.returncode}: {said}")
    if night.case == UNDISTURBED:
        _undisturbed(house.plant).write_text(house.name)
        return
    calm = Installation(house.plant, _undisturbed(house.plant).read_text(), BATCH)
    night.token_difference = checks.furthest(verdict.tokens, _checked(calm, night.images).tokens)
    if night.token_difference > TOLERANCE:
        night.problems.append(f"tokens differ by {night.token_difference:g} from an undisturbed night's")


def _checked(house: Installation, images: int) -> checks.Verdict:
    return checks.check(house.ledger, house.archive, set(lay_out(images)[1]), failing={})


def _undisturbed(plant: Plant) -> Path:
    """Names the installation whose night was left alone."""
    return plant.folder / "undisturbed"


if __name__ == "__main__":
    raise SystemExit(app())
