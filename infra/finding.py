"""From what somebody looks for to what is found: a text, pictures, or images of the archive that are to be like it.

Several examples are averaged. What a text finds first is compared once more, token by token. Knows queries and the
compressor's face. Knows nothing about how vectors are searched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.protocol import Compressor
from fwd2bot_core.errors import CompressorMismatch, NotInArchive, UsageError
from fwd2bot_core.tokens.numbers import widened
from fwd2bot_core.tokens.search import direction, late, second_look
from fwd2bot_core.tokens.vectors import read_vectors
from infra.installation import Installation
from infra.lookup import Stored, by_number, locate
from infra.search_hits import Found, hits_of
from infra.search_scope import ALL, Filters, Scope, scope_of
from infra.searching import Near, Nearby, nearest
from infra.stored_tokens import many_tokens

MOST = 1_000  # hits
LONGEST = 2_000  # characters of a text or question; a model reads far fewer
Floats = npt.NDArray[np.float32]
Models = Callable[[str], Compressor]  # of a collection, with its weights
Example = str | bytes | Path  # of the archive by key or sha256, or a picture's file or bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for: a text or examples, one of the two."""

    text: str | None = None
    like: tuple[Example, ...] = ()
    collection: str | None = None  # None: all that the settings name
    filters: Filters = ALL
    k: int = 10
    exact: bool = False  # without an index
    rerank: int | None = None  # finds of a text that are compared token by token; None: as the settings say


def find(house: Installation, query: Query, models: Models) -> Found:
    """Raises ``UsageError`` for what cannot be looked for, ``CompressorMismatch`` and ``NotInArchive`` as ``scope_of``
    does, ``ImageRejected`` for a picture that is none."""
    _check(query)
    scope = scope_of(house, query.collection)
    vector, examples = _vector(house, scope, query, models)
    begun = time.monotonic()  # what a loaded model takes from here on
    again = 0 if query.text is None else house.settings.search.rerank
    again = query.rerank if query.rerank is not None and query.text is not None else again
    near = nearest(
        house, scope, vector, max(query.k, again), query.filters, without=examples, exact=query.exact
    )
    best = _looked_at_again(house, scope, query, near, models)[: query.k] if again else near.found
    with house.ledger.read() as connection:
        hits = hits_of(connection, best)
    return Found(
        hits=hits,
        compressor=scope.spec.fingerprint,
        scanned=near.scanned,
        indexed=near.indexed,
        left_out=scope.left_out,
        reranked=len(near.found) if again else 0,
        seconds=time.monotonic() - begun,
    )


def check_text(text: str, what: str = "text") -> str:
    """Refuse what no model reads, before one is loaded. Raises ``UsageError``."""
    if not text.strip():
        raise UsageError(f"the {what} is empty: say what to ask or to look for")
    if len(text) > LONGEST:
        raise UsageError(f"the {what} has {len(text):,} characters: say it in {LONGEST:,} at most")
    return text


def _check(query: Query) -> None:
    if (query.text is None) == (not query.like):
        raise UsageError("say what to look for: a text, or examples with --like, and not both")
    if not 1 <= query.k <= MOST:
        raise UsageError(f"{query.k:,} results were asked for; ask for 1 to {MOST:,}")
    if query.text is not None:
        check_text(query.text)


def _vector(house: Installation, scope: Scope, query: Query, models: Models) -> tuple[Floats, frozenset[int]]:
    """What to search for, and the examples of the archive, which are no finds."""
    if query.text is not None:
        return models(scope.collections[0]).embed_text(query.text), frozenset()
    stored, pictures = _sorted_out(house, query)
    vectors = [_stored_vector(house, scope, one) for one in stored]
    if pictures:
        model = models(scope.collections[0])
        vectors += list(model.compress([model.prepare(data) for data in pictures]).pooled)
    return direction(np.stack(vectors)), frozenset(one.object_version_id for one in stored)


def _sorted_out(house: Installation, query: Query) -> tuple[list[Stored], list[bytes]]:
    """Examples that are of the archive, and pictures that are not. Raises ``NotInArchive`` for what is neither."""
    stored, pictures = [], []
    for example in query.like:
        if isinstance(example, bytes):
            pictures.append(example)
            continue
        try:
            stored.append(locate(house, str(example), query.collection))
        except NotInArchive as error:
            if not Path(example).is_file():
                raise NotInArchive(f"{error} There is no file of that name either.") from None
            pictures.append(Path(example).read_bytes())
    return stored, pictures


def _stored_vector(house: Installation, scope: Scope, one: Stored) -> Floats:
    if one.fingerprint != scope.spec.fingerprint:
        raise CompressorMismatch(
            f"{one.key} was made by {one.fingerprint[:12]}, and what is searched by {scope.spec.short}: tokens of two "
            "compressors are never compared"
        )
    with house.archive.open(one.shard) as file:
        _, vectors = read_vectors(file, [one.row], one.fingerprint)
    found: Floats = vectors[0]
    return found


def _looked_at_again(
    house: Installation, scope: Scope, query: Query, near: Nearby, models: Models
) -> Sequence[Near]:
    """The same finds in the order of their tokens, each with its new score."""
    assert query.text is not None
    with house.ledger.read() as connection:
        places = by_number(connection, [one.object_version_id for one in near.found], scope.spec)
    there = [one for one in near.found if one.object_version_id in places]
    if not there:
        return there
    tokens = many_tokens(house, [places[one.object_version_id] for one in there])
    closer = late(models(scope.collections[0]).text_tokens(query.text), widened(tokens, scope.spec))
    scores = second_look(np.array([one.score for one in there], np.float32), closer)
    again = [replace(one, score=float(score)) for one, score in zip(there, scores, strict=True)]
    return sorted(again, key=lambda one: (-one.score, one.object_version_id))
