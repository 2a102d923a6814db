"""What stored tokens still say of their images, asked afresh: the stored bytes against the original, image by image.

Reads originals and tokens; writes nothing. An image that cannot be judged is one with a reason, never left out.
Knows nothing about nights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from fwd2bot_core.compressor.protocol import Compressor, Prepared
from fwd2bot_core.errors import (
    CompressorMismatch,
    ImageRejected,
    IntegrityError,
    NotInArchive,
    StoreError,
    StoreUnreachable,
)
from fwd2bot_core.tokens.fidelity import Finding, judge
from fwd2bot_core.work import Unit
from infra import archive
from infra.installation import Installation
from infra.judging import questions
from infra.lookup import Stored, locate
from infra.reading import Fetched, Source, fetch_all
from infra.tables import collections, compressors, object_versions, shards, summaries


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One image: its fidelity and its worst probe, or why it has none."""

    key: str
    identity: str
    fidelity: float | None = None
    agreeing: int | None = None  # probes answered with the same words
    probes: int | None = None
    worst: str | None = None  # the probe
    crop: str | None = None  # where it did worst, in a view of several crops
    from_image: str | None = None  # what is said to it there
    from_tokens: str | None = None  # up to the first word that is not the image's
    problem: str | None = None


def chosen(installation: Installation, collection: str, images: Sequence[str], sample: int) -> list[Stored]:
    """The named images, or else ``sample`` current ones drawn at random; raises ``NotInArchive``."""
    if images:
        return [locate(installation, image, collection) for image in images]
    found = _drawn(installation, collection, sample)
    if not found:
        raise NotInArchive(
            f"no image of {collection} has summary tokens of the compressor in use: run `fwd2bot night {collection}`"
        )
    return found


def measure(
    installation: Installation,
    collection: str,
    wanted: Sequence[Stored],
    *,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Judged]:
    """The fidelity of each image, in the order given, by the collection's probes; ``progress`` hears (done, in all).

    Costs what ``Compressor.compare`` states, for each ``compressor.micro_batch`` of images. Raises ``UsageError`` for
    a probe that the compressor cannot read and where there are none, ``StoreUnreachable`` when a store is down.
    """
    settings, (_, source) = installation.settings, installation.settings.collection(collection)
    compressor = installation.compressor(collection)
    probes = questions(compressor, source.fidelity.probes)
    size, done = settings.compressor.micro_batch, 0
    photos = Source(installation.originals(collection), compressor, installation.limits)
    with ThreadPoolExecutor(settings.execution.fetch_threads, thread_name_prefix="fetch") as readers:
        read = fetch_all(readers, _units(installation, wanted), photos, 2 * size)
        for start in range(0, len(wanted), size):
            few = wanted[start : start + size]
            yield from _judge(installation, compressor, few, [next(read)() for _ in few], probes)
            done += len(few)
            progress(done, len(wanted))


def _judge(
    installation: Installation,
    compressor: Compressor,
    few: Sequence[Stored],
    read: Sequence[Fetched],
    probes: Sequence[str],
) -> list[Judged]:
    """The same of one micro-batch, whose images are compared together."""
    problems: dict[Stored, str] = {}
    images: dict[Stored, Prepared] = {}
    for stored, item in zip(few, read, strict=True):
        if item.reject is not None:
            problems[stored] = str(ImageRejected(item.reject.reason, item.reject.detail))
        else:
            assert item.prepared is not None
            images[stored] = item.prepared
    tokens: dict[Stored, npt.NDArray[Any]] = {}
    for shard in dict.fromkeys(stored.shard for stored in images):
        _read(installation, [stored for stored in images if stored.shard == shard], tokens, problems)
    found = {
        stored: Judged(key=stored.key, identity=stored.identity, problem=problem)
        for stored, problem in problems.items()
    }
    if tokens:
        rows = np.stack(list(tokens.values()))
        compared = compressor.compare(rows, [images[stored] for stored in tokens], probes)
        for stored, findings in zip(tokens, compared, strict=True):
            found[stored] = _told(stored, findings, compressor.spec.crops)
    return [found[stored] for stored in few]


def _read(
    installation: Installation,
    mine: Sequence[Stored],
    tokens: dict[Stored, npt.NDArray[Any]],
    problems: dict[Stored, str],
) -> None:
    """The tokens of images in one shard at one go, or one by one where that fails, so that a damaged row is its own
    image's problem. Raises ``StoreUnreachable``, which says nothing about what is stored."""
    try:
        tokens.update(zip(mine, archive.many_tokens(installation, mine), strict=True))
    except StoreUnreachable:
        raise
    except (IntegrityError, StoreError, CompressorMismatch) as error:
        if len(mine) == 1:
            problems[mine[0]] = str(error)
            return
        for stored in mine:
            _read(installation, [stored], tokens, problems)


def _told(stored: Stored, findings: Sequence[Finding], crops: Sequence[str]) -> Judged:
    found = judge(findings)
    worst = findings[found.worst]
    return Judged(
        key=stored.key,
        identity=stored.identity,
        fidelity=found.score,
        agreeing=sum(all(look.agrees for look in finding.looks) for finding in findings),
        probes=len(findings),
        worst=worst.question,
        crop=crops[worst.crop] if len(crops) > 1 else None,
        from_image=worst.answer,
        from_tokens=worst.told,
    )


def _drawn(installation: Installation, collection: str, count: int) -> list[Stored]:
    """Current versions of the compressor in use, in the order of their shards, so that each is read at one go."""
    mine = (
        sa.select(
            summaries.c.object_version_id,
            object_versions.c.key,
            object_versions.c.identity,
            object_versions.c.content_sha256.label("sha256"),
            shards.c.path.label("shard"),
            summaries.c.row,
            compressors.c.fingerprint,
            compressors.c.name.label("bundle"),
            shards.c.committed_at,
        )
        .select_from(summaries)
        .join(object_versions, object_versions.c.id == summaries.c.object_version_id)
        .join(collections, collections.c.id == object_versions.c.collection_id)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .join(compressors, compressors.c.id == summaries.c.compressor_id)
        .where(
            collections.c.name == collection,
            compressors.c.fingerprint == installation.spec(collection).fingerprint,
            object_versions.c.superseded_at.is_(None),
        )
        .order_by(sa.func.random())
        .limit(count)
    )
    with installation.ledger.read() as connection:
        drawn = connection.execute(mine).all()
    found = [Stored(**row._mapping, collection=collection, superseded=False) for row in drawn]
    return sorted(found, key=lambda stored: (stored.shard, stored.row))


def _units(installation: Installation, wanted: Sequence[Stored]) -> list[Unit]:
    """What a worker would be given to read the same originals."""
    ids = [stored.object_version_id for stored in wanted]
    columns = [object_versions.c[name] for name in ("id", "size", "modified", "salt")]
    with installation.ledger.read() as connection:
        found = connection.execute(sa.select(*columns).where(object_versions.c.id.in_(ids))).all()
    more = {row.id: {name: row._mapping[name] for name in ("size", "modified", "salt")} for row in found}
    return [
        Unit(
            stored.object_version_id,
            stored.collection,
            stored.key,
            stored.identity,
            content_sha256=stored.sha256,
            **more[stored.object_version_id],
        )
        for stored in wanted
    ]
