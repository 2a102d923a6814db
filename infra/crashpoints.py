"""The named durable steps of a night, at which a test may kill the process that reaches them.

``FWD2BOT_CRASH_AT=worker.shard-written`` kills each process that gets there; ``worker.shard-written#7`` when it
gets there for the seventh time; ``worker.shard-written#7@/some/marker`` only as long as that file does not
exist, and makes it. Without the variable a step costs one dictionary look-up. Knows nothing about what the
steps do.
"""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path

VARIABLE = "FWD2BOT_CRASH_AT"

DRIVER_STEPS = (
    "driver.run-begun",  # lease taken, run row written
    "driver.discovered",  # a chunk of the listing is in the ledger
    "driver.batch-claimed",  # one batch and its claims are written, others are not
    "driver.plan-written",
    "driver.receipt-received",  # objects are written, nothing is committed
    "driver.shard-committed",
    "driver.manifest-written",  # before its pointer moves
    "driver.run-ended",  # lease released
)
WORKER_STEPS = (
    "worker.batch-started",
    "worker.image-fetched",
    "worker.forward-done",
    "worker.shard-written",
    "worker.segment-written",
    "worker.receipt-ready",
)
BACKFILL_STEPS = (
    "backfill.slice-written",  # a part of the listing is claimed, the next is not
    "backfill.batches-taken",  # planned batches are this run's now
)
DESTROY_STEPS = (
    "destroy.intended",  # a batch's intents are in the log
    "destroy.anchored",  # a checkpoint that covers them is kept outside
    "destroy.deleted",  # a version was deleted, with up to seven more, and nobody has asked the store yet
    "destroy.confirmed",  # a batch's ends are written down
    "destroy.settled",  # what an earlier run left open was asked for
    "destroy.withdrawn",  # intents were taken back
    "destroy.ended",  # nothing more becomes of the list
)
ERASE_STEPS = (
    "erase.intended",  # the intents are in the log
    "erase.anchored",  # a checkpoint that covers them is kept outside
    "erase.deleted",  # one version was deleted, and nobody has asked the store yet
    "erase.shard-written",  # the new shard lies there, and nothing names it
    "erase.shard-swapped",  # the old one is named by nothing any more
    "erase.list-redacted",  # an ended list has no lines any more
    "erase.shard-removed",  # every version of an old shard is deleted
    "erase.tidied",  # indexes and manifests follow
    "erase.forgotten",  # nothing names the photos any more; the last checkpoint is to come
)

_times = itertools.count(1)  # of the wanted step in this process; counting on is atomic between threads


def reach(step: str) -> None:
    """Die here by SIGKILL if the environment says so."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    place, _, marker = wanted.partition("@")
    name, _, nth = place.partition("#")
    if name != step or next(_times) < int(nth or 1) or (marker and not _first(Path(marker))):
        return
    os.kill(os.getpid(), signal.SIGKILL)


def _first(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
