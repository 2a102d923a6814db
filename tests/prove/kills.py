"""Kill -9 at every durable step of a night, and see what the next night makes of it.

``python -m tests.prove.kills`` goes through every case that is not proven yet and can be stopped at any time;
``--fresh`` starts over. Each case is a night of real photos by the real command on two Dask workers.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Annotated

import cyclopts

from fwd2bot_core.compressor.loading import read_spec
from infra.crashpoints import DRIVER_STEPS, WORKER_STEPS
from tests.bench import machine, photos
from tests.parts.process import kill_session
from tests.prove import checks, poison
from tests.prove.evidence import Evidence, Record
from tests.prove.site import (
    BATCH,
    WORKERS,
    Ended,
    Site,
    kill_driver_after,
    kill_worker_after,
    outlived_by,
)

KILLED = -9
SEED = 20261124
MIDDLE = {  # reached many times a night: die once in the middle, too
    "driver.batch-claimed": 20,
    "driver.receipt-received": 20,
    "driver.shard-committed": 20,
    "worker.batch-started": 8,
    "worker.image-fetched": 400,
    "worker.forward-done": 16,
    "worker.shard-written": 8,
    "worker.segment-written": 8,
    "worker.receipt-ready": 8,
}
TOLERANCE = 1e-4  # of tokens: another composition of a micro-batch rounds differently
UNDISTURBED = "undisturbed"
app = cyclopts.App(name="kills", help=__doc__)


@dataclass(frozen=True)
class Scene:
    """What all cases share."""

    work: Path
    root: Path  # of the photos
    keys: list[str]
    bundle: str

    def site(self, case: str) -> Site:
        return Site(self.work / case, self.root, self.bundle)


Case = Callable[[Scene, str], Record]


@app.default
def main(
    *,
    images: Annotated[int, cyclopts.Parameter(help="Photos a night.")] = 2000,
    bundle: Annotated[str, cyclopts.Parameter(help="'nano', 'fake' or a folder.")] = "nano",
    only: Annotated[str, cyclopts.Parameter(help="Cases whose name matches this pattern.")] = "*",
    minutes: Annotated[float, cyclopts.Parameter(help="Start no case later than this.")] = 120,
    fresh: Annotated[bool, cyclopts.Parameter(help="Forget what was proven.", negative="")] = False,
    work: Annotated[Path, cyclopts.Parameter(help="Where archives are made.")] = Path("prove-work/kills"),
    out: Annotated[Path, cyclopts.Parameter(help="Folder of kills.json and kills.md.")] = Path(
        "docs/evidence"
    ),
) -> int:
    """Run what is not proven yet. Exit code 0: all hold; 1: one does not; 3: the time ran out."""
    ends = time.monotonic() + 60 * minutes
    root, keys = photos.lay_out(images)
    scene = Scene(work.resolve(), root, keys, bundle)
    spec = read_spec(bundle)
    parameters = {"images": images, "batch": BATCH, "workers": WORKERS, "bundle": f"{spec.name} {spec.short}"}
    evidence = Evidence(out, parameters, fresh=fresh)
    failed, left = 0, 0
    for case, run in _cases(evidence, scene):
        if case in evidence or not (fnmatch(case, only) or case == UNDISTURBED):
            continue
        if time.monotonic() > ends:
            left += 1
            continue
        record = run(scene, case)
        about = machine.describe()
        record.commit = about["commit"]
        evidence.add(record, about)
        failed += not record.proven
        print(
            f"{case}: {'holds' if record.proven else record.problems} {record.exits} {record.seconds}",
            flush=True,
        )
        if record.proven and case != UNDISTURBED:
            shutil.rmtree(scene.work / case)
    return 1 if failed else 3 if left else 0


def _cases(evidence: Evidence, scene: Scene) -> Iterator[tuple[str, Case]]:
    """Every case by name, the undisturbed night first: the others are held against it."""
    if not (scene.work / UNDISTURBED / "ledger.sqlite").exists():
        evidence.forget(UNDISTURBED)
    yield UNDISTURBED, _undisturbed
    whole = evidence[UNDISTURBED].seconds[0]
    for step in DRIVER_STEPS:
        yield step, partial(_step, "driver", f"at the first {step}", step)
        if step in MIDDLE:
            nth = MIDDLE[step]
            yield f"{step}.middle", partial(_step, "driver", f"at {step} number {nth}", f"{step}#{nth}")
    for step in WORKER_STEPS:
        for name, nth in ((step, 1), (f"{step}.middle", MIDDLE[step])):
            yield name, partial(_step, "worker", f"at its {step} number {nth}", f"{step}#{nth}")
    for n in range(5):
        dice = random.Random(SEED + n)
        yield f"driver.random-{n + 1}", partial(_random_driver, dice.uniform(0.1, 0.95), whole)
    for n in range(3):
        dice = random.Random(SEED + 100 + n)
        yield f"worker.random-{n + 1}", partial(_random_worker, dice.uniform(0, 0.7), whole, dice)
    yield "poison", _poison


def _undisturbed(scene: Scene, case: str) -> Record:
    site = scene.site(case)
    return _judged(scene, site, Record(case, "nothing", [], []), [site.night()])


def _step(victim: str, when: str, place: str, scene: Scene, case: str) -> Record:
    """The victim dies at a step: a driver's work is taken up by the next night, a worker's by the same one."""
    site = scene.site(case)
    marker = site.folder / "died"
    first = site.night(crash_at=f"{place}@{marker}")
    record = Record(case, f"{victim} {when}", [], [])
    if not marker.exists():
        record.problems.append(f"nobody died at {place}")
    if victim == "worker":
        return _judged(scene, site, record, [first])
    return _resumed(scene, site, record, first)


def _random_driver(share: float, seconds: float, scene: Scene, case: str) -> Record:
    """Killed after ``share`` of a night that takes ``seconds``; if this one was faster, it tells how fast."""
    for _ in range(3):
        site = scene.site(case)
        first = site.night(meanwhile=kill_driver_after(share * seconds))
        if first.code == KILLED:
            break
        seconds = first.seconds
    return _resumed(scene, site, Record(case, f"driver after {share:.0%} of a night", [], []), first)


def _random_worker(share: float, seconds: float, dice: random.Random, scene: Scene, case: str) -> Record:
    """Killed after ``share`` of ``seconds`` from the start of the workers, or sooner if the night is over by then."""
    killed: list[int] = []
    for _ in range(3):
        site = scene.site(case)
        night = site.night(meanwhile=kill_worker_after(share * seconds, dice, killed))
        if killed:
            break
        seconds /= 2
    record = Record(case, f"a worker {share * seconds:.1f} s after their start", [], [])
    if not killed:
        record.problems.append("no worker died")
    return _judged(scene, site, record, [night])


def _resumed(scene: Scene, site: Site, record: Record, first: Ended) -> Record:
    """The next night at once, while workers of the dead one may still be there; then the checks."""
    if first.code != KILLED:
        record.problems.append(f"the night was to be killed, and ended with {first.code}: {first.errors}")
    before = checks.committed(site.ledger, site.archive)
    record.committed_before = len(before)
    second = site.night()
    record.workers_gone_after = round(second.seconds + outlived_by(first.session), 1)
    if record.workers_gone_after == float("inf"):
        record.problems.append("processes of the killed night are still there")
        record.workers_gone_after = None
        kill_session(first.session)
    record.problems += checks.unharmed(before, checks.committed(site.ledger, site.archive))
    return _judged(scene, site, record, [first, second])


def _judged(
    scene: Scene, site: Site, record: Record, nights: list[Ended], *, failing: dict[str, str] | None = None
) -> Record:
    """What must hold now, whatever was killed before."""
    last, expected = nights[-1], 3 if failing else 0
    scrub = site.run("verify")
    record.exits = [one.code for one in (*nights, scrub)]
    record.seconds = [one.seconds for one in (*nights, scrub)]
    record.resumed_batches = last.said.get("resumed_batches")
    if last.code != expected:
        record.problems.append(f"the last night ended with {last.code}, not {expected}: {last.errors}")
    if scrub.code != 0:
        record.problems.append(
            f"verify ended with {scrub.code}: {scrub.said.get('findings') or scrub.errors}"
        )
    verdict = checks.check(site.ledger, site.archive, set(scene.keys), failing=failing or {})
    record.problems += verdict.problems
    record.orphans, record.temporary = verdict.orphans, verdict.temporary
    if not failing:
        record.token_difference = _difference(scene, verdict.tokens)
        if record.token_difference > TOLERANCE:
            record.problems.append(
                f"tokens differ by {record.token_difference:g} from an undisturbed night's"
            )
    return record


def _difference(scene: Scene, tokens: checks.Tokens) -> float:
    calm = scene.work / UNDISTURBED
    calm_tokens = checks.check(calm / "ledger.sqlite", calm / "archive", set(scene.keys), failing={}).tokens
    return checks.furthest(tokens, calm_tokens)


def _poison(scene: Scene, case: str) -> Record:
    """Two photos that kill every worker that decodes them; the same night without them is the measure of time."""
    keys = scene.keys[: len(scene.keys) // 2]
    poisoned = {keys[len(keys) // 5], keys[len(keys) // 2 + 7]}
    originals = scene.work / f"{case}-photos"
    shutil.rmtree(originals, ignore_errors=True)
    poison.lay_out(scene.root, keys, originals, poisoned)
    poisoned_scene = Scene(scene.work, originals, keys, scene.bundle)
    calm = poisoned_scene.site(case).night()  # the comment alone does nothing
    site = poisoned_scene.site(case)
    night = site.night(extra=poison.set_up(site.folder / "hook"))
    shutil.rmtree(originals)
    record = Record(
        case, f"a worker, by {len(poisoned)} photos of {len(keys)}, each time it decodes them", [], []
    )
    record.notes = {
        "night_without_poison_seconds": calm.seconds,
        "cost_seconds": round(night.seconds - calm.seconds, 1),
    }
    return _judged(poisoned_scene, site, record, [night], failing=dict.fromkeys(poisoned, "killed_worker"))


if __name__ == "__main__":
    raise SystemExit(app())
