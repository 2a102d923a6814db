"""A compressor against people's answers: right from tokens, at each k that it serves, and from the image.

Knows items with questions, and the compressor's face. Knows nothing of training.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from fwd2bot_core.compressor.evaluation import Example, recall_at_1, right
from fwd2bot_core.compressor.fwd2bot import Fwd2BotCompressor
from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.compressor.scoring import wilson
from fwd2bot_core.compressor.training.dataset import Item
from fwd2bot_core.compressor.training.images import Images
from fwd2bot_core.errors import UsageError

BATCH = 32  # questions at once
SEARCHED = 1000  # captioned images that are searched among, at most
IMAGE = "image"  # beside the lengths: from all visual tokens


Told = Callable[[int, int], None]  # hears how many questions of how many are done


@dataclass(slots=True)
class _Kind:
    questions: int = 0
    right: Counter[str] = field(default_factory=Counter)  # by k, or IMAGE
    answers: Counter[str] = field(default_factory=Counter)  # what is expected


def examine(
    compressor: Fwd2BotCompressor,
    items: Sequence[Item],
    images: Images,
    *,
    limit: int,
    told: Told = lambda done, total: None,
) -> dict[str, Any]:
    """Figures on at most ``limit`` questions: accuracy by kind and k, recall of captions.

    JSON values: ``accuracy`` by kind of question, and of "all"; each with the number of ``questions``, the share
    that is right ``from_image`` and ``from_tokens`` (by k), both with the 95 % ``interval`` (Wilson), and
    ``chance``, which always gives the commonest answer.
    """
    method = compressor.method
    serving = {k: compressor.at(replace(compressor.view, k=k)) for k in (method.k, *method.trained_k)}
    kinds: dict[str, _Kind] = defaultdict(_Kind)
    total = min(limit, sum(len(item.questions) for item in items))
    done = 0
    for batch in _batches(items, images, limit):
        for example, found in zip(batch, _judged(compressor, serving, batch), strict=True):
            for kind in (kinds[example.kind], kinds["all"]):
                kind.questions += 1
                kind.right.update(found)
                kind.answers[example.answer] += 1
        done += len(batch)
        told(done, total)
    figures = {"accuracy": {name: _row(kind, list(serving)) for name, kind in sorted(kinds.items())}}
    return {**figures, **_search(serving, items, images)}


def _batches(items: Sequence[Item], images: Images, limit: int) -> Iterator[list[Example]]:
    """``BATCH`` questions at once, whatever images they are about; the last batch may be shorter."""
    examples = _examples(items, images, limit)
    while batch := list(islice(examples, BATCH)):
        yield batch


def _examples(items: Sequence[Item], images: Images, limit: int) -> Iterator[Example]:
    left = limit
    for item in items:
        few = item.questions[:left]
        left -= len(few)
        if few and (image := images.get([item.path])[0]) is not None:
            yield from (Example(image, one.kind, one.text, one.answer) for one in few)


def _judged(
    compressor: Fwd2BotCompressor, serving: dict[int, Fwd2BotCompressor], batch: Sequence[Example]
) -> Iterator[list[str]]:
    """Of each example, where it was answered rightly from. An image is compressed once, however much is asked."""
    asked = [example.question for example in batch]
    said = {IMAGE: compressor.answers_from_images([example.image for example in batch], asked)}
    shown = {id(example.image): example.image for example in batch}
    row = {image: number for number, image in enumerate(shown)}
    tokens = compressor.compress(list(shown.values())).tokens  # [images, crops * k, d]
    crops = tokens.reshape(len(shown), compressor.view.count, -1, tokens.shape[-1])[
        [row[id(example.image)] for example in batch]
    ]
    for k, one in serving.items():  # a crop's shorter summary is the beginning of its longer one
        said[str(k)] = one.answers(crops[:, :, :k].reshape(len(batch), one.spec.k, -1), asked)
    for number, example in enumerate(batch):
        yield [source for source, answers in said.items() if right(answers[number], example)]


def _row(kind: _Kind, lengths: Sequence[int]) -> dict[str, Any]:
    share = {source: _share(kind.right[source], kind.questions) for source in (IMAGE, *map(str, lengths))}
    return {
        "questions": kind.questions,
        "from_image": share.pop(IMAGE),
        "from_tokens": share,
        "chance": kind.answers.most_common(1)[0][1] / kind.questions,
    }


def _share(count: int, among: int) -> dict[str, Any]:
    return {"share": count / among, "interval": list(wilson(count, among))}


def _search(serving: dict[int, Fwd2BotCompressor], items: Sequence[Item], images: Images) -> dict[str, Any]:
    """Text to image, by each image's first caption; nothing where fewer than two images have one."""
    captioned = [item for item in items if item.captions][:SEARCHED]
    pairs: list[tuple[Prepared, str]] = [
        (image, item.captions[0]) for item in captioned if (image := images.get([item.path])[0]) is not None
    ]
    if len(pairs) < 2:
        return {}
    shown, told = [image for image, _ in pairs], [caption for _, caption in pairs]
    return {
        "recall_at_1": {str(k): recall_at_1(one, shown, told) for k, one in serving.items()},
        "recall_among": len(pairs),
    }


def images_of(compressor: Fwd2BotCompressor, items: Sequence[Item]) -> Images:
    """The items' images for an examination; raises ``UsageError`` where there is nothing to ask."""
    if not any(item.questions for item in items):
        raise UsageError("the data holds no question, so there is no answer to judge")
    return Images(compressor.prepare, threads=2, cache_bytes=0, limit=len(items) - 1)
