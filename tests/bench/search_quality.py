"""How well texts find pictures: ``python -m tests.bench.search_quality``.

Held-out trays are compressed, and every caption is searched among all of them. A tray is right if all that the caption
says is true of it. nDCG@10 and the share whose first find is right, by the pooled vector alone, and with the first
finds looked at again token by token, as ``fwd2bot search`` does.
"""

from __future__ import annotations

from typing import Annotated, Any, cast

import cyclopts
import numpy as np
import torch

from fwd2bot_core.compressor.evaluation import BATCH
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.loading import load
from fwd2bot_core.compressor.nano import exam
from fwd2bot_core.tokens.numbers import widened
from fwd2bot_core.tokens.search import late, second_look
from tests.bench import evidence, tables
from tests.bench.arguments import OUT, Out

app = cyclopts.App(name="search_quality", help=__doc__)
AT = 10
COLUMNS = {"looked at again": "rerank", "nDCG@10": "ndcg_at_10", "first is right": "first"}
Floats = np.ndarray[Any, np.dtype[np.float32]]


@app.default
def main(
    *,
    bundle: Annotated[str, cyclopts.Parameter(help="A bundle's name or folder.")] = "nano",
    trays: Annotated[int, cyclopts.Parameter(help="Held-out images, and as many captions.")] = 600,
    rerank: Annotated[tuple[int, ...], cyclopts.Parameter(consume_multiple=True)] = (0, 10, 50, 200),
    out: Out = OUT,
) -> int:
    """Print one table, write JSON; exit code 1 if looking again makes it worse."""
    before = evidence.begin()
    torch.set_num_threads(1)
    model = cast(Fwd2BotCompressor, load(bundle, threads=1))
    held = exam.shipped(model.prepare, trays)
    made = [model.compress(held.images[start : start + BATCH]) for start in range(0, trays, BATCH)]
    tokens = widened(np.concatenate([one.tokens for one in made]), model.spec)
    pooled = np.concatenate([one.pooled for one in made])
    right = np.array([[all(c.holds(facts) for c in said) for facts in held.held] for said in held.claims])
    ranked = {
        again: [_ranked(model, one, tokens, pooled, again) for one in held.captions] for again in rerank
    }
    rows = [{"rerank": again, **_figures(np.stack(order), right)} for again, order in ranked.items()]
    tables.show(
        f"{trays} captions among {trays} held-out trays, {model.spec.name}, k = {model.spec.k}", rows, COLUMNS
    )
    evidence.write(out / "search_quality.json", before, {"bundle": bundle, "trays": trays, "rows": rows})
    return int(max(row["ndcg_at_10"] for row in rows[1:]) < rows[0]["ndcg_at_10"])


def _ranked(model: Fwd2BotCompressor, caption: str, tokens: Floats, pooled: Floats, again: int) -> Any:
    """Places of the best, as ``infra.finding`` ranks them."""
    scores = pooled @ model.embed_text(caption)
    order = np.argsort(-scores, kind="stable")[: max(AT, again)]
    if again:
        looked = second_look(scores[order], late(model.text_tokens(caption), tokens[order]))
        order = order[np.argsort(-looked, kind="stable")]
    return order[:AT]


def _figures(ranked: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> dict[str, float]:
    """Gains of one for a right picture, discounted by the logarithm of its place, over those of the best order."""
    discount = 1 / np.log2(np.arange(2, AT + 2))
    gains = np.take_along_axis(right, ranked, axis=1) @ discount
    ideal = np.array([discount[: min(AT, int(row.sum()))].sum() for row in right])
    first = np.take_along_axis(right, ranked[:, :1], axis=1).mean()
    return {"ndcg_at_10": round(float((gains / ideal).mean()), 4), "first": round(float(first), 4)}


if __name__ == "__main__":
    raise SystemExit(app())
