"""The line's half: list a folder, compress what the server hands out, send tokens and facts. No original leaves.

The model runs as on any worker, and writes into a spool here; what was sent is removed from it. Killed at any moment,
the next call goes on: the server hands out the same batch, and the same bytes come of it. Knows nothing of the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fwd2bot_core.errors import Fwd2BotError, LeaseHeld, StoreUnreachable, UsageError
from infra.anchors.posting import post
from infra.anchors.posting import said as beginning
from infra.edge_wire import FILES, File, Handed, Uploaded, Wanted
from infra.objects import ObjectInfo, open_store
from infra.worker import WorkerConfig, compress_batch

_HERE = ("localhost", "127.0.0.1", "::1")
_SECONDS = 300.0  # the end of a run publishes and signs

Send = Callable[[str, dict[str, Any]], dict[str, Any]]
"""(path below /api/edge/, what is said) -> the answer."""


@dataclass(slots=True)
class Sent:
    """What one call did; sizes in bytes."""

    compressed: int = 0
    rejected: int = 0
    read: int = 0
    sent: int = 0
    unnamed: list[str] = field(
        default_factory=list
    )  # files whose names are no Unicode, which JSON cannot say
    summary: str | None = None


def compress_folder(
    send: Send,
    collection: str,
    folder: Path,
    config: WorkerConfig,
    spool: Path,
    progress: Callable[[Sent], None] = lambda _: None,
) -> Sent:
    """Compress what the server does not have yet of ``folder``. Raises what ``send`` raises; what was sent stays."""
    config = replace(config, originals=folder.resolve().as_uri(), archive=spool.resolve().as_uri())
    done = Sent()
    entries = _nameable(open_store(config.originals).list(), done)
    wanted = Wanted(collection=collection, compressor=config.fingerprint)
    listed = 0
    while chunk := [File.of(info) for info in islice(entries, FILES)]:
        listed += len(chunk)
        handed = _ask(send, wanted.model_copy(update={"files": chunk}))
        while handed.batch is not None:
            _compress(send, collection, config, spool, handed, done)
            progress(done)
            handed = _ask(send, wanted)
    done.summary = _ask(send, wanted.model_copy(update={"done": True, "listed": listed})).summary
    return done


def _ask(send: Send, wanted: Wanted) -> Handed:
    return Handed.model_validate(send("batches", wanted.model_dump(mode="json")))


def _compress(
    send: Send, collection: str, config: WorkerConfig, spool: Path, handed: Handed, done: Sent
) -> None:
    assert handed.batch is not None
    receipt = compress_batch(handed.batch.batch(collection, config.fingerprint), config)
    facts = [fact for fact in (receipt.shard, receipt.segment) if fact is not None]
    bodies = {fact.path: (spool / fact.path).read_bytes() for fact in facts}
    shard = bodies[receipt.shard.path] if receipt.shard is not None else None
    said = Uploaded.of(collection, handed, receipt, shard, bodies[receipt.segment.path])
    send("receipts", said.model_dump(mode="json"))
    for path in bodies:
        (spool / path).unlink(missing_ok=True)
    done.compressed += sum(image.row is not None for image in receipt.images)
    done.rejected += sum(image.reject is not None for image in receipt.images)
    done.read += receipt.bytes_in
    done.sent += receipt.bytes_out


def _nameable(entries: Iterator[ObjectInfo], done: Sent) -> Iterator[ObjectInfo]:
    for info in entries:
        try:
            info.key.encode()
        except UnicodeEncodeError:
            done.unnamed.append(info.key)
        else:
            yield info


def sender(server: str, token: str) -> Send:
    """Posts to a console, by TLS unless it is on this machine. Raises ``UsageError`` for what it refuses, ``LeaseHeld``
    where somebody else works there, and ``StoreUnreachable`` where nobody answers."""
    parts = urlsplit(server)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _HERE):
        raise UsageError(
            f"{server!r} is no address of a console: https://HOST:PORT, since a token goes there"
        )

    def send(path: str, said: dict[str, Any]) -> dict[str, Any]:
        url, data = f"{server.rstrip('/')}/api/edge/{path}", json.dumps(said, ensure_ascii=False).encode()
        status, body = post(url, data, "application/json", who="the console", token=token, seconds=_SECONDS)
        try:
            answer: dict[str, Any] = json.loads(body)
        except ValueError:
            answer = {"error": beginning(body)}
        if status != HTTPStatus.OK:
            raise _refused(status, f"{server}: {answer.get('error')}")
        return answer

    return send


def _refused(status: int, said: str) -> Fwd2BotError:
    if status == HTTPStatus.CONFLICT:
        return LeaseHeld(said)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StoreUnreachable(f"{said}. What was sent stays; run again to go on.")
    return UsageError(said)
