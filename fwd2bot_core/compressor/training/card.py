"""What a trained bundle says of itself, from its figures. Knows words; measures nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.protocol import CompressorSpec

CARD = """# {method.name}

A Fwd2Bot compressor: an image becomes **{spec.k} summary tokens** of {spec.d} numbers ({spec.token_bytes:,} bytes,
{spec.dtype}), from which the same model answers.{prefixes}{demonstration}

Fingerprint `{fingerprint}`.

## How it was made

`fwd2bot compressor train` from the base `{training[base]}`{fingerprint_of_base}, at commit
`{origin[commit]}`{continued}, begun {origin[began]}, on {origin[machine]}{team};
torch {origin[torch]}, transformers {origin[transformers]}.
Seed {training[seed]}; {training[steps]:,} of {training[of]:,} steps in {minutes:.1f} minutes;
{training[batch]} images a step were asked about, {training[compared]} told apart.
Learned: {learned}, rank {method.rank}. Curves: `loss.svg`.

Data: {data[images]:,} images with {data[questions]:,} questions and {data[captions]:,} captions from {files}
(sha256 of the files together `{data[sha256]}`); {data[held_out]:,} images held out.{unreadable}

## Held-out figures

{figures}

## Limits

- One training with one seed; figures hold for images and questions like those held out.
- *From the image* is the base model, unadapted: it did not get the adapters' steps, so a difference in favour of
  the tokens is training.
- What the vision tower cannot see, no token can keep.
- Confidence is the mean probability of the words it said; it is not calibrated.
"""


def text(figures: Mapping[str, Any], method: Method, spec: CompressorSpec) -> str:
    """The card of a bundle with these figures (``evaluation.json``)."""
    training, data, origin = figures["training"], figures["data"], figures["origin"]
    shorter = ", ".join(map(str, method.trained_k))
    base = training["base_fingerprint"]
    return CARD.format(
        method=method,
        spec=spec,
        **{name: figures[name] for name in ("fingerprint", "training", "data", "origin")},
        prefixes=f" The first {shorter} of them serve alone, too." if shorter else "",
        demonstration=" **It must never be the reason to destroy a photo.**"
        if method.demonstration_only
        else "",
        fingerprint_of_base=f" (`{base[:12]}`)" if base else "",
        continued="".join(f", continued at `{commit}`" for commit in origin["continued_at"]),
        team=f", {training['processes']} processes" if training["processes"] > 1 else "",
        minutes=training["seconds"] / 60,
        learned=" and ".join(training["learned"]),
        files=", ".join(f"`{name}`" for name in data["files"]),
        unreadable=f" {len(data['unreadable'])} could not be read." if data["unreadable"] else "",
        figures="\n".join(_figures(figures)) or "No image was held out.",
    )


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    if table := figures.get("accuracy"):
        lengths = list(table["all"]["from_tokens"])
        yield "An answer counts if it is right word for word; intervals are of 95 %."
        yield "*Chance* always gives the commonest right answer.\n"
        yield f"| question | n | {' | '.join(f'from {k} tokens' for k in lengths)} | from the image | chance |"
        yield "|---" * (len(lengths) + 4) + "|"
        for kind, row in table.items():
            shares = [*(row["from_tokens"][k] for k in lengths), row["from_image"]]
            said = " | ".join(
                f"{s['share']:.3f} ({s['interval'][0]:.3f} to {s['interval'][1]:.3f})" for s in shares
            )
            yield f"| {kind} | {row['questions']:,} | {said} | {row['chance']:.3f} |"
    if recall := figures.get("recall_at_1"):
        each = ", ".join(f"{share:.3f} with {k} tokens" for k, share in recall.items())
        yield f"\nText to image, recall at 1 among {figures['recall_among']:,}: {each}."
