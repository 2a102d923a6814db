"""What the anchors hold of this log, and handing them a checkpoint: one that fails stops neither the others nor us.

An anchor *fails* when it does not answer, lost what it had, or holds what no key of this log signed. It *contradicts*
when it holds what this log's key signed and the ledger does not bear out: that is an ``IntegrityError``, and nothing
is signed. Knows nothing about signing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.notes import Verifier, add_lines
from fwd2bot_core.errors import Fwd2BotError, IntegrityError, NoteInvalid, StoreError, UnknownKey
from infra import audit_keys, audit_log
from infra.anchors import Anchor, Held, Receipt, anchors_of
from infra.audit_recount import Known
from infra.audit_restores import Restore, restores
from infra.audit_tree import SqlTree
from infra.database import Ledger
from infra.installation import Installation
from infra.tables import audit_anchors, audit_checkpoints

ENOUGH = 2  # independent anchors; with one, whoever holds it and the ledger can rewrite both


@dataclass(slots=True)
class Outside:
    """What the anchors said before anything is signed."""

    anchors: list[Anchor]
    known: list[Known] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # anchor -> why it gets nothing this time


@dataclass(frozen=True, slots=True)
class Standing:
    """One anchor of the settings, and the newest checkpoint that it has; for reports."""

    name: str
    kind: str
    place: str
    size: int | None  # None: none yet
    anchored_at: datetime | None
    retain_until: datetime | None


def look(house: Installation, origin: str, signer: Verifier, last: str | None) -> Outside:
    """Ask every anchor for its newest checkpoint. ``signer``: the key that is to sign, which the ledger may not know
    yet, or not any more; ``last``: the newest note of the ledger, for witnesses.

    Raises ``IntegrityError`` where a witness contradicts.
    """
    with house.ledger.read() as connection:  # first: what was anchored since must not look as if it were lost
        given, spans = _newest_rows(connection), [key.span for key in audit_keys.keys(connection)]
        lost = restores(connection)
    found = Outside(anchors_of(house.settings))
    for anchor in found.anchors:
        held: list[Held] = []
        with _failing(anchor, found.failed):
            held = anchor.newest(last)
            _require_what_it_had(anchor, given.get(anchor.name), held)
        for one in held:  # each by itself: something put over a checkpoint must not hide it
            with _failing(anchor, found.failed):
                known = [signer, *(span.verifier for span in spans if span.covers(one.size))]
                believed = _believed(origin, list(dict.fromkeys(known)), one)
                _require_this_life(believed, lost)
                found.known.append(believed)
    return found


def publish(
    house: Installation, checkpoint: Checkpoint, note: str, outside: Outside
) -> tuple[dict[str, Receipt], dict[str, str]]:
    """Hand the stored checkpoint to every anchor that lacks it: (receipts, why others have none), by name.

    Raises ``IntegrityError`` if one contradicts, after all were asked.
    """
    failed = dict(outside.failed)
    contradictions = []
    with house.ledger.read() as connection:
        receipts, tree = receipts_of(connection, checkpoint.size), SqlTree(connection)
        for anchor in outside.anchors:
            if anchor.name in receipts or anchor.name in failed:
                continue
            try:
                with _failing(anchor, failed):
                    receipt = anchor.publish(note, checkpoint, tree)
                    _write_down(house.ledger, checkpoint.size, anchor, receipt)
                    receipts[anchor.name] = receipt
            except IntegrityError as error:
                contradictions.append(str(error))
    if contradictions:
        raise IntegrityError("; ".join(contradictions))
    names = [anchor.name for anchor in outside.anchors]
    return {name: receipts[name] for name in names if name in receipts}, failed


def receipts_of(connection: sa.Connection, size: int) -> dict[str, Receipt]:
    """What anchors gave for the checkpoint of that size, by name."""
    rows = connection.execute(sa.select(audit_anchors).where(audit_anchors.c.size == size))
    return {row.anchor: Receipt(row.place, row.evidence, row.retain_until) for row in rows}


def cosigned_note(connection: sa.Connection, size: int) -> str:
    """The checkpoint's note with the lines of the witnesses that cosigned it."""
    note: str = connection.execute(
        sa.select(audit_checkpoints.c.note).where(audit_checkpoints.c.size == size)
    ).scalar_one()
    lines = sa.select(audit_anchors.c.evidence).where(
        audit_anchors.c.size == size, audit_anchors.c.kind == "witness"
    )
    for line in connection.execute(lines.order_by(audit_anchors.c.anchor)).scalars():
        note = add_lines(note, line)
    return note


