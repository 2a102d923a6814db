"""Time to the first word of an answer, from stored tokens and from the image: ``python -m tests.bench.first_word``.

tokens   each image's tokens from its row of a real shard on disk, pass 2, the first word
image    each photo's file from disk: decode, scale, vision tower, all visual tokens through the model, the first word
pixels   the same from pixels that were decoded before

One question for all images of a batch. The ways run in turns; the ratios are what counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np

from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.tokens.shard import ShardWriter, read_many
from tests.bench import bound, evidence, photos, shapes, speed_plots, tables
from tests.bench.arguments import OUT, Out, Rounds, Sizes
from tests.bench.turns import in_turns, milliseconds, times_faster

app = cyclopts.App(name="first_word", help=__doc__)
MICRO_BATCH = 32
COLUMNS = {
    "batch": "batch",
    "rounds": "rounds",
    "tokens ms": "tokens_ms",
    "of which reading": "reading_ms",
    "image ms": "image_ms",
    "pixels ms": "pixels_ms",
    "image / tokens": "times_faster",
    "pixels / tokens": "times_faster_than_pixels",
}


class Stand:
    """A compressor, some photos and the shard that holds their tokens."""

    def __init__(self, compressor: Fwd2BotCompressor, files: Sequence[Path], folder: Path) -> None:
        self.compressor, self.files, self.shard = compressor, files, folder / "shard.parquet"
        bodies = [path.read_bytes() for path in files]
        self.pixels: list[Prepared] = [compressor.prepare(body) for body in bodies]
        writer = ShardWriter(compressor.spec, "bench")
        for start in range(0, len(files), MICRO_BATCH):
            some = slice(start, start + MICRO_BATCH)
            bound.append(writer, self.pixels[some], bodies[some], compressor.compress(self.pixels[some]))
        self.shard.write_bytes(writer.finish())
        self.question = next(iter(compressor.fidelity_probes), shapes.QUESTION)

    def read(self, rows: Sequence[int]) -> np.ndarray:
        """Tokens [B, k, d] of ``rows``; the file is opened anew, and lies in the page cache."""
        with self.shard.open("rb") as file:
            return read_many(file, rows, self.compressor.spec.fingerprint)

    def from_tokens(self, rows: Sequence[int]) -> None:
        self.compressor.answers(self.read(rows), [self.question] * len(rows))

    def from_images(self, rows: Sequence[int]) -> None:
        images = [self.compressor.prepare(self.files[row].read_bytes()) for row in rows]
        self.compressor.answers_from_images(images, [self.question] * len(rows))

    def from_pixels(self, rows: Sequence[int]) -> None:
        self.compressor.answers_from_images([self.pixels[row] for row in rows], [self.question] * len(rows))

    def measure(self, batch: int, rounds: int) -> dict[str, Any]:
        """One row of the table; other images in each call, so that nothing is found again by chance."""
        dice = np.random.default_rng(batch)

        def of(way: Callable[[Sequence[int]], object]) -> Callable[[], object]:
            return lambda: way(dice.choice(len(self.files), batch, replace=False).tolist())

        ways = {
            "tokens": of(self.from_tokens),
            "image": of(self.from_images),
            "pixels": of(self.from_pixels),
            "reading": of(self.read),
        }
        taken = in_turns(ways, rounds)
        return {
            "batch": batch,
            "rounds": len(taken["tokens"]),
            **{f"{name}_ms": milliseconds(taken[name]) for name in ways},
            "times_faster": times_faster(taken, "image", "tokens"),
            "times_faster_than_pixels": times_faster(taken, "pixels", "tokens"),
        }


@app.default
def main(
    *,
    bundle: Annotated[str, cyclopts.Parameter(help="A bundle, or a shape of tests.bench.shapes.")] = "nano",
    k: Annotated[int | None, cyclopts.Parameter(help=shapes.K)] = None,
    batch: Sizes = (1, 8, 32),
    rounds: Rounds = 15,
    images: Annotated[int, cyclopts.Parameter(help="Photos in the shard.")] = 256,
    goal: Annotated[float, cyclopts.Parameter(help="Ratio to reach at the largest batch.")] = 5.0,
    out: Out = OUT,
) -> int:
    """Measure, print one table, write JSON and a plot. Exit code 1 when the largest batch misses the goal."""
    before = evidence.begin()
    if shape := shapes.SHAPES.get(bundle):
        compressor = shapes.of_shape(shapes.without_pairs(shapes.net(shape)), shape)
    else:
        compressor = shapes.of_bundle(bundle, k)
    root, keys = photos.lay_out(images)
    with tempfile.TemporaryDirectory(prefix="fwd2bot-first-word-") as folder:
        stand = Stand(compressor, [root / key for key in keys], Path(folder))
        rows = [stand.measure(size, rounds) for size in batch]
    seen, spec = shapes.visual_tokens(compressor.net), compressor.spec
    said = {"model": Path(bundle).name, "k": spec.k, "visual_tokens": seen, "fewer": round(seen / spec.k, 2)}
    tables.show(
        f"first word, {said['model']}: {spec.k} tokens for {seen}, {said['fewer']} times fewer; "
        f"medians; goal {goal} at batch {batch[-1]}",
        rows,
        COLUMNS,
    )
    result = evidence.write(out / "first_word.json", before, {**said, "goal": goal, "rows": rows})
    speed_plots.first_word(result, out / "first_word.svg")
    return int(rows[-1]["times_faster"] < goal)


if __name__ == "__main__":
    raise SystemExit(app())
