"""Taking evidence out of the audit log: the proof of one event, and a bundle that a stranger can check.

Collects what ``fwd2bot_core.audit.evidence`` packs, in one snapshot of the ledger, and has the finished bundle judged
by the program that travels in it. Signs nothing: what no checkpoint covers yet is in the bundle, unproven, and told.
"""

from __future__ import annotations

import contextlib
import heapq
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import commitment, parse
from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.audit.evidence import Evidence, Written, write_bundle
from fwd2bot_core.audit.merkle import consistency_proof, inclusion_proof
from fwd2bot_core.audit.tlog_proof import format_proof
from fwd2bot_core.audit.verifier import verify
from fwd2bot_core.errors import UsageError
from infra import audit_keys, audit_log
from infra.anchoring import cosigned_note
from infra.audit_restores import losses, restores
from infra.audit_tree import SqlTree
from infra.installation import Installation
from infra.retention_tables import policies
from infra.tables import audit_anchors, audit_checkpoints, audit_events, audit_head, object_versions
from tasks.audit_query import Filter, Names, Selection, number_of

Progress = Callable[[int, int], None]  # told how much is done, and how much there is at most


@dataclass(frozen=True, slots=True)
class Proof:
    """One event with the proof that it is in the log."""

    seq: int
    event_id: str
    body: bytes  # the exact bytes that were hashed
    size: int  # of the checkpoint that the proof leads to
    text: str  # C2SP tlog-proof@v1


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was written, and what its own verifier says."""

    path: Path
    sha256: str
    events: int
    covered: int  # of these, by the newest checkpoint
    verdict: str
    findings: tuple[verify.Finding, ...]
    acceptable: bool  # nothing worse than events to be anchored, and losses that the settings acknowledge


def prove(house: Installation, event: str) -> Proof:
    """The proof of one event, named by its number or id, against the newest checkpoint.

    Raises ``UsageError`` for an unknown event, and for one that no checkpoint covers yet.
    """
    with house.ledger.read() as connection:
        seq = number_of(connection, event)
        size = _newest_size(connection)
        if size <= seq:
            raise UsageError(
                f"event {seq} is in no signed checkpoint yet, the newest covers {size} events: run `fwd2bot audit "
                "checkpoint` first"
            )
        row = connection.execute(sa.select(audit_events).where(audit_events.c.seq == seq)).one()
        path = inclusion_proof(seq, size, SqlTree(connection).subtree)
        text = format_proof(seq, path, cosigned_note(connection, size))
    return Proof(seq, row.event_id, bytes(row.body), size, text)


def export(
    house: Installation,
    wanted: Filter,
    out: Path,
    *,
    with_names: bool = False,
    with_segments: bool = True,
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Write a bundle with the events of a filter to a new file, and judge it.

    In the log's order, and all of them: the filter's order and limit do not count. Without ``with_names`` nothing in it
    names a person, a collection or an image. Raises ``UsageError`` when nothing was found, or the file is there
    already, cannot be written or would be too large, and ``IntegrityError`` for a log that cannot be proven.
    """
    if out.exists():
        raise UsageError(f"{out} is there already, and evidence is never written over: name another file")
    beside = out.with_name(f".{out.name}.{secrets.token_hex(4)}")
    try:
        with house.ledger.read() as connection, beside.open("x+b") as file:
            total = connection.execute(sa.select(audit_head.c.size)).scalar_one()
            evidence = _evidence(house, connection, wanted, with_names, with_segments)
            written = write_bundle(evidence, file, lambda events: progress(events, total))
        found = verify.verify(beside)
        known = _acknowledged(house)
        beside.rename(out)
    except OSError as error:
        raise UsageError(
            f"cannot write the evidence to {out}: {error.strerror}. Name another file."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return _exported(out, written, found, known)


def _exported(out: Path, written: Written, found: verify.Verification, known: set[int]) -> Exported:
    harmless = {verify.VALID, verify.NOT_YET_ANCHORED}
    acceptable = all(
        one.verdict in harmless or (one.verdict == verify.RESTORED and one.event in known)
        for one in found.findings
    )
    findings = tuple(found.findings)
    return Exported(out, written.sha256, written.events, written.covered, found.verdict, findings, acceptable)


def _acknowledged(house: Installation) -> set[int]:
    """Events that record losses which the settings acknowledge."""
    with house.ledger.read() as connection:
        return {one.seq for one in restores(connection) if one.known_as in house.settings.audit.acknowledged}


def _evidence(
    house: Installation, connection: sa.Connection, wanted: Filter, with_names: bool, with_segments: bool
) -> Evidence:
    selection = Selection(connection, replace(wanted, newest_first=False, limit=None))
    tree, newest = SqlTree(connection), _newest_size(connection)
    if next(selection.bodies(), None) is None:
        raise UsageError("nothing in the audit log is like that, so there is nothing to export")
    bodies = partial(_with_losses, selection, losses(connection))
    sizes = _sizes(connection, _number(next(bodies())))
    return Evidence(
        origin=audit_keys.origin(connection, house.settings.audit),
        made_at=audit_log.now(),
        selection=_described(selection, with_names),
        bodies=bodies,
        prove=lambda seq: inclusion_proof(seq, newest, tree.subtree),
        checkpoints=[(size, cosigned_note(connection, size)) for size in sizes],
        continues=lambda old, new: consistency_proof(old, new, tree.subtree),
        anchors=list(_anchors(connection, sizes)),
        keys=[*_log_keys(connection), *_witness_keys(house)],
        segment=house.archive.read if with_segments else None,
        values=_values(connection, selection, bodies()) if with_names else None,
        policy=lambda sha256: _policy(connection, sha256),
    )


def _newest_size(connection: sa.Connection) -> int:
    newest = connection.execute(sa.select(sa.func.max(audit_checkpoints.c.size))).scalar_one()
    return int(newest or 0)


def _sizes(connection: sa.Connection, first: int) -> list[int]:
    """Of each checkpoint that covers the first event, and so says something about what was asked for."""
    size = audit_checkpoints.c.size
    return list(connection.execute(sa.select(size).where(size > first).order_by(size)).scalars())


def _anchors(connection: sa.Connection, sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    if not sizes:
        return
    place = audit_anchors.c.size, audit_anchors.c.anchor
    query = sa.select(audit_anchors).where(audit_anchors.c.size >= sizes[0]).order_by(*place)
    for row in connection.execute(query):
        yield {
            **{name: row._mapping[name] for name in ("size", "anchor", "kind", "place", "evidence")},
            "retain_until": rfc3339(row.retain_until) if row.retain_until else None,
            "anchored_at": rfc3339(row.anchored_at),
        }


def _log_keys(connection: sa.Connection) -> Iterator[dict[str, Any]]:
    for span in audit_keys.told(connection):
        yield {
            "vkey": span.verifier.vkey(),
            "since": span.since,
            "until": span.until,
            "vouched": span.vouched,
        }


def _witness_keys(house: Installation) -> Iterator[dict[str, Any]]:
    """Of the witnesses in the settings; what one that is no more once signed counts for nothing without its key."""
    for anchor in house.settings.audit.anchors.values():
        if anchor.kind == "witness" and anchor.vkey is not None:
            yield {"vkey": anchor.vkey, "since": 0, "until": None, "vouched": True}


def _with_losses(selection: Selection, lost: Sequence[bytes]) -> Iterator[bytes]:
    """What was asked for, and every restore from a backup that the log records: whoever reads a part of a log must know
    that events are missing in it, which may have been of this part."""
    if not lost:
        return selection.bodies()
    merged = heapq.merge(selection.bodies(), lost, key=_number)
    return (body for body, _ in groupby(merged))


def _number(body: bytes) -> int:
    return int(parse(body)["seq"])


def _values(connection: sa.Connection, selection: Selection, bodies: Iterator[bytes]) -> list[dict[str, str]]:
    """The names that the events' references stand for, and those of the image that was asked for."""
    names = Names(connection)
    for body in bodies:
        names.learn([body])
    found = dict(names.values)
    if selection.versions:
        mine = object_versions.c.id.in_(selection.versions)
        for row in connection.execute(sa.select(object_versions).where(mine)):
            clear = {"key": row.key, "identity": row.identity, "sha256": row.content_sha256}
            for kind, value in clear.items():
                if value is not None:
                    ref = commitment(row.salt, kind, value)
                    found[ref] = {"ref": ref, "kind": kind, "salt": row.salt.hex(), "value": value}
    return [found[ref] for ref in sorted(found)]


def _policy(connection: sa.Connection, sha256: str) -> bytes | None:
    found = sa.select(policies.c.yaml).where(policies.c.sha256 == sha256).limit(1)
    yaml = connection.execute(found).scalar_one_or_none()
    return None if yaml is None else bytes(yaml)


def _described(selection: Selection, with_names: bool) -> dict[str, Any]:
    """What was asked for, in references unless names may be told."""
    wanted = selection.wanted
    said = {
        "actor": wanted.actor if with_names else selection.actor,
        "collection": wanted.collection if with_names else selection.collection,
        "image": wanted.image if with_names or wanted.image is None else "(not named here)",
        "run": wanted.run,
        "types": list(wanted.types) or None,
        "since": wanted.since and rfc3339(wanted.since),
        "until": wanted.until and rfc3339(wanted.until),
        "first": wanted.first,
        "last": wanted.last,
    }
    return {name: value for name, value in said.items() if value is not None}
