"""The newest state list, read again: is it what was logged, sorted, and as long as it says?

Older lists are held against the log by their counts alone (``tasks.verify_facts``); a proof checks the parts that it
reads. Finds and names; repairs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.state_list import check_part
from fwd2bot_core.errors import IntegrityError, StoreError, StoreUnreachable
from infra.database import Ledger
from infra.objects import ObjectStore
from infra.tables import audit_events, audit_states
from tasks.state_proofs import StateList
from tasks.verify_objects import Finding

COMPARED = ("path", "sha256", "rows", "root")


def check_newest_list(ledger: Ledger, archive: ObjectStore) -> Iterator[Finding]:
    """Holds one part of the list at a time. Raises ``StoreUnreachable``."""
    with ledger.read() as connection:
        joined = sa.select(audit_states, audit_events.c.body).join(audit_events)
        row = connection.execute(joined.order_by(audit_states.c.seq.desc()).limit(1)).one_or_none()
    if row is None:
        return
    try:
        said = parse(row.body)["after"]
        yield from _differences(row, said)
        found = StateList(archive, said)
        for number, part in enumerate(found.manifest.parts):
            check_part(part, found.lines(number))
    except StoreUnreachable:
        raise  # it says nothing about what is stored
    except (IntegrityError, StoreError, KeyError) as error:
        yield Finding("states", row.path, str(error))


def _differences(row: sa.Row[Any], said: dict[str, Any]) -> Iterator[Finding]:
    for name in COMPARED:
        if said[name] != row._mapping[name]:
            problem = (
                f"event {row.seq} says {name} {said[name]}, the row in the table says {row._mapping[name]}"
            )
            yield Finding("ledger", row.path, problem)
