"""A tiny log with everything that a bundle of evidence can hold, made without a database."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from fwd2bot_core.audit.bundle import BundleWriter
from fwd2bot_core.audit.canonical import canonical, commitment
from fwd2bot_core.audit.checkpoints import Checkpoint, sign
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.evidence import Evidence, write_bundle
from fwd2bot_core.audit.merkle import consistency_proof, inclusion_proof, leaf_hash, root
from fwd2bot_core.audit.note_keys import COSIGNATURE, Ed25519Signer
from fwd2bot_core.audit.verifier import verify

ORIGIN = "fwd2bot/test"
START = datetime(2026, 11, 24, 17, 0, tzinfo=UTC)
SALT = bytes(range(16))
ACTOR = commitment(SALT, "actor", "tanaka")
SEGMENT = "audit/segments/date=2026-11-24/0123456789abcdef-0123456789abcdef.jsonl"


@dataclass
class Log:
    """Events, the keys that sign them, and when each checkpoint is signed."""

    bodies: list[bytes]
    sizes: Sequence[int] = (2, 5, 6)
    log_key: Ed25519Signer = field(default_factory=lambda: Ed25519Signer.generate(ORIGIN))
    witness: Ed25519Signer = field(default_factory=lambda: Ed25519Signer.generate("w1", COSIGNATURE))

    def __post_init__(self) -> None:
        self.witness.clock = lambda: (START + timedelta(minutes=5)).timestamp()

    def subtree(self, level: int, number: int) -> bytes:
        leaves = self.bodies[number << level : (number + 1) << level]
        return root(map(leaf_hash, leaves))

    def note(self, size: int) -> str:
        checkpoint = Checkpoint(ORIGIN, size, root(map(leaf_hash, self.bodies[:size])))
        return sign(checkpoint, [self.log_key, self.witness])

    def evidence(self, **changed: Any) -> Evidence:
        sizes = self.sizes
        whole = Evidence(
            origin=ORIGIN,
            made_at=START + timedelta(hours=1),
            selection={"type": ["test"]},
            bodies=lambda: iter(self.bodies),
            prove=lambda number: inclusion_proof(number, sizes[-1], self.subtree),
            checkpoints=[(size, self.note(size)) for size in sizes],
            continues=lambda old, new: consistency_proof(old, new, self.subtree),
            anchors=[anchor(size, kind) for size in sizes for kind in ("store", "witness")],
            keys=[
                {"vkey": signer.verifier.vkey(), "since": 0, "until": None}
                for signer in (self.log_key, self.witness)
            ],
            segment=lambda path: segment(),
            values=[{"ref": ACTOR, "kind": "actor", "salt": SALT.hex(), "value": "tanaka"}],
        )
        return replace(whole, **changed)


def anchor(size: int, kind: str) -> dict[str, Any]:
    return {
        "size": size,
        "anchor": f"a-{kind}",
        "kind": kind,
        "place": "s3://elsewhere/log" if kind == "store" else "w1",
        "evidence": None,
        "retain_until": None,
        "anchored_at": "2026-11-24T17:06:00.000000Z",
    }


def segment() -> bytes:
    return b"".join(canonical({"v": 2, "row": row}) + b"\n" for row in range(3))


def event(number: int, minute: float | None = None, **fields: Any) -> bytes:
    """The body of one event, another one for each number."""
    made = Event(
        type="test",
        occurred_at=START + timedelta(minutes=number / 10 if minute is None else minute),
        actor=Actor(ACTOR, "operator"),
        event_id=UUID(int=number),
        **fields,
    )
    return made.body(number)


def tiny(count: int = 6, **fields: Any) -> Log:
    """A log of ``count`` events, the second of which names an audit segment."""
    lines = segment().split(b"\n")[:-1]
    named = {
        "path": SEGMENT,
        "sha256": hashlib.sha256(segment()).hexdigest(),
        "bytes": len(segment()),
        "rows": 3,
        "subroot": root(map(leaf_hash, lines)).hex(),
    }
    bodies = [event(number, after={"segment": named} if number == 1 else None) for number in range(count)]
    return Log(bodies, **fields)


def packed(evidence: Evidence) -> bytes:
    file = io.BytesIO()
    write_bundle(evidence, file)
    return file.getvalue()


def repacked(data: bytes, change: Callable[[dict[str, bytes]], Any]) -> bytes:
    """The bundle of an attacker who changes parts and makes manifest and container anew, so that they agree."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    about = verify.parse_json(parts.pop("manifest.json"))
    parts.pop("manifest.sha256")
    about |= change(parts) or {}
    file = io.BytesIO()
    with BundleWriter(file) as bundle:
        for name, part in parts.items():
            bundle.add(name, [part])
        bundle.close(about)
    return file.getvalue()


def judged(data: bytes, folder: Path, **asked: Any) -> verify.Verification:
    """What the verifier says about the bytes of a file."""
    path = folder / "evidence.zip"
    path.write_bytes(data)
    return verify.verify(path, **asked)


def told(found: verify.Verification) -> set[tuple[str, str, int | None]]:
    """What is wrong: part, verdict, event."""
    return {(each.part, each.verdict, each.event) for each in found.findings if each.verdict != verify.VALID}


def names(data: bytes) -> list[str]:
    """Of a bundle's parts."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def part(data: bytes, name: str) -> bytes:
    """One part of a bundle."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)
