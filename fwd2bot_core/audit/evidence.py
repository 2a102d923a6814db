"""What is in a bundle of evidence, so that a stranger can check it without the product, the operator or a network.

Knows the parts, their names and what each says; ``verifier/verify.py`` reads them, and ``bundle`` packs them. Reads
nothing itself: whoever calls brings events, proofs and keys. Memory stays flat, however many events there are.

Up to ``SINGLE_PROOFS`` events each has a ``.tlog-proof`` file of its own, which other programs read as well. Above,
one file holds the paths of all: a million files, each with the same checkpoint in it, would help nobody.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from itertools import islice, pairwise
from typing import Any, BinaryIO

import fwd2bot_core
from fwd2bot_core.audit.bundle import BundleWriter
from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.audit.evidence_page import Shown, certificate, page
from fwd2bot_core.audit.tlog_proof import format_proof
from fwd2bot_core.audit.verifier.verify import COLUMNS, csv_line, proof_name, table_row

SINGLE_PROOFS = 1_000
SHOWN = 2_000  # events on the readable page
Progress = Callable[[int], None]  # told how many events a step has passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that goes into one bundle. Equal evidence makes equal bundles."""

    origin: str  # of the log
    made_at: datetime  # aware
    selection: Mapping[str, Any]  # which events were asked for, as JSON values
    bodies: Callable[[], Iterator[bytes]]  # the exact bodies in the order of the log; asked for several times
    prove: Callable[[int], Sequence[bytes]]  # an event's path to the root of the newest checkpoint
    checkpoints: Sequence[tuple[int, str]]  # size and signed note, oldest first
    continues: Callable[[int, int], Sequence[bytes]]  # the consistency proof between two sizes
    anchors: Sequence[Mapping[str, Any]]  # size, anchor, kind, place, evidence, retain_until, anchored_at
    keys: Sequence[Mapping[str, Any]]  # vkey, since, until, vouched
    segment: Callable[[str], bytes] | None = None  # reads an audit segment by its path; None leaves them out
    values: Sequence[Mapping[str, str]] | None = (
        None  # ref, kind, salt, value: the names; None leaves them out
    )
    policy: Callable[[str], bytes | None] = lambda sha256: (
        None
    )  # reads a policy that an event names, word for word

    @property
    def newest(self) -> int:
        """How many events the newest checkpoint covers."""
        return self.checkpoints[-1][0] if self.checkpoints else 0

    @property
    def names(self) -> dict[str, str]:
        """What commitments stand for, as far as that is told."""
        return {each["ref"]: each["value"] for each in self.values or ()}


@dataclass(frozen=True, slots=True)
class Written:
    """What went into a bundle."""

    sha256: str  # of the file
    events: int
    covered: int  # of these, by its newest checkpoint


def write_bundle(evidence: Evidence, file: BinaryIO, progress: Progress = lambda events: None) -> Written:
    """Write a bundle into an empty file that is open for reading and writing.

    Raises ``UsageError`` when it would be too large to be checked, ``IntegrityError`` for a body that is none, and
    whatever the evidence's functions raise.
    """
    said = _Events(evidence, progress)
    with BundleWriter(file) as bundle:
        bundle.add("events.jsonl", said.lines())
        bundle.add("events.csv", _table(evidence))
        _add_proofs(bundle, evidence, said)
        for size, note in evidence.checkpoints:
            bundle.add(f"checkpoints/{size:020}.note", [note.encode()])
        for name, value in _documents(evidence):
            bundle.add(name, [_json(value)])
        _add_files(bundle, evidence, said)
        about = _about(evidence, said)
        bundle.add("certificate.txt", [certificate(about).encode()])
        bundle.add("index.html", [page(about, _shown(evidence)).encode()])
        bundle.add("verify.py", [program()])
        return Written(bundle.close(about), said.count, said.covered)


def program() -> bytes:
    """The verifier that travels with each bundle."""
    return (resources.files("fwd2bot_core.audit.verifier") / "verify.py").read_bytes()


