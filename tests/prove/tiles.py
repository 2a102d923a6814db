"""A defect of a few pixels in a large photo: found from summary tokens with tiles, lost without.

    python -m tests.prove.tiles [--boards 600] [--steps 200]

Boards of three by three trays, 1,152 pixels a side, with one item on each tray; on half of the boards one item has
a scratch, seven pixels wide. Scaled to the bundle's 96 pixels, that is half a pixel. The shipped bundle is fine-tuned
twice by ``compressor train``, with the same photos, steps and tokens a crop: once looking at the whole photo, once at
its nine tiles. Held-out boards are drawn from another stretch of the same dice. Writes ``docs/evidence/tiles.json``,
``.md`` and a picture of what each of the two sees.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
from PIL import Image

from fwd2bot_core.compressor.nano import design, samples, trays
from fwd2bot_core.compressor.training import config
from fwd2bot_core.compressor.training.train import train
from tests.bench import machine

QUESTION = "is anything scratched?"
SIDE = 3  # trays a side
K = 4  # summary tokens a crop
VIEWS: dict[str, dict[str, Any]] = {"whole": {}, "tiles": {"tiles": [SIDE, SIDE], "thumbnail": False}}
app = cyclopts.App(name="tiles", help=__doc__)


def board(number: int, seed: int) -> tuple[Image.Image, bool]:
    """The photo of a board, and whether one of its items is scratched."""
    rng = np.random.default_rng([seed, number])
    scratched = bool(rng.random() < 0.5)
    where = int(rng.integers(SIDE * SIDE))
    whole = Image.new("RGB", (SIDE * trays.SIDE, SIDE * trays.SIDE))
    for place in range(SIDE * SIDE):
        tray = _tray(rng, scratched=scratched and place == where)
        picture = trays.render(tray, [samples.photo(held, rng) for held in tray.cells], rng)
        whole.paste(Image.fromarray(picture), (trays.SIDE * (place % SIDE), trays.SIDE * (place // SIDE)))
    return whole, scratched


def _tray(rng: np.random.Generator, *, scratched: bool) -> trays.Facts:
    """One big item and a card."""
    item, card = rng.permutation(len(trays.CELLS))[:2].tolist()
    kind, color, pose = (int(rng.integers(n)) for n in (len(trays.TOLD_APART), len(trays.COLORS), 2))
    cells = [trays.Held(trays.EMPTY)] * len(trays.CELLS)
    cells[item] = trays.Held(trays.TOLD_APART[kind], color, 1, pose, int(scratched))
    cells[card] = trays.Held(trays.CARD, *rng.integers(0, 10, 3).tolist())
    return trays.Facts(tuple(cells))


def write(folder: Path, name: str, numbers: range, seed: int) -> Path:
    """Boards as JPEG files and what a person would say of each."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.jsonl"
    with file.open("w") as rows:
        for number in numbers:
            photo, scratched = board(number, seed)
            photo.save(folder / f"{number}.jpg", quality=92)
            row = {"image": f"{number}.jpg", "question": QUESTION, "answer": "yes" if scratched else "no"}
            rows.write(json.dumps(row) + "\n")
    return file


def tuned(
    work: Path, bundle: str, view: str, files: tuple[Path, Path], steps: int, seed: int
) -> dict[str, Any]:
    """The figures of the bundle after its fine-tuning under ``view``; goes on where it was stopped."""
    settings = {
        "base": bundle,
        "output": str(work / view),
        "name": view,
        "demonstration_only": True,
        "data": {"train": [str(files[0])], "validation": [str(files[1])]},
        "method": {"k": K},
        "view": VIEWS[view],
        "losses": {"contrast": 0},
        "training": {"steps": steps, "batch": 16, "rate": 1e-3, "seed": seed, "report_every": 10},
    }
    made = train(config.parse(settings, work))
    if made is None:
        raise RuntimeError("this process leads no training")
    return made.figures


def seen(photo: Image.Image, place: int) -> Image.Image:
    """What the whole look and the tile at ``place`` give the tower, side by side, enlarged."""
    left, top = trays.SIDE * (place % SIDE), trays.SIDE * (place // SIDE)
    tile = photo.crop((left, top, left + trays.SIDE, top + trays.SIDE))
    shown = Image.new("RGB", (2 * 384 + 16, 384), "white")
    for column, look in enumerate((photo, tile)):
        small = look.resize(design.METHOD.size, Image.Resampling.BICUBIC)
        shown.paste(small.resize((384, 384), Image.Resampling.NEAREST), (column * 400, 0))
    return shown


def scratched_board(seed: int) -> tuple[Image.Image, int]:
    """The first board with a scratch, and the tray that has it."""
    for number in range(100):
        rng = np.random.default_rng([seed, number])
        if rng.random() < 0.5:
            return board(number, seed)[0], int(rng.integers(SIDE * SIDE))
    raise RuntimeError("a hundred boards without a scratch")


def table(result: dict[str, Any]) -> str:
    """The evidence in Markdown."""
    learnt, held_out = result["boards"]
    lines = [
        "# A scratch in a large photo, with tiles and without",
        "",
        f"Made by `python -m tests.prove.tiles`: {learnt} boards to learn from, {held_out} held out, {result['steps']} "
        f"steps each; machine: {result['machine']['processor']}, commit {result['machine']['commit']}.",
        "",
        "| looks at | tokens a photo | right from tokens |",
        "|---|--:|--:|",
    ]
    for view, row in result["views"].items():
        low, high = row["interval"]
        lines.append(f"| {view} | {row['tokens']} | {row['share']:.3f} ({low:.3f} to {high:.3f}) |")
    return "\n".join(
        [*lines, "", "![Left: the whole photo as the tower sees it; right: one tile](tiles.png)", ""]
    )


@app.default
def main(
    *,
    bundle: str = "nano",
    boards: int = 600,
    held_out: int = 300,
    steps: int = 200,
    seed: int = 9,
    work: Path = Path("prove-work/tiles"),
    out: Path = Path("docs/evidence"),
) -> None:
    """Draw, train twice, compare, write."""
    work = work.absolute()
    files = (
        write(work / "boards", "train", range(boards), seed),
        write(work / "boards", "held_out", range(boards, boards + held_out), seed),
    )
    result: dict[str, Any] = {
        "machine": machine.describe(),
        "boards": [boards, held_out],
        "steps": steps,
        "seed": seed,
        "views": {},
    }
    for view in VIEWS:
        figures = tuned(work, bundle, view, files, steps, seed)
        crops = SIDE * SIDE if view == "tiles" else 1
        result["views"][view] = {
            **figures["accuracy"]["all"]["from_tokens"][str(K)],
            "chance": figures["accuracy"]["all"]["chance"],
            "tokens": crops * K,
        }
        print(view, result["views"][view], flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "tiles.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "tiles.md").write_text(table(result))
    seen(*scratched_board(seed)).save(out / "tiles.png", optimize=True)


if __name__ == "__main__":
    app()
