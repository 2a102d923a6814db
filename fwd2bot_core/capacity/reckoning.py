"""Hours, requests, bytes and database growth of compressing so many images; pure arithmetic over named figures.

A night lists and writes down, then plans, then compresses; within the last of these the accelerator, the store, the
decoding cores, the scheduler and the commits work at the same time, so that the slowest of them sets the pace. What is
small is left out: starting workers, manifests, checkpoints, retries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fwd2bot_core.capacity.figures import ASSUMED, RATE, Figure, Figures
from fwd2bot_core.capacity.models import Model
from fwd2bot_core.errors import UsageError
from fwd2bot_core.tokens import pooled
from fwd2bot_core.tokens.codec import row_bytes
from fwd2bot_core.tokens.codec_name import CodecName

LISTED_AT_ONCE = 1_000  # keys in one answer of a store
WRITES_A_BATCH = 2  # a shard and an audit segment
READS_A_BATCH = 4  # before a commit both are read back and hashed, and looked for once more within it


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked about. ``known`` images lie in the collection already and are listed each night."""

    images: int
    gpus: int
    model: Model
    batch: int = 1_000
    known: int = 0
    codec: CodecName = "exact"
    database: str = "postgresql"

    def __post_init__(self) -> None:
        if min(self.images, self.gpus, self.batch) < 1 or self.known < 0:
            raise UsageError("images, gpus and batch are to be at least 1, and known at least 0")

    @property
    def batches(self) -> int:
        return math.ceil(self.images / self.batch)


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing that takes time; those with ``beside`` go on at the same time as each other."""

    name: str
    seconds: float
    beside: bool
    cure: str  # what makes it shorter
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """The answer. Bytes are bytes; reads and writes are requests to the store, lists among the writes."""

    load: Load
    phases: tuple[Phase, ...]
    reads: int
    writes: int
    bytes_in: float
    bytes_out: float
    bytes_checked: float  # of what was written, read back by the driver
    ledger_bytes: float
    figures: tuple[Figure, ...]  # of bytes

    @property
    def seconds(self) -> float:
        """Of the whole: what comes one after the other, and the slowest of what goes on together."""
        together = max(one.seconds for one in self.phases if one.beside)
        return together + sum(one.seconds for one in self.phases if not one.beside)

    @property
    def bottleneck(self) -> Phase:
        return max(self.phases, key=lambda one: one.seconds)

    @property
    def gpu_hours(self) -> float:
        """Of GPUs that are held while batches run, whether they are busy or not."""
        return max(one.seconds for one in self.phases if one.beside) * self.load.gpus / 3600

    @property
    def gpu_busy(self) -> float:
        """Share of those hours in which a forward pass runs."""
        forward = next(one.seconds for one in self.phases if one.name == "forward")
        return forward / max(one.seconds for one in self.phases if one.beside)

    @property
    def used(self) -> tuple[Figure, ...]:
        """Every figure that was reckoned with, once."""
        return tuple(dict.fromkeys([f for one in self.phases for f in one.figures] + list(self.figures)))


def reckon(load: Load, figures: Figures) -> Reckoning:
    """Raises ``UsageError`` for a figure that nobody knows."""
    image, overhead = figures["image_bytes"], figures["shard_overhead_bytes"]
    line, growth = figures["segment_bytes"], figures[f"ledger_bytes.{load.database}"]
    spec = load.model.spec
    stored = row_bytes(spec, load.codec) + pooled.row_bytes(spec.d, load.codec) + overhead.value + line.value
    listed = math.ceil((load.known + load.images) / LISTED_AT_ONCE)
    return Reckoning(
        load=load,
        phases=(*_before(load, figures), *_together(load, figures)),
        reads=load.images + READS_A_BATCH * load.batches,
        writes=listed + WRITES_A_BATCH * load.batches,
        bytes_in=load.images * image.value,
        bytes_out=load.images * stored,
        bytes_checked=load.images * stored,
        ledger_bytes=load.images * growth.value,
        figures=(image, overhead, line, growth),
    )


def rate(model: Model, figures: Figures) -> Figure:
    """Images a second of one GPU: measured or given for this model, or else from the card's arithmetic."""
    name = f"{RATE}{model.name}"
    if name in figures:
        return figures[name]
    card, share = figures["gpu_operations_a_second"], figures["gpu_share"]
    return Figure(
        name,
        card.value * share.value / model.operations,
        "images/s",
        ASSUMED,
        f"{model.operations / 1e12:.2f}e12 operations an image at {share.value:.0%} of {card.value:.3g} a second",
    )


def _before(load: Load, figures: Figures) -> tuple[Phase, ...]:
    known, new, plan = (
        figures[name] for name in ("listed_known_a_second", "listed_new_a_second", "planned_a_second")
    )
    walk = figures[f"walked_a_second.{load.database}"]
    return (
        Phase(
            "discovery",
            load.known / known.value + load.images / new.value,
            False,
            "an inventory instead of a listing; prefixes as collections of their own",
            (known, new),
        ),
        Phase(
            "plan",
            (load.known + load.images) / walk.value + load.images / plan.value,
            False,
            "several collections; a backfill, which plans in slices while others run",
            (walk, plan),
        ),
    )


def _together(load: Load, figures: Figures) -> tuple[Phase, ...]:
    images, gpus = load.images, load.gpus
    forward, image, pixels = rate(load.model, figures), figures["image_bytes"], figures["image_megapixels"]
    line, decode = figures["store_bytes_a_second_a_worker"], figures["decode_seconds_a_megapixel"]
    cores, encode = figures["cores_a_gpu"], figures["encode_seconds_an_image"]
    commit, handled = (
        figures[f"committed_a_second.{load.database}"],
        figures["scheduled_batches_a_second"],
    )
    hands = images * (decode.value * pixels.value + encode.value) / (gpus * cores.value)
    return (
        Phase("forward", images / (gpus * forward.value), True, "more or faster GPUs", (forward,)),
        Phase(
            "fetch",
            images * image.value / (gpus * line.value),
            True,
            "a faster network between workers and store",
            (image, line),
        ),
        Phase("decode and encode", hands, True, "more cores a GPU", (pixels, decode, encode, cores)),
        Phase(
            "scheduler",
            load.batches / handled.value,
            True,
            "larger batches; several schedulers, one a collection",
            (handled,),
        ),
        Phase(
            "commit",
            images / commit.value,
            True,
            "PostgreSQL on fast disks; several ledgers, one a group of collections",
            (commit,),
        ),
    )
