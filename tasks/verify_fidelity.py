"""The fidelity that the ledger says of images, held against their audit segment, and the questions it was judged by.

Whoever may one day let an original go by these figures must not find bettered ones. Knows segments' lines and the
tables; reads, and repairs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.segment import MILLION
from fwd2bot_core.tokens.fidelity import probes_sha256
from infra.database import Ledger
from infra.tables import probe_sets, shards, summaries


def wrong_fidelity(ledger: Ledger, lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(shard, problem) for the shards of a segment's ``lines`` whose images have another fidelity in the ledger.

    Only rows that both sides know are compared: the shard itself tells of all others.
    """
    said: dict[str, set[tuple[Any, ...]]] = {}
    for line in lines:
        if line.get("outcome") == "compressed":
            fidelity = line.get("fidelity") or {}
            facts = (fidelity.get("millionths"), fidelity.get("worst"), fidelity.get("probes"))
            said.setdefault(line["shard"], set()).add((line["row"], *facts))
    for path, rows in said.items():
        held = _held(ledger, path)
        both = {row[0] for row in rows} & {row[0] for row in held}
        if wrong := sorted({row[0] for row in rows ^ held} & both):
            shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
            yield (
                path,
                f"the ledger says another fidelity, worst probe or set of probes of {len(wrong):,} rows (row "
                f"{shown}) than the audit segment: the table summaries was altered. Restore the ledger from a backup.",
            )


def _held(ledger: Ledger, path: str) -> set[tuple[Any, ...]]:
    query = (
        sa.select(summaries.c.row, summaries.c.fidelity, summaries.c.worst_probe, probe_sets.c.sha256)
        .join(shards, shards.c.id == summaries.c.shard_id)
        .outerjoin(probe_sets, probe_sets.c.id == summaries.c.probe_set_id)
        .where(shards.c.path == path)
    )
    with ledger.read() as connection:
        return {(row[0], millionths(row[1]), row[2], row[3]) for row in connection.execute(query)}


def millionths(value: Any) -> Any:
    """As the log has it; what is no number there stays as it is, and so differs from what the log says."""
    return round(value * MILLION) if isinstance(value, float) and abs(value) <= 1 else value


def altered_probes(ledger: Ledger) -> Iterator[tuple[str, str]]:
    """(hash, problem) of each set of probes whose questions are not those that images were judged by."""
    with ledger.read() as connection:
        found = connection.execute(sa.select(probe_sets).order_by(probe_sets.c.id)).all()
    for row in found:
        try:
            whole = probes_sha256(json.loads(row.questions)) == row.sha256
        except (ValueError, TypeError, RecursionError):
            whole = False
        if not whole:
            yield row.sha256, "its questions do not give its hash: the table probe_sets was altered"
