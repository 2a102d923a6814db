"""What a codec costs and saves: ``python -m tests.bench.codecs``.

answers   each codec on held-out trays: exact answers from the decoded tokens, paired with those from exact tokens;
          text-to-image recall with the vector that is stored beside them; error and bytes against bfloat16
bytes     real shards of each codec, everything in them counted, against originals of 100 KB, 1 MB and 10 MB; for the
          bundle and for 16 tokens of 4,096 normally distributed numbers, as a model of 7 billion parameters has them
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import cyclopts
import numpy as np
import torch
from matplotlib.figure import Figure

from fwd2bot_core.compressor.evaluation import BATCH, Example, right
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.loading import load
from fwd2bot_core.compressor.nano import exam
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.tokens import codec as codecs
from fwd2bot_core.tokens import pooled as pooling
from fwd2bot_core.tokens.codec_name import NAMES, CodecName
from fwd2bot_core.tokens.numbers import narrowed, widened
from fwd2bot_core.tokens.shard import ShardRow, write_shard
from tests.bench import evidence, tables
from tests.bench.arguments import OUT, Out

app = cyclopts.App(name="codecs", help=__doc__)
ORIGINALS = {"100 KB": 100_000, "1 MB": 1_000_000, "10 MB": 10_000_000}
LARGE = (16, 4096)  # k and d of a model of 7 billion parameters
LOSS = 0.005  # of the exact tokens' accuracy, at most
ANSWERS = {
    "codec": "codec",
    "bytes": "row_bytes",
    "/ bfloat16": "ratio",
    "error": "error",
    "accuracy": "accuracy",
    "/ exact": "kept",
    "interval": "interval",
    "lost": "lost",
    "won": "won",
    "R@1": "recall",
}


@dataclass(frozen=True)
class Sitting:
    """An exam, compressed once."""

    compressor: Fwd2BotCompressor
    tokens: np.ndarray[Any, Any]  # [images, k, d]
    pooled: np.ndarray[Any, np.dtype[np.float32]]  # [images, d]
    texts: np.ndarray[Any, np.dtype[np.float32]]  # [images, d], of the captions
    captions: list[str]
    asked: list[tuple[int, Example]]  # each with the place of its image


@app.default
def main(
    *,
    bundle: Annotated[str, cyclopts.Parameter(help="A bundle's name or folder.")] = "nano",
    trays: Annotated[int, cyclopts.Parameter(help="Held-out images.")] = exam.EXAM_TRAYS,
    out: Out = OUT,
) -> int:
    """Print both tables, write codecs.json and codecs.svg; exit code 1 if no codec meets the goal."""
    before = evidence.begin()
    torch.set_num_threads(1)
    sitting = _sit(cast(Fwd2BotCompressor, load(bundle, threads=1)), _held_out(trays))
    answers = _answers(sitting)
    about = f"{len(sitting.asked):,} questions about {trays:,} held-out images"
    tables.show(f"answers to {about}", [_precise(row) for row in answers], ANSWERS)
    stored = _stored(sitting)
    tables.show("bytes an image in a shard, over the original's", stored, _stored_columns())
    figures = {"bundle": bundle, "trays": trays, "answers": answers, "stored": stored}
    _plot(evidence.write(out / "codecs.json", before, figures), out / "codecs.svg")
    met = [row["codec"] for row in answers if row["ratio"] <= 0.25 and row["kept"] >= 1 - LOSS]
    print(f"at most a quarter of bfloat16 and {LOSS:.1%} of the accuracy: {', '.join(met) or 'none'}")
    return 0 if met else 1


def _held_out(trays: int) -> exam.Exam:
    """Images, questions and captions that no training has seen."""
    return exam.held_out(trays)


def _sit(compressor: Fwd2BotCompressor, held: exam.Exam) -> Sitting:
    starts = range(0, len(held.images), BATCH)
    made = [compressor.compress(held.images[start : start + BATCH]) for start in starts]
    places = {id(image): place for place, image in enumerate(held.images)}
    return Sitting(
        compressor=compressor,
        tokens=np.concatenate([summary.tokens for summary in made]),
        pooled=np.concatenate([summary.pooled for summary in made]),
        texts=np.stack([compressor.embed_text(caption) for caption in held.captions]),
        captions=held.captions,
        asked=[(places[id(example.image)], example) for example in held.examples],
    )


def _answers(sitting: Sitting) -> list[dict[str, Any]]:
    spec, rows = sitting.compressor.spec, []
    exact = _right(sitting, sitting.tokens)
    for codec in NAMES:
        back = codecs.as_stored(sitting.tokens, spec, codec)
        mine = exact if codec == "exact" else _right(sitting, back)
        difference = mine.astype(int) - exact
        was, now = widened(sitting.tokens, spec), widened(back, spec)
        rows.append(
            {
                "codec": codec,
                "row_bytes": codecs.row_bytes(spec, codec),
                "ratio": codecs.row_bytes(spec, codec) / (2 * spec.k * spec.d),
                "error": float(((was - now) ** 2).mean() / (was**2).mean()),
                "accuracy": float(mine.mean()),
                "kept": float(mine.mean() / exact.mean()),
                "interval": float(1.96 * difference.std() / np.sqrt(len(difference)) / exact.mean()),
                "lost": int((difference < 0).sum()),
                "won": int((difference > 0).sum()),
                "recall": _recall(sitting, codec),
            }
        )
    return rows


def _precise(row: dict[str, Any]) -> dict[str, Any]:
    """With digits enough to see half a percent."""
    return row | {name: f"{row[name]:.4f}" for name in ("accuracy", "kept", "interval", "recall")}


def _right(sitting: Sitting, tokens: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """[questions]: whether each is answered exactly."""
    found: list[bool] = []
    for start in range(0, len(sitting.asked), BATCH):
        few = sitting.asked[start : start + BATCH]
        said = sitting.compressor.answers(
            tokens[[place for place, _ in few]], [one.question for _, one in few]
        )
        found += [right(answer, one) for answer, (_, one) in zip(said, few, strict=True)]
    return np.array(found)


def _recall(sitting: Sitting, codec: CodecName) -> float:
    column = pooling.encode(sitting.pooled, codec)
    nearest = (sitting.texts @ pooling.decode(column, sitting.pooled.shape[1]).T).argmax(axis=1)
    captions = sitting.captions
    return float(
        np.mean([captions[place] == wanted for place, wanted in zip(nearest, captions, strict=True)])
    )


def _stored(sitting: Sitting) -> list[dict[str, Any]]:
    k, d = LARGE
    large = replace(sitting.compressor.spec, name="normal", k=k, d=d, dtype="bfloat16")
    numbers = np.random.default_rng(0).standard_normal((128, k, d))
    vectors = numbers.mean(axis=1) / np.linalg.norm(numbers.mean(axis=1), axis=1, keepdims=True)
    whole = [
        (sitting.compressor.spec, sitting.tokens, sitting.pooled),
        (large, narrowed(numbers, large), vectors.astype(np.float32)),
    ]
    return [_shard_bytes(spec, codec, tokens, pooled) for spec, tokens, pooled in whole for codec in NAMES]


def _shard_bytes(
    spec: CompressorSpec, codec: CodecName, tokens: np.ndarray[Any, Any], pooled: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """Bytes an image of a real shard: tokens, vector, names, hashes, checksums and footer."""
    rows = [_row(number) for number in range(len(tokens))]
    each = len(write_shard(spec, "line-1", rows, tokens, pooled, codec)) / len(rows)
    return {
        "model": f"{spec.name} {spec.k} x {spec.d} {spec.dtype}",
        "codec": codec,
        "tokens": codecs.row_bytes(spec, codec),
        "pooled": pooling.row_bytes(spec.d, codec),
        "stored": round(each),
        **{name: each / size for name, size in ORIGINALS.items()},
    }


def _row(number: int) -> ShardRow:
    """Names and hashes as an archive of a camera has them."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return ShardRow(
        object_version_id=number + 1,
        content_sha256=digest,
        key=f"line-1/2026-11-23/camera-{number % 4}/tray-{number:06}.jpg",
        identity=f"e:{digest[:32]}:{1_000_000 + int(digest[:4], 16)}",
        modified=datetime.fromtimestamp(1_795_000_000 + 3.7 * number, UTC),
        width=4096,
        height=3072,
        format="JPEG",
        source_bytes=1_000_000 + int(digest[:4], 16),
    )


