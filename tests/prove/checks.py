"""What must hold in an archive after a night, whatever was killed: read with pyarrow and what ``places`` reads with.

Uses none of the product's code, so that a mistake there cannot hide itself here.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq

from tests.prove.places import Ledger, Objects, State, ledger_at, objects_at

Tokens = dict[str, bytes]


@dataclass(frozen=True)
class Shard:
    """One committed shard, as ledger and store show it."""

    path: str
    sha256: str
    rows: int
    stored: State | None  # None if it is not there


@dataclass
class Verdict:
    """``problems`` is empty if everything holds."""

    problems: list[str] = field(default_factory=list)
    orphans: int = 0  # shards and segments that no commit names
    temporary: int = 0  # unfinished files
    tokens: Tokens = field(default_factory=dict)

    def require(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.problems.append(otherwise)


def committed(ledger: Path | Ledger, archive: Path | Objects) -> list[Shard]:
    """Every shard that the ledger calls committed; none before there is a ledger with tables."""
    ledger, archive = ledger_at(ledger), objects_at(archive)
    if not ledger.has("shards"):
        return []
    rows = ledger.ask("SELECT path, sha256, rows FROM shards ORDER BY id")
    return [Shard(path, sha256, rows, archive.state(path)) for path, sha256, rows in rows]


def unharmed(before: list[Shard], after: list[Shard]) -> list[str]:
    """What is wrong with shards that were committed before: missing, other bytes, written again."""
    now = {shard.path: shard for shard in after}
    wrong = [
        f"{one.path} was committed and is not there, or other bytes" for one in before if not _whole(one)
    ]
    return wrong + [f"{one.path} was rewritten" for one in before if now.get(one.path) != one]


def check(
    ledger: Path | Ledger, archive: Path | Objects, keys: set[str], *, failing: dict[str, str]
) -> Verdict:
    """Every key committed exactly once, or failed for its reason in ``failing``; nothing left half done."""
    ledger, archive = ledger_at(ledger), objects_at(archive)
    verdict = Verdict()
    good = keys - failing.keys()
    _check_rows(verdict, ledger, good, failing)
    _check_shards(verdict, ledger, archive, good)
    _check_manifest(verdict, ledger, archive)
    _check_facts(verdict, ledger, archive)
    states = dict(ledger.ask("SELECT state, count(*) FROM runs GROUP BY state"))
    verdict.require("running" not in states, f"runs left running: {states}")
    open_batches = ledger.ask("SELECT count(*) FROM batches WHERE state = 'planned'")[0][0]
    verdict.require(not open_batches, f"{open_batches} batches left planned")
    named = {path for (path,) in ledger.ask("SELECT path FROM shards UNION SELECT path FROM audit_segments")}
    files = archive.paths()
    verdict.temporary = sum(path.endswith(".tmp") for path in files)
    data = {path for path in files if not path.endswith(".tmp")}
    verdict.orphans = len({p for p in data if p.startswith(("tokens/", "audit/segments/"))} - named)
    return verdict


def _check_rows(verdict: Verdict, ledger: Ledger, good: set[str], failing: dict[str, str]) -> None:
    found = Counter(
        key
        for (key,) in ledger.ask(
            "SELECT v.key FROM summaries s JOIN object_versions v ON v.id = s.object_version_id"
        )
    )
    twice = sum(number > 1 for number in found.values())
    verdict.require(set(found) == good, f"{len(set(found) ^ good)} keys lack a row, or have one wrongly")
    verdict.require(not twice, f"{twice} keys have several rows")
    reasons = ledger.ask(
        "SELECT v.key, f.reason FROM failures f JOIN object_versions v ON v.id = f.object_version_id "
        "WHERE f.resolved_at IS NULL",
    )
    verdict.require(dict(reasons) == failing and len(reasons) == len(failing), f"failures: {reasons[:5]}")
    states = dict(ledger.ask("SELECT state, count(*) FROM work GROUP BY state"))
    wanted = {"compressed": len(good)} | ({"failed": len(failing)} if failing else {})
    verdict.require(states == wanted, f"work is {states}, not {wanted}")


def _check_shards(verdict: Verdict, ledger: Ledger, archive: Objects, good: set[str]) -> None:
    places = {
        version: (path, row)
        for version, path, row in ledger.ask(
            "SELECT s.object_version_id, h.path, s.row FROM summaries s JOIN shards h ON h.id = s.shard_id",
        )
    }
    seen: Counter[str] = Counter()
    for shard in committed(ledger, archive):
        verdict.require(_whole(shard), f"{shard.path} is missing or not the bytes that were committed")
        table = pq.read_table(
            io.BytesIO(archive.read(shard.path)), columns=["object_version_id", "key", "tokens"]
        )
        verdict.require(table.num_rows == shard.rows, f"{shard.path} has {table.num_rows} rows")
        for row, values in enumerate(table.to_pylist()):
            seen[values["key"]] += 1
            verdict.tokens[values["key"]] = values["tokens"]
            at = places.get(values["object_version_id"])
            verdict.require(at == (shard.path, row), f"{values['key']} is not where the ledger says")
    verdict.require(
        set(seen) == good and set(seen.values()) <= {1}, "a key is not in exactly one committed shard"
    )


def _check_manifest(verdict: Verdict, ledger: Ledger, archive: Objects) -> None:
    listed = [
        (one["path"], one["sha256"], one["bytes"], one["rows"])
        for pointer in archive.paths()
        if PurePosixPath(pointer).match("manifests/*/*/latest.json")
        for one in json.loads(archive.read(pointer))["shards"]
    ]
    real = ledger.ask("SELECT path, sha256, bytes, rows FROM shards")
    verdict.require(sorted(listed) == sorted(real), f"manifest {len(listed)} shards, ledger {len(real)}")


def _check_facts(verdict: Verdict, ledger: Ledger, archive: Objects) -> None:
    """Each image's facts are numbered 0, 1, 2, ... in the trail; a kill left none out and counted none twice."""
    shown = Counter[int]()
    for (path,) in ledger.ask("SELECT path FROM audit_segments"):
        shown.update(json.loads(line)["n"] for line in archive.read(path).splitlines())
    for (body,) in ledger.ask("SELECT body FROM audit_events WHERE type = 'image.quarantined'"):
        shown[json.loads(body)["subject"]["n"]] += 1
    counts = [facts for (facts,) in ledger.ask("SELECT facts FROM object_versions")]
    wanted = Counter(n for facts in counts for n in range(facts))
    verdict.require(shown == wanted, f"facts by number are {shown}, the ledger counts {wanted}")


def furthest(one: Tokens, other: Tokens) -> float:
    """The largest difference between two archives' tokens of the same keys; ``inf`` for different keys."""
    if one.keys() != other.keys():
        return float("inf")
    keys = sorted(one)
    rows = [np.frombuffer(b"".join(tokens[key] for key in keys), "<f4") for tokens in (one, other)]
    return float(np.abs(rows[0] - rows[1]).max())


def _whole(shard: Shard) -> bool:
    return shard.stored is not None and shard.stored[0] == shard.sha256
