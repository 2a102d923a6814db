"""A small audit log with checkpoints and an anchor, and somebody who has the database and the signing key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.merkle import leaf_hash, root
from fwd2bot_core.audit.verdicts import Finding, Verdict
from infra import audit_keys, audit_log
from infra.audit_growth import Tree
from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from infra.tables import (
    audit_checkpoints,
    audit_events,
    audit_head,
    audit_nodes,
    metadata,
)
from tasks.audit_verify import LogVerdict, verify_log
from tests.servers.intruder import as_intruder


def grow(house: Installation, count: int) -> None:
    """Append events, one transaction."""
    with house.ledger.write() as connection:
        audit_log.append_all(connection, [event(number) for number in range(count)])


def event(number: int) -> Event:
    return Event(
        type="image.kept",
        occurred_at=audit_log.now(),
        actor=Actor("ref", "operator"),
        run_id="night-of-tests",
        after={"number": number, "outcome": "kept"},
    )


def sign(house: Installation) -> int:
    """A checkpoint, anchored everywhere; its size."""
    signed = sign_checkpoint(house, reason="test")
    assert not signed.failed
    return signed.size


def named(found: LogVerdict) -> set[tuple[Verdict, int | None]]:
    """Classes with their first event, without what is merely not anchored yet."""
    return {(one.verdict, one.seq) for one in found.findings if one.verdict is not Verdict.NOT_YET_ANCHORED}


def verdicts(house: Installation, since: int = 0) -> set[tuple[Verdict, int | None]]:
    return named(verify_log(house, since=since))


def bodies(house: Installation) -> list[bytes]:
    with house.ledger.read() as connection:
        query = sa.select(audit_events.c.body).order_by(audit_events.c.seq)
        return [bytes(body) for body in connection.execute(query).scalars()]


def altered(body: bytes, **fields: Any) -> bytes:
    """The same event saying something else, as exact as a real one."""
    return canonical(json.loads(body) | fields)


def execute(house: Installation, *statements: sa.Executable) -> None:
    """As who may do anything in the database."""
    with house.ledger.write() as connection:
        as_intruder(connection)
        for statement in statements:
            connection.execute(statement)


def rewrite(house: Installation, new: Sequence[bytes]) -> None:
    """The whole log anew from bodies, with columns, leaves, nodes and head that fit."""
    with house.ledger.write() as connection:
        as_intruder(connection)
        connection.execute(audit_events.delete())
        connection.execute(audit_nodes.delete())
        connection.execute(audit_events.insert(), [_row(body) for body in new])
        tree = Tree(0, [])
        nodes = tree.add([leaf_hash(body) for body in new])
        connection.execute(audit_head.update().values(size=len(new), frontier=tree.frontier().dump()))
        names = ("level", "number", "hash")
        if nodes:
            connection.execute(audit_nodes.insert(), [dict(zip(names, node, strict=True)) for node in nodes])


def _row(body: bytes) -> dict[str, Any]:
    said = json.loads(body)
    columns = {name: said.get(name) for name in ("seq", "event_id", "type", "run_id")}
    return columns | {
        "occurred_at": datetime.fromisoformat(said["occurred_at"]),
        "body": body,
        "leaf": leaf_hash(body),
    }


def sign_again(house: Installation, sizes: Iterable[int]) -> None:
    """The ledger's checkpoints are replaced by ones that the real key signs over the log as it is now."""
    with house.ledger.write() as connection:
        as_intruder(connection)
        origin = audit_keys.origin(connection, house.settings.audit)
        signer = audit_keys.open_signer(house.settings.audit, origin)
        leaves = [leaf_hash(body) for body in connection.execute(_BODIES).scalars()]
        sa_now = audit_log.now()
        connection.execute(sa.delete(metadata.tables["audit_anchors"]))
        connection.execute(audit_checkpoints.delete())
        for size in sizes:
            made = root(leaves[:size])
            note = checkpoints.sign(Checkpoint(origin, size, made), [signer])
            row = {"size": size, "root": made, "note": note, "signed_at": sa_now}
            connection.execute(audit_checkpoints.insert().values(row))


_BODIES = sa.select(audit_events.c.body).order_by(audit_events.c.seq)


def backup(house: Installation) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with house.ledger.read() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for table in metadata.sorted_tables
        }


def restore(house: Installation, saved: dict[str, list[dict[str, Any]]]) -> None:
    """The ledger as it was when it was saved."""
    with house.ledger.write() as connection:
        as_intruder(connection)
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        for table in metadata.sorted_tables:
            if saved[table.name]:
                connection.execute(table.insert(), saved[table.name])


def anchored(house: Callable[..., Installation], root: Path, **sections: Any) -> Installation:
    """600 events with the key's, anchored in the folder ``vault``; checkpoints over 300, 500 and all of them."""
    made = house(**vault(root), **sections)
    for count in (299, 200, 100):
        grow(made, count)
        sign(made)
    return made


def vault(root: Path) -> dict[str, dict[str, str]]:
    """The settings' section of an anchor in a new folder."""
    (root / "vault").mkdir()
    return {"audit__anchors__vault": {"kind": "directory", "place": str(root / "vault")}}


def at(seq: int) -> sa.Update:
    """To change one event's row."""
    return audit_events.update().where(audit_events.c.seq == seq)


def only(house: Installation, since: int = 0) -> Finding:
    """The one finding that there is."""
    (found,) = verify_log(house, since=since).findings
    return found
