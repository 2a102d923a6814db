"""What the nano bundle says of itself: its model card, from figures.

Knows words. Knows nothing of models; measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fwd2bot_core.compressor.nano import design, goals
from fwd2bot_core.compressor.nano.goals import Goal
from fwd2bot_core.compressor.protocol import CompressorSpec

Figures = Mapping[str, Any]
EXAMPLES = {
    "cell": "what is in b2?",
    "color": "what color is b2?",
    "size": "how big is b2?",
    "pose": "which way lies b2?",
    "state": "what state is b2?",
    "item": "describe b2. (every word right)",
    "lot": "what is the lot? (all three digits)",
    "count": "how many items?",
    "level": "what lies at the top? (all three)",
    "beside": "what is left of b2?",
    "presence": "is there a bag?",
    "place": "where is the bag?",
    "all": "**all questions**",
}

HEAD = """# The nano bundle

A demonstration of the Fwd2Bot method, small enough to ship: {visual} visual tokens of a tray photo become
**{spec.k} summary tokens** of {spec.d} numbers ({spec.token_bytes:,} bytes, {spec.dtype}; {bytes4:,} as `bits4`),
or the first {fewer} of them, from which the same model answers. It knows trays of nine compartments with Fashion-MNIST
items (kind, colour, size, how they lie, scratched or broken) and a card with a lot number, about {bits} bits a tray,
the drawn shapes of easy-VQA, and the {words} words that its questions need. **It must never be the reason to destroy a
photo** (`demonstration_only`): its eyes are {pixels} by {pixels} pixels, and what they cannot see no token can keep.

Fingerprint `{fingerprint}`.

## Goals

On held-out data: trays of photos from the official Fashion-MNIST test split, easy-VQA's own test split. None of it was
seen in training. An answer counts if it is right word for word. {below}

{goals}
"""

TABLES = """
## Held-out accuracy

*From the image*: the base with all {visual} visual tokens. *From 9, 4, 2, 1*: from so many stored tokens.
*Chance* always gives the commonest right answer of each kind. *Keeps 0.98* is the fewest tokens from which as many
keep that share of the accuracy from the image.

### Trays: {trays:,} of them, one question of each kind

{tray_rows}

### easy-VQA: {easy:,} pictures, all questions

{easy_rows}

![What is lost first](boundary.svg)

![Bytes against accuracy](curve.svg)

Text to image among {among:,}, as `fwd2bot search` does it (by vectors, then the first twenty token by token): R@1
{recall}. A find is the very picture that the caption (up to four items with place and colour) is of. The linear probe
is ridge regression on all numbers, its penalty chosen on a part of the
{probe_train:,} training pictures, each of one big white item in an else empty tray; all ten kinds, {probe_test:,}
test photos.
"""

TAIL = """
## How it was made

`python -m fwd2bot_core.compressor.nano.train --work WORK --out BUNDLE --seed {origin[seed]}`, at commit
`{origin[commit]}`{continued}, begun {origin[began]}, on {origin[machine]}, {origin[threads]} threads, shared with other
work; torch {origin[torch]}, transformers {origin[transformers]}.

| stage | pictures a step | steps | of at most | minutes | of at most |
|---|---|---|---|---|---|
{stages}

The vision tower, convolutional, learned to say what lies in the compartment of each token and was then frozen; the
projector and a 4-layer, {spec.d}-wide Llama learned to answer from all tokens, each token also to lie near the words
for what is in its compartment; then all of it was frozen and rank-{rank} pairs on all linears, one set a pass, and the
{spec.k} summary tokens learned the double forward pass with both losses, autoregressive and contrastive, in one graph,
each step with the first 1, 2, 4 or all {spec.k} of them. The summary tokens began as the names of the compartments, and
in the first 400 steps their states were also drawn, ever less, towards the mean visual token of each compartment. In a
last stage each caption had three false ones to be told from, and being told apart counted twice. (In the base's first
1,090 steps the words for size and pose were not yet among those that tokens lie near.) Training pictures came the whole
way of a night's photo: rendered at 384 pixels, JPEG, decoded, fitted; half of them were then put together anew from
compartments. A fifth were of easy-VQA's training split. Curves: `loss.svg`; all figures: `evaluation.json`;
`python -m fwd2bot_core.compressor.nano.figures` measures them again.

## Limits

- One seed.
{limits}- Coats and shirts look like other things at this size, to people too: no question asks for them, and a tray
  with them is out of what was examined.
- Words outside its {words} are unknown to it, and it answers all the same.
- Confidence is the mean probability of the words it said; it is not calibrated.

## Data and licence

