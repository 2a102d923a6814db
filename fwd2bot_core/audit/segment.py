"""The audit segment of one batch: one canonical JSON line for each image, and the Merkle root over them.

One SQL event names the segment by path, hash and root, so that a million images a night need no million
audit rows. Each line bears its number among all facts about its object version, so that a line that was left
out shows. Knows no time and no clear name: equal batches with equal outcomes give equal bytes, and keys,
identities and content hashes appear only as salted commitments.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from fwd2bot_core.audit.canonical import canonical, commitment, parse
from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.audit.merkle import inclusion_proof, leaf_hash, root
from fwd2bot_core.errors import IntegrityError
from fwd2bot_core.tokens.fidelity import probes_sha256
from fwd2bot_core.work import Batch, ImageFact, Unit

# since 2 a line may have its fidelity, since 3 it bears a number, since 4 it may say when the photo was taken; older
# ones are proven as ever
VERSION = 4
NUMBERED = 3  # the first version whose lines bear numbers
MILLION = 1_000_000  # an audit record holds no fractions


def write_segment(
    batch: Batch, images: Sequence[ImageFact], shard_path: str | None, probes: Sequence[str] = ()
) -> tuple[bytes, str]:
    """The segment's bytes and its root (64 hex digits); one line a unit, in the batch's order.

    ``probes`` are the questions that the images' fidelity was judged by.

    Raises ``ValueError`` unless ``images`` has exactly one fact for each unit of the batch.
    """
    facts = {fact.object_version_id: fact for fact in images}
    wanted = {unit.object_version_id for unit in batch.units}
    if len(images) != len(batch.units) or facts.keys() != wanted:
        raise ValueError(f"batch {batch.batch_id} has {len(batch.units)} units but {len(images)} facts")
    asked = probes_sha256(probes)
    lines = [
        canonical(_line(batch, unit, facts[unit.object_version_id], shard_path, asked))
        for unit in batch.units
    ]
    return b"".join(line + b"\n" for line in lines), root(map(leaf_hash, lines)).hex()


def _line(batch: Batch, unit: Unit, fact: ImageFact, shard_path: str | None, asked: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        "v": VERSION,
        "n": unit.facts,
        "batch_id": batch.batch_id,
        "night": batch.night.isoformat(),
        "compressor": batch.compressor,
        "unit": commitment(unit.salt, "key", unit.key),
        "identity": commitment(unit.salt, "identity", unit.identity),
    }
    if fact.sha256 is not None:
        line["content"] = commitment(unit.salt, "sha256", fact.sha256)
    if fact.size is not None:
        line["size"] = fact.size
    if fact.fidelity is not None:
        line["fidelity"] = {
            "millionths": round(fact.fidelity.score * MILLION),
            "worst": fact.fidelity.worst,
            "probes": asked,
        }
    elif fact.chosen:
        line["fidelity"] = {"probes": asked}  # it could not be judged by them
    if said := fact.claims.said:
        line["captured"] = {who: commitment(unit.salt, who, rfc3339(at)) for who, at in said.items()}
    if fact.claims.doubts:
        line["not_believed"] = dict(fact.claims.doubts)
    return line | _outcome(fact, shard_path)


def _outcome(fact: ImageFact, shard_path: str | None) -> dict[str, Any]:
    if fact.reject is not None:
        # its detail may quote a key, so it stays in SQL, where it can be erased
        return {"outcome": "rejected", "reason": fact.reject.reason.value}
    if fact.row is None or shard_path is None:
        raise ValueError(f"object version {fact.object_version_id} is neither rejected nor in a shard")
    return {"outcome": "compressed", "shard": shard_path, "row": fact.row}


def segment_path(night: date, batch_id: str, body_sha256: str) -> str:
    """``audit/segments/date=2026-11-24/<16 hex of the batch>-<16 hex of the body>.jsonl``."""
    return f"audit/segments/date={night.isoformat()}/{batch_id[:16]}-{body_sha256[:16]}.jsonl"


def read_segment(data: bytes) -> list[dict[str, Any]]:
    """Its lines, in order; raises ``IntegrityError`` for bytes that ``write_segment`` cannot have made."""
    return [parse(line) for line in _lines(data)]


def verify_subroot(data: bytes, subroot: str) -> None:
    """Raises ``IntegrityError`` unless the Merkle root over the segment's lines is ``subroot``."""
    found = root(map(leaf_hash, _lines(data))).hex()
    if found != subroot:
        raise IntegrityError(f"the audit segment's root is {found}, not {subroot} as committed")


def prove_line(data: bytes, index: int) -> tuple[bytes, ...]:
    """The path from line ``index`` to the segment's root, for ``merkle.verify_inclusion``."""
    hashes = [leaf_hash(line) for line in _lines(data)]
    return tuple(
        inclusion_proof(
            index, len(hashes), lambda level, number: root(hashes[number << level : (number + 1) << level])
        )
    )


def _lines(data: bytes) -> list[bytes]:
    if data and not data.endswith(b"\n"):
        raise IntegrityError("the audit segment's last line is cut off")
    return data.split(b"\n")[:-1]
