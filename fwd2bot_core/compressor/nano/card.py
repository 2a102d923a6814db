"""What the nano bundle says of itself: its model card, from figures.

Knows words. Knows nothing of models; measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fwd2bot_core.compressor.protocol import CompressorSpec

KINDS = {
    "all": "all questions",
    "cell": "what is in the top left ?",
    "count": "how many items ?",
    "presence": "is there a bag ?",
    "place": "where is the bag ?",
    "describe": "describe . (every cell right)",
}

CARD = """# The nano bundle

A demonstration of the Fwd2Bot method, small enough to ship: {visual} visual tokens of a tray photo become
**{spec.k} summary tokens** of {spec.d} numbers ({spec.token_bytes:,} bytes, {spec.dtype}), from which the
same model answers. It knows ten kinds of Fashion-MNIST items in trays of up to four, and the few words that
its questions need. **It must never be the reason to destroy a photo** (`demonstration_only`): its eyes are 64
by 64 pixels, and what they cannot see no token can keep.

Fingerprint `{fingerprint}`.

## Held-out figures

{trays:,} trays of photos from the official Fashion-MNIST test split, none of which was seen in training; one
question of each kind a tray; an answer counts if it is right word for word. *From tokens* is the second pass
from the {spec.k} stored tokens. *From the image* is the same language model, unadapted, with all {visual}
visual tokens: it did not get the adapters' extra steps, so a small difference in favour of the tokens is
training, not magic. *Chance* always gives the commonest right answer of each kind.

| question | n | from tokens | from the image | chance |
|---|---|---|---|---|
{rows}

Text to image, recall at 1 among {recall_among}: **{recall_at_1:.3f}** (chance {recall_chance:.4f}). A find
counts when it carries the searched caption.

## How it was made

`python -m fwd2bot_core.compressor.nano.train --work WORK --out BUNDLE --seed {origin[seed]}`, at commit
`{origin[commit]}`{continued}, begun {origin[began]}, on {origin[machine]}, {origin[threads]} threads, shared with other
work; torch {origin[torch]}, transformers {origin[transformers]}.

| stage | trays a step | steps | of at most | minutes | of at most |
|---|---|---|---|---|---|
{stages}

The vision tower (0.41 M parameters, convolutional) learned to say what lies in the cell of each token and was
then frozen; the projector and a 4-layer, 128-wide Llama (0.90 M) learned to answer from all tokens, each
token also to lie near the embedding of the word for what is in its cell; then all of it was frozen and
rank-{rank} pairs on all linears, one set a pass, and the {spec.k} summary tokens (0.66 M) learned the double
forward pass with both losses, autoregressive and contrastive, in one graph. Training pictures came the whole
way of a night's photo: rendered at 384 pixels, JPEG, decoded, fitted; half of them were then put together
anew from cells, many left empty. Curves: `loss.svg`; all figures: `evaluation.json`.

## Limits

- One seed; no ablation, no rival at the same number of tokens, no second data set yet.
- Not learned, being no better than chance from tokens: {unlearned}.
- Coats, pullovers, shirts and t-shirts look alike at this size and are confused most.
- Words outside its {words} are unknown to it, and it answers all the same.
- Confidence is the mean probability of the words it said; it is not calibrated.

## Data and licence

Item photos: Fashion-MNIST (Zalando SE), MIT licence; training split for training, test split for the figures,
the probes and the sample archive. Trays, light and noise are drawn by code. Weights: Apache-2.0, as the rest.
"""


def text(figures: Mapping[str, Any], spec: CompressorSpec, **more: int) -> str:
    """The card of a bundle with these figures (``evaluation.json``)."""
    rows = [_row(KINDS[kind], figures["accuracy"][kind]) for kind in KINDS]
    stages = [_stage(name, stage) for name, stage in figures["stages"].items()]
    weak = [
        KINDS[kind] for kind, row in figures["accuracy"].items() if row["from_tokens"] < row["chance"] + 0.05
    ]
    unlearned = ", ".join(f"*{kind}*" for kind in weak) or "none of the questions above"
    continued = "".join(f", continued at `{commit}`" for commit in figures["origin"]["continued_at"])
    return CARD.format(
        spec=spec,
        **{
            **figures,
            "rows": "\n".join(rows),
            "stages": "\n".join(stages),
            "continued": continued,
            "unlearned": unlearned,
        },
        **more,
    )


def _row(question: str, row: Mapping[str, Any]) -> str:
    tokens = f"{row['from_tokens']:.3f} ± {row['interval']:.3f}"
    return f"| {question} | {row['questions']:,} | {tokens} | {row['from_image']:.3f} | {row['chance']:.3f} |"


def _stage(name: str, stage: Mapping[str, float]) -> str:
    """A stage that stopped short of its steps was stopped by its minutes."""
    minutes = f"{stage['seconds'] / 60:.1f} | {stage['limit'] / 60:.0f}"
    return f"| {name} | {stage['batch']} | {stage['steps']:,} | {stage['of']:,} | {minutes} |"