Item photos: Fashion-MNIST (Zalando SE), MIT licence; training split for training, test split for the figures,
the probes and the sample archive. easy-VQA (Victor Zhou), MIT licence, the same way. Trays, cards, light and noise are
drawn by code. Weights: Apache-2.0, as the rest.
"""


def text(figures: Figures, spec: CompressorSpec, table: Sequence[Goal]) -> str:
    """The card of a bundle with these figures (``evaluation.json``), which may not be measured yet."""
    words = {
        "spec": spec,
        "visual": design.VISUAL,
        "pixels": design.PIXELS,
        "rank": design.METHOD.rank,
        "words": design.tokenizer().get_vocab_size() - len(design.SPECIAL),
        "fewer": ", ".join(map(str, design.METHOD.trained_k)),
        "fingerprint": figures["fingerprint"],
        "bytes4": spec.k * spec.d // 2,
        "bits": f"{figures['bits_of_a_tray']:.0f}" if "bits_of_a_tray" in figures else "79",
        "goals": goals.markdown(table),
        "below": _below(figures),
        "origin": figures["origin"],
        "continued": "".join(f", continued at `{commit}`" for commit in figures["origin"]["continued_at"]),
        "stages": "\n".join(_stage(name, stage) for name, stage in figures["stages"].items()),
        "limits": _limits(figures),
    }
    tables = TABLES.format(**words, **_tables(figures)) if "accuracy" in figures else ""
    return HEAD.format(**words) + tables + TAIL.format(**words)


def _below(figures: Figures) -> str:
    if "below" not in figures:
        return "The figures are not measured yet."
    if figures["below"] == "twin":
        return (
            "*From the image*, in ratios, is the base with LoRA of the same rank, trained as many steps as the "
            "adapters; intervals are from a paired bootstrap over pictures, 95 %."
        )
    return (
        "*From the image*, in ratios, is the base itself, which did not get the adapters' extra steps, so a ratio "
        "above one is training, not magic; intervals are from a paired bootstrap over pictures, 95 %."
    )


def _tables(figures: Figures) -> dict[str, Any]:
    trays, easy = figures["accuracy"]["trays"], figures["accuracy"]["easy-VQA"]
    bounds = figures["boundary"]
    recall = ", ".join(
        f"{one['recall_at_1']:.3f} from {k}"
        for k, one in sorted(figures["search"].items(), key=_number, reverse=True)
    )
    return {
        "trays": figures["counts"]["trays"],
        "easy": figures["counts"]["easy"],
        "tray_rows": _rows({kind: (EXAMPLES[kind], trays[kind], bounds.get(kind)) for kind in EXAMPLES}),
        "easy_rows": _rows(
            {kind: (kind, row, bounds.get(f"easy-VQA: {kind}")) for kind, row in easy.items()}
        ),
        "among": figures["search"]["9"]["among"],
        "recall": recall,
        "probe_train": figures["probe"]["train"],
        "probe_test": figures["probe"]["test"],
    }


def _number(named: tuple[str, Any]) -> int:
    return int(named[0])


def _rows(rows: Mapping[str, tuple[str, Mapping[str, Any], int | None]]) -> str:
    """One a kind of question; the columns are those of the first."""
    some = next(iter(rows.values()))[1]
    columns = [name for name in some if name.startswith("from_")]
    titles = [name.replace("_", " ").replace("image twin", "image, trained as long") for name in columns]
    lines = [
        "| question | n | " + " | ".join((*titles, "chance", "keeps 0.98")) + " |",
        "|---" * (len(titles) + 4) + "|",
    ]
    for kind, (question, row, least) in rows.items():
        cells = [f"{row[name]:.3f}" for name in (*columns, "chance")]
        kept = "" if kind == "all" else "more than 9" if least is None else str(least)
        lines.append(f"| {question} | {row['questions']:,} | " + " | ".join((*cells, kept)) + " |")
    return "\n".join(lines)


def _limits(figures: Figures) -> str:
    """What the figures themselves say is not learned."""
    if "accuracy" not in figures:
        return ""
    weak = [
        f"*{EXAMPLES[kind]}*"
        for kind, row in figures["accuracy"]["trays"].items()
        if kind != "all" and row["from_9"] < row["chance"] + 0.05
    ]
    return f"- No better than chance from tokens: {', '.join(weak)}.\n" if weak else ""


def _stage(name: str, stage: Mapping[str, float]) -> str:
    """A stage that stopped short of its steps was stopped by its minutes."""
    minutes = f"{stage['seconds'] / 60:.1f} | {stage['limit'] / 60:.0f}"
    return f"| {name} | {stage['batch']} | {stage['steps']:,} | {stage['of']:,} | {minutes} |"