def standing(house: Installation) -> list[Standing]:
    """Each anchor of the settings, as the ledger knows it; nothing outside is asked."""
    with house.ledger.read() as connection:
        newest = _newest_rows(connection)
    return [
        Standing(anchor.name, anchor.kind, anchor.place, *_times(newest.get(anchor.name)))
        for anchor in anchors_of(house.settings)
    ]


def warning(anchors: int) -> str | None:
    """What is to be said about so few anchors; None when there are enough."""
    if anchors >= ENOUGH:
        return None
    how_many = "Only one anchor is configured" if anchors else "No anchor is configured"
    so_what = (
        "whoever controls it and the ledger can rewrite both" if anchors else "a rewritten log cannot be told"
    )
    return (
        f"{how_many}: {so_what}. Add [audit.anchors.NAME] at a place that others administer, until there are "
        f"{ENOUGH} independent ones."
    )


@contextmanager
def _failing(anchor: Anchor, failed: dict[str, str]) -> Iterator[None]:
    """Whatever goes wrong with one anchor is written under its name; only a contradiction goes on."""
    try:
        yield
    except (NoteInvalid, UnknownKey) as error:
        failed[anchor.name] = f"{anchor.place} holds what this log did not sign: {error}"
    except IntegrityError:
        raise
    except Fwd2BotError as error:
        failed[anchor.name] = str(error)
    except Exception as error:
        failed[anchor.name] = f"unexpected, and our fault: {type(error).__name__}: {error}"


def _require_what_it_had(anchor: Anchor, given: sa.Row[Any] | None, held: Sequence[Held]) -> None:
    """Raises ``StoreError`` for an anchor that holds less than it was given: emptied, put back, not mounted."""
    reached = max((one.size for one in held), default=0)
    if not anchor.keeps or given is None or given.place != anchor.at(given.size) or reached >= given.size:
        return
    raise StoreError(
        f"{anchor.place} was given a checkpoint of {given.size:,} events and "
        f"{f'holds none beyond {reached:,}' if reached else 'holds none'} now: it was emptied, put back, or its "
        "disk is not mounted. Restore it; or, if it is lost, name a new anchor in the settings"
    )


def _believed(origin: str, keys: Sequence[Verifier], held: Held) -> Known:
    """What lies there, if this log signed it. Raises ``UnknownKey``, ``NoteInvalid``, ``StoreError``."""
    if held.note is None:
        return Known(held.size, None, held.place)
    checkpoint = checkpoints.read(held.note, keys)
    if checkpoint.origin != origin or checkpoint.size != held.size:
        raise StoreError(
            f"{held.place} holds a checkpoint of {checkpoint.size:,} events of {checkpoint.origin!r}, which is not "
            f"of {origin!r} or not of the size in its name: name an empty place for this log"
        )
    return Known(checkpoint.size, checkpoint.root, held.place)


def _require_this_life(known: Known, lost: Sequence[Restore]) -> None:
    """Raises ``StoreError`` for what was signed over events that a recorded restore lost; it stays as it is."""
    if any(restore.explains(known.size, known.root) for restore in lost):
        raise StoreError(
            f"{known.where} holds {known.size:,} events, of which some were lost when the ledger was restored from a "
            "backup. Leave it as it is, and give the log a new anchor at an empty place (a new name in the settings)"
        )


def _times(row: sa.Row[Any] | None) -> tuple[int | None, datetime | None, datetime | None]:
    return (row.size, row.anchored_at, row.retain_until) if row is not None else (None, None, None)


def _write_down(ledger: Ledger, size: int, anchor: Anchor, receipt: Receipt) -> None:
    """As soon as it is known; another process may have been as quick."""
    with ledger.write() as connection:
        audit_log.hold(connection)
        if anchor.name in receipts_of(connection, size):
            return
        connection.execute(
            audit_anchors.insert().values(
                size=size,
                anchor=anchor.name,
                kind=anchor.kind,
                place=receipt.place,
                evidence=receipt.evidence,
                retain_until=receipt.retain_until,
                anchored_at=audit_log.now(),
            )
        )


def _newest_rows(connection: sa.Connection) -> dict[str, sa.Row[Any]]:
    """By anchor, what it has of the largest checkpoint that it was given."""
    newest = (
        sa.select(audit_anchors.c.anchor, sa.func.max(audit_anchors.c.size).label("size"))
        .group_by(audit_anchors.c.anchor)
        .subquery()
    )
    mine = sa.and_(audit_anchors.c.anchor == newest.c.anchor, audit_anchors.c.size == newest.c.size)
    return {row.anchor: row for row in connection.execute(sa.select(audit_anchors).join(newest, mine))}