class _Events:
    """The first pass over the events: writes them, and remembers what the other parts need of them."""

    def __init__(self, evidence: Evidence, progress: Progress) -> None:
        self.count = self.covered = 0
        self.segments: set[str] = set()  # their paths
        self.policies: set[str] = set()  # their hashes
        self.losses: list[dict[str, Any]] = []  # what the log says of restores from a backup
        self._evidence, self._progress = evidence, progress

    def lines(self) -> Iterator[bytes]:
        for body in self._evidence.bodies():
            event = parse(body)
            yield body + b"\n"
            self.count += 1
            self.covered += event["seq"] < self._evidence.newest
            if segment := (event.get("after") or {}).get("segment"):
                self.segments.add(segment["path"])
            if event["type"] == "log.restored":
                self.losses.append(_loss(event))
            if policy := event.get("policy"):
                self.policies.add(policy["sha256"])
            self._progress(self.count)


def _table(evidence: Evidence) -> Iterator[bytes]:
    names = evidence.names
    yield csv_line(COLUMNS.split())
    for body in evidence.bodies():
        yield table_row(json.loads(body), names)


def _add_proofs(bundle: BundleWriter, evidence: Evidence, said: _Events) -> None:
    if said.covered > SINGLE_PROOFS:
        lines = ({"event": number, "hashes": _texts(path)} for number, path in _paths(evidence))
        bundle.add("proofs.jsonl", (_json(line, indent=None) for line in lines))
        return
    for number, path in _paths(evidence):
        bundle.add(proof_name(number), [format_proof(number, path, evidence.checkpoints[-1][1]).encode()])


def _paths(evidence: Evidence) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Of each event that the newest checkpoint covers."""
    for body in evidence.bodies():
        number = int(json.loads(body)["seq"])
        if number < evidence.newest:
            yield number, evidence.prove(number)


def _add_files(bundle: BundleWriter, evidence: Evidence, said: _Events) -> None:
    """What the events name: audit segments, and the policies that were in force."""
    if evidence.segment is not None:
        for path in sorted(said.segments):
            bundle.add(f"segments/{path}", [evidence.segment(path)])
    for sha256 in sorted(said.policies):
        if (policy := evidence.policy(sha256)) is not None:
            bundle.add(f"policies/{sha256}.yaml", [policy])


def _documents(evidence: Evidence) -> Iterator[tuple[str, Any]]:
    sizes = [size for size, _ in evidence.checkpoints]
    yield (
        "consistency.json",
        [
            {"old": old, "new": new, "hashes": _texts(evidence.continues(old, new))}
            for old, new in pairwise(sizes)
        ],
    )
    yield "anchors.json", list(map(dict, evidence.anchors))
    yield "keys.json", list(map(dict, evidence.keys))
    if evidence.values is not None:
        yield "values.json", list(map(dict, evidence.values))


def _loss(event: Mapping[str, Any]) -> dict[str, Any]:
    said = event.get("subject") or {}
    return {
        "event": event["seq"],
        "first": said.get("first"),
        "last": said.get("last"),
        "evidence": said.get("evidence", "signed"),
        "reason": event.get("reason_text"),
    }


def _about(evidence: Evidence, said: _Events) -> dict[str, Any]:
    return {
        "origin": evidence.origin,
        "made_at": rfc3339(evidence.made_at),
        "made_by": f"fwd2bot {fwd2bot_core.__version__}",
        "selection": dict(evidence.selection),
        "events": said.count,
        "losses": said.losses,
        "checkpoint": evidence.newest,
        "segments": evidence.segment is not None,
    }


def _shown(evidence: Evidence) -> Shown:
    bodies = evidence.bodies()
    return Shown(
        events=[json.loads(body) for body in islice(bodies, SHOWN)],
        more=next(bodies, None) is not None,
        checkpoints=evidence.checkpoints,
        anchors=evidence.anchors,
        keys=evidence.keys,
        names=evidence.names,
    )


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [b64encode(each).decode() for each in hashes]


def _json(value: Any, indent: int | None = 1) -> bytes:
    return json.dumps(value, sort_keys=True, indent=indent, ensure_ascii=True).encode() + b"\n"