def _stored_columns() -> dict[str, str]:
    plain = ("model", "codec", "tokens", "pooled", "stored")
    return {name: name for name in (*plain, *ORIGINALS)}


def _plot(result: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(11, 4), layout="constrained")
    kept, shares = figure.subplots(1, 2)
    rows = [row for row in result["answers"] if row["codec"] != "exact"]
    kept.errorbar(
        [row["ratio"] for row in rows],
        [row["kept"] for row in rows],
        [row["interval"] for row in rows],
        fmt="o",
    )
    for row in rows:
        kept.annotate(row["codec"], (row["ratio"], row["kept"]), textcoords="offset points", xytext=(6, 4))
    kept.axhline(1 - LOSS, linestyle="--", color="gray")
    kept.axvline(0.25, linestyle="--", color="gray")
    kept.set(
        xlabel="bytes of tokens / bfloat16", ylabel="accuracy / from exact tokens", title="what codecs lose"
    )
    _curves(shares, result["stored"])
    figure.savefig(path, metadata={"Date": None})


def _curves(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        style = "-" if row["model"] == rows[0]["model"] else "--"
        label = f"{row['codec']}, {row['model']}"
        axes.loglog(
            list(ORIGINALS.values()),
            [row[name] for name in ORIGINALS],
            style + "o",
            label=label,
            markersize=3,
        )
    axes.axhline(1, color="gray")
    axes.set(xlabel="bytes of the original", ylabel="stored bytes / original's", title="an image in a shard")
    axes.legend(fontsize=6, loc="lower left")


if __name__ == "__main__":
    raise SystemExit(app())
