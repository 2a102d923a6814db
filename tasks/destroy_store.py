"""What destruction asks of the stores: the original and its tokens read afresh, one version deleted, where it is then.

Every answer that is not clear is one of its own. Reads and deletes objects; writes no row. Knows nothing of policies,
lists or holds.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fwd2bot_core.compressor.protocol import Compressor, Prepared
from fwd2bot_core.errors import (
    CompressorMismatch,
    ImageRejected,
    IntegrityError,
    ObjectChanged,
    ObjectForbidden,
    ObjectMissing,
    StoreError,
)
from fwd2bot_core.retention.disposition import ItemState
from fwd2bot_core.tokens.fidelity import probes_sha256
from fwd2bot_core.tokens.shard import read_tokens
from infra.installation import Installation
from infra.judging import judged, questions
from infra.objects import ObjectInfo, ObjectStore, Versions
from tasks import destroy_checks as checks
from tasks.destroy_checks import Kept
from tasks.destroy_order import Item, Order

Together = Callable[[Callable[[Item], Any], Sequence[Item]], list[Any]]
"""Puts one question about each item to a store; the answers in the items' order."""


class Answer(StrEnum):
    """What a store said when it was asked to delete a version."""

    DONE = "done"  # no evidence that it is gone
    MISSING = "missing"
    FORBIDDEN = "forbidden"
    UNCLEAR = "unclear"
    NOT_ASKED = "not-asked"  # found in this state by a later run


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where one version is."""

    gone: bool | None  # None: the store does not say
    others: tuple[ObjectInfo, ...] = ()  # what else the key holds, delete markers included


@dataclass(frozen=True, slots=True)
class Judge:
    """What measures fidelity."""

    compressor: Compressor
    probes: tuple[str, ...]


@dataclass(slots=True)
class Looked:
    """Items after their originals and tokens were read."""

    faithful: dict[int, dict[str, Any]] = field(
        default_factory=dict
    )  # by object version: what an intent says
    kept: dict[int, Kept] = field(default_factory=dict)
    waiting: dict[int, str] = field(
        default_factory=dict
    )  # a store did not answer: asked again by the next run


def judge(house: Installation, order: Order) -> Judge:
    """The compressor with its weights and the collection's questions, if they are the policy's."""
    _, source = house.settings.collection(order.collection)
    compressor = house.compressor(order.collection)
    probes = questions(compressor, source.fidelity.probes)
    checks.judged_as_the_policy_says(
        order.document.policy, compressor.spec.fingerprint, probes_sha256(probes)
    )
    return Judge(compressor, probes)


def one_by_one(ask: Callable[[Item], Any], some: Sequence[Item]) -> list[Any]:
    """A ``Together`` that waits for each answer before the next question."""
    return [ask(item) for item in some]


@contextmanager
def asking(at_once: int) -> Iterator[Together]:
    """A ``Together`` with so many questions under way."""
    if at_once == 1:
        yield one_by_one
        return
    with ThreadPoolExecutor(at_once, "destroy") as pool:
        yield lambda ask, some: list(pool.map(ask, some))


def look(
    house: Installation, order: Order, by: Judge, store: ObjectStore, some: Sequence[Item], together: Together
) -> Looked:
    """Read each original from ``store`` and its tokens back, and measure the one against the other; writes nothing."""
    found, shards = Looked(), dict[str, bytes]()
    ready = dict[int, tuple[Prepared, npt.NDArray[Any], ObjectInfo]]()
    for item, read in zip(some, together(partial(_original, store), some), strict=True):
        try:
            if isinstance(read, Exception):
                raise read
            ready[item.id] = (_prepared(by, read[0]), _tokens(house, order, shards, item), read[1])
        except Kept as kept:
            found.kept[item.id] = kept
        except StoreError as error:
            found.waiting[item.id] = str(error)
    _measure(order, by, {item.id: item for item in some}, ready, found)
    return found


def _original(store: ObjectStore, item: Item) -> tuple[bytes, ObjectInfo] | Kept | StoreError:
    """Its bytes, or why there are none: an answer of its own, since others are asked for meanwhile."""
    unit = item.unit
    try:
        checks.names_one_version(unit.identity)
        info = next((i for i in versions(store, unit.key) if i.identity == unit.identity), None)
        data = store.read(unit.key, identity=unit.identity)
        if info is None:
            return Kept(ItemState.MISSING, "missing", "the store does not list this version")
        digest = hashlib.sha256(data).hexdigest()
        checks.original_is_unchanged((unit.size, unit.content_sha256), (info.size, len(data), digest))
        return data, info
    except ObjectMissing as error:
        return Kept(ItemState.MISSING, "missing", str(error))
    except ObjectChanged as error:
        return Kept(ItemState.CHANGED, "changed", str(error))
    except ObjectForbidden as error:
        return Kept(ItemState.BLOCKED, "unreadable", str(error))
    except (Kept, StoreError) as why:
        return why


def _prepared(by: Judge, data: bytes) -> Prepared:
    try:
        return by.compressor.prepare(data)
    except ImageRejected as error:
        raise Kept(ItemState.BLOCKED, "unreadable", str(error)) from None


def _tokens(house: Installation, order: Order, shards: dict[str, bytes], item: Item) -> npt.NDArray[Any]:
    """The stored [k, d] tokens, from a shard that is read from the store once for each ``shards``."""
    if item.shard is None or item.shard_sha256 is None or item.row is None:
        raise Kept(ItemState.BLOCKED, "tokens", "no committed tokens by the policy's compressor")
    try:
        if item.shard not in shards:
            shards[item.shard] = house.archive.read(item.shard)
        shard = shards[item.shard]
        checks.tokens_are_the_committed_ones(item.shard_sha256, shard)
        fingerprint = order.document.policy.verification.compressor
        return read_tokens(io.BytesIO(shard), item.row, fingerprint, item.id)
    except (ObjectMissing, ObjectForbidden, IntegrityError, CompressorMismatch) as error:
        raise Kept(ItemState.BLOCKED, "tokens", str(error)) from None


def _measure(
    order: Order,
    by: Judge,
    some: Mapping[int, Item],
    ready: Mapping[int, tuple[Prepared, npt.NDArray[Any], ObjectInfo]],
    found: Looked,
) -> None:
    if not ready:
        return
    images, tokens, infos = zip(*ready.values(), strict=True)
    scores = judged(by.compressor, images, np.stack(tokens), by.probes)
    for number, info, fidelity in zip(ready, infos, scores, strict=True):
        score = None if fidelity is None else fidelity.score
        try:
            checks.faithful_now(order.document.policy, score)
        except Kept as kept:
            found.kept[number] = kept
        else:
            said = {"shard": some[number].shard_sha256, "row": some[number].row, "etag": info.etag}
            found.faithful[number] = said | {"fidelity_millionths": round((score or 0.0) * 1_000_000)}


def delete(store: ObjectStore, item: Item) -> Answer:
    """Ask once to delete exactly this version. Never raises a ``StoreError``: what it says proves nothing anyway."""
    unit = item.unit
    info = ObjectInfo(unit.key, unit.size, "", unit.identity.removeprefix("v:"), unit.modified)
    try:
        store.delete_version(info)
        return Answer.DONE
    except ObjectMissing:
        return Answer.MISSING
    except ObjectForbidden:
        return Answer.FORBIDDEN
    except StoreError:
        return Answer.UNCLEAR


def whereabouts(store: ObjectStore, item: Item) -> Whereabouts:
    """Asked in two ways; gone is what neither the list of versions nor a read of this version finds."""
    unit = item.unit
    try:
        held = versions(store, unit.key)
        others = tuple(info for info in held if info.identity != unit.identity)
        if len(others) < len(held):
            return Whereabouts(False, others)
        store.read(unit.key, identity=unit.identity)
    except ObjectMissing:
        return Whereabouts(True, others)
    except StoreError:
        return Whereabouts(None)
    return Whereabouts(False, others)


def versions(store: ObjectStore, key: str) -> Sequence[ObjectInfo]:
    """What the key holds. Raises ``Kept`` for a store that cannot say."""
    if not isinstance(store, Versions):
        raise Kept(ItemState.BLOCKED, "no-versions", "its store does not keep versions")
    return store.versions_of(key)
