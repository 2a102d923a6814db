#!/usr/bin/env python3
"""Checks a bundle of evidence from Fwd2Bot's audit log. Needs Python 3.8 or newer: no package, no network.

    python3 verify.py evidence.zip --key 'NAME+ID+KEY'     the file as it was handed over
    python3 verify.py                                      inside the unpacked folder

Says a verdict for each part and one over all. Exit code 0: all is VALID; 5: something is not; 2: wrong usage.
Without --key the key comes from the bundle itself, which then proves that it agrees with itself, not whose it is.
Give --checkpoint FILE for each checkpoint that you got on another way: from an anchor's store, a printed report.

Knows Ed25519 (RFC 8032), Merkle trees (RFC 6962, 9162), and C2SP's signed notes, checkpoints, cosignatures and
proofs. It is one file, longer than its neighbours, and imports nothing of the product that it judges, so that a
stranger can read all of what he trusts. It changes nothing and unpacks nothing to disk.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

FORMAT, VERSION = "fwd2bot-evidence", 1
VERDICTS = (  # from harmless to grave
    "VALID",
    "NOT YET ANCHORED",  # nothing outside the operator's database vouches for it yet
    "CLOCK SUSPECT",  # the order is proven, a time in it is doubtful
    "RESTORED FROM BACKUP",  # whole, but the log itself says that later events were lost
    "UNREADABLE",  # not checked: neither good nor bad news
    "UNKNOWN KEY",
    "TRUNCATED",  # something that was there is missing
    "MODIFIED",
    "FORKED",  # two signed states that cannot both be true
)
VALID, NOT_YET_ANCHORED, CLOCK_SUSPECT, RESTORED, UNREADABLE, UNKNOWN_KEY, TRUNCATED, MODIFIED, FORKED = (
    VERDICTS
)

MAX_PARTS = 60_000
MAX_BYTES = 4 << 30  # of all parts, unpacked
MAX_RATIO = 250  # of a part of more than MAX_SMALL bytes; what is honest here packs 30 to 1 at best
MAX_SMALL = 1 << 20  # a line, a note, a proof
MAX_WHOLE = 64 << 20  # a part that is read at once
MAX_TOLD = 20  # findings of one part
MAX_SIGNATURES = 100
CLOCKS_DIFFER = timedelta(minutes=5)  # without anybody's fault
CONTROL = re.compile("[\\x00-\\x09\\x0b-\\x1f]")
ZIP_START = b"PK\x03\x04"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]*(/[A-Za-z0-9_][A-Za-z0-9._=-]*)*")
DIGEST = b"sha256 "  # then, as the file's last 64 bytes, hex digits over all that stands before them
TAIL = 22 + len(DIGEST) + 64
PARTS = (
    *("manifest", "keys", "checkpoints", "consistency", "anchors", "names", "events", "table", "segments"),
    *("policies", "elsewhere"),
)
COLUMNS = (
    "number event_id occurred_at type actor role on_behalf_of run_id collection reason_code reason_text subject "
    "before after policy compressor clock software"
)
UNREADABLES = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, LookupError, TypeError),
    *(AttributeError, RuntimeError, OverflowError, MemoryError),
)


class Bad(Exception):
    """What is wrong, and with which event."""

    def __init__(self, verdict: str, detail: str, event: int | None = None) -> None:
        super().__init__(detail)
        self.verdict, self.event = verdict, event


class Say:
    """Collects what a check says is wrong."""

    def __init__(self) -> None:
        self.found: list[Bad] = []

    def __call__(self, verdict: str, detail: str, event: int | None = None) -> None:
        self.found.append(Bad(verdict, detail, event))


class Finding(NamedTuple):
    """One thing that was found."""

    part: str
    verdict: str
    detail: str
    event: int | None = None


# ---- Ed25519, RFC 8032 section 5.1: a point is (X, Y, Z, T) with x = X/Z, y = Y/Z and x*y = T/Z

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def _plus(p: Sequence[int], q: Sequence[int]) -> Sequence[int]:
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    return (b - a) * (d - c) % P, (d + c) * (b + a) % P, (d - c) * (d + c) % P, (b - a) * (b + a) % P


def _times(number: int, point: Sequence[int]) -> Sequence[int]:
    total: Sequence[int] = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _plus(total, point)
        point, number = _plus(point, point), number >> 1
    return total


def _decoded(data: bytes) -> Sequence[int]:
    """The point that 32 bytes stand for; empty if they stand for none."""
    number = int.from_bytes(data, "little")
    y, odd = number & ((1 << 255) - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if y >= P or (x * x - square) % P or (odd and not x):
        return ()
    x = x if x & 1 == odd else P - x
    return x, y, 1, x * y % P


BASE = _decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the 64 bytes are the signature of the 32 bytes' owner over the message."""
    key, promise = _decoded(public[:32]), _decoded(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if len(public) != 32 or len(signature) != 64 or not key or not promise or scalar >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    left, right = _times(scalar, BASE), _plus(promise, _times(challenge, key))
    return not any((left[i] * right[2] - right[i] * left[2]) % P for i in (0, 1))


# ---- Merkle trees


def leaf_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Grows by one leaf at a time and knows its root; keeps one hash a level."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []  # of the perfect subtrees, largest first

    def add(self, leaf: bytes) -> None:
        number = self.size
        while number & 1:  # this leaf completes the perfect subtree before it
            leaf, number = node_hash(self._peaks.pop(), leaf), number >> 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        found = self._peaks[-1] if self._peaks else hashlib.sha256(b"").digest()
        for peak in self._peaks[-2::-1]:
            found = node_hash(peak, found)
        return found


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162, 2.1.3.2."""
    found, rest = _climb(index, size, proof, (leaf, leaf))
    return 0 <= index < size and rest == 0 and found[1] == root


def verify_consistency(old: int, old_root: bytes, size: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """RFC 9162, 2.1.4.2; every log continues the empty one."""
    if old in (0, size):
        return 0 <= old <= size and not proof and old_root == (new_root if old == size else Tree().root())
    return roots_by(old, old_root, size, proof) == (old_root, new_root)


def roots_by(old: int, old_root: bytes, size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of both sizes that a consistency proof leads to. If the second is right, so is the first, whatever
    was signed, unless ``old`` is a power of two, where ``old_root`` is the proof's first step."""
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not 0 < old < size or not path:
        return b"", b""
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    found, rest = _climb(place, last + 1, path[1:], (path[0], path[0]))
    return found if rest == 0 else (b"", b"")


def _climb(
    place: int, size: int, path: Sequence[bytes], start: tuple[bytes, bytes]
) -> tuple[tuple[bytes, bytes], int]:
    """Two hashes led up one path, the first only by what lies at its left; and what of the tree is still above."""
    (was, now), last = start, size - 1
    for sibling in path:
        if last == 0:
            return (b"", b""), -1
        if place & 1 or place == last:
            was, now = node_hash(sibling, was), node_hash(sibling, now)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            now = node_hash(now, sibling)
        place, last = place >> 1, last >> 1
    return (was, now), last


# ---- Signed notes and checkpoints


class Key(NamedTuple):
    """A public key under its name; of type 4 it is a witness's, whose signatures carry a time."""

    name: str
    id: bytes
    kind: int
    public: bytes

    def signed(self, text: str, payload: bytes) -> int | None:
        """When (seconds since 1970; 0 by a key of type 1) this key signed the text; None if it did not."""
        stamp = payload[:8] if self.kind == 4 else b""
        time = int.from_bytes(stamp, "big")
        head = f"cosignature/v1\ntime {time}\n" if self.kind == 4 else ""
        right = ed25519_verify(self.public, (head + text).encode(), payload[len(stamp) :])
        return time if right and time < 1 << 63 else None

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"


def unbase64(text: str) -> bytes:
    data = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 in another form than its one canonical one")
    return data


def parse_key(vkey: str) -> Key:
    """NAME+ID+KEY as C2SP's signed notes write it."""
    name, number, encoded = vkey.split("+", 2)
    data = unbase64(encoded)
    hashed = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    if number != hashed or data[:1] not in (b"\x01", b"\x04") or len(data) != 33 or not name or " " in name:
        raise ValueError(f"{vkey[:200]!r} is no Ed25519 verifier key, or was mistyped")
    return Key(name, bytes.fromhex(number), data[0], data[1:])


class Checkpoint(NamedTuple):
    """The signed state of a log: the root over its first ``size`` events."""

    origin: str
    size: int
    root: bytes
    signed: dict[Key, int]  # by which known keys, when
    note: str


def read_checkpoint(note: str, keys: Sequence[Key]) -> Checkpoint:
    """Verifies the signatures of known keys; a wrong one spoils the note, other keys' lines are passed over."""
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or lines.count("\n") > MAX_SIGNATURES or CONTROL.search(note):
        raise Bad(UNREADABLE, "no signed note")
    origin, size, root = text.split("\n")[:3]
    if not re.fullmatch("0|[1-9][0-9]{0,18}", size) or len(unbase64(root)) != 32 or not origin:
        raise Bad(UNREADABLE, "no checkpoint of a log")
    signed = {}
    for line in lines[:-1].split("\n"):
        dash, name, encoded = line.split(" ")
        data = unbase64(encoded)
        if dash != "\u2014" or len(data) <= 4 or name.split() != [name] or "+" in name:
            raise Bad(UNREADABLE, "a line of the note is no signature")
        for key in keys:
            if (name, data[:4]) != (key.name, key.id):
                continue
            time = key.signed(text + "\n", data[4:])
            if time is None:
                raise Bad(MODIFIED, f"the signature of {name} is not over this text")
            if key.kind == 4 or key.name == origin:  # a log's key speaks for that log only
                signed[key] = time
    return Checkpoint(origin, int(size), unbase64(root), signed, note)


# ---- What is written in one way only


def table_row(event: dict[str, Any], names: dict[str, str]) -> bytes:
    """One event as a line of events.csv, with names where they are known."""
    actor = event.get("actor") or {}
    flat = {**event, "number": event["seq"], "actor": actor.get("ref"), "role": actor.get("role")}
    return csv_line([_cell(flat.get(column), names) for column in COLUMNS.split()])


def _cell(value: Any, names: dict[str, str]) -> str:
    """Never begins as a formula does: spreadsheets would run it."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = "" if value is None else names.get(str(value), str(value))
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def csv_line(cells: Sequence[str]) -> bytes:
    sink = io.StringIO()
    csv.writer(sink).writerow(cells)
    return sink.getvalue().encode("utf-8", "surrogatepass")


def commitment(salt: bytes, field: str, value: str) -> str:
    """What stands in the log for a name."""
    digest = hashlib.sha256(b"fwd2bot commitment v1")
    for part in (salt, field.encode(), value.encode("utf-8", "surrogatepass")):
        digest.update(struct.pack(">Q", len(part)) + part)
    return digest.hexdigest()


def parse_json(data: bytes) -> Any:
    return json.loads(data.decode(), parse_int=lambda digits: int(digits[:20]))  # no honest number is longer


def proof_name(number: int) -> str:
    return f"proofs/{number:020}.tlog-proof"


# ---- The container


class Folder:
    """A bundle that somebody unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        for found in sorted(path.rglob("*")):
            name = found.relative_to(path).as_posix()
            if found.is_symlink():
                raise Bad(UNREADABLE, f"{name} is a link, which a bundle never holds")
            if found.is_file() and not name.startswith("__pycache__/"):
                self.sizes[name] = found.stat().st_size

    def open(self, name: str) -> Any:
        return (self.path / name).open("rb")

    def check(self) -> str:
        return f"a folder with {len(self.sizes)} parts"


class Zip:
    """A bundle as it was exported: exactly the form that Fwd2Bot writes, and nothing beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(max(0, size - TAIL))
            tail = file.read()
        self._check_ends(start, tail, size)
        self._zip = zipfile.ZipFile(path)
        self.sizes = {entry.filename: entry.file_size for entry in self._zip.infolist()}
        self._check_entries(struct.unpack("<I", tail[16:20])[0])

    def open(self, name: str) -> Any:
        return self._zip.open(name)

    def _check_ends(self, start: bytes, tail: bytes, size: int) -> None:
        """Before anything is parsed: the directory that stands at the end is small, and where it has to be."""
        if start != ZIP_START:
            raise Bad(UNREADABLE, "this is not a ZIP file")
        if tail[:4] != b"PK\x05\x06" or tail[22 : 22 + len(DIGEST)] != DIGEST:
            raise Bad(UNREADABLE, "cut off, or packed by another program: unpack it and check the folder")
        entries, length, at = struct.unpack("<HII", tail[10:20])
        if entries > MAX_PARTS or length > MAX_WHOLE:
            raise Bad(UNREADABLE, f"too large: {entries} parts, {length} bytes of directory")
        if at + length != size - TAIL:
            raise Bad(UNREADABLE, "its directory is not where it should be: something is hidden, or cut out")

    def _check_entries(self, end: int) -> None:
        """Before anything is unpacked."""
        entries, at = self._zip.infolist(), 0
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise Bad(UNREADABLE, f"a bomb: its parts would grow to more than {MAX_BYTES} bytes")
        for entry in entries:
            self._check_entry(entry)
            if entry.header_offset != at:
                raise Bad(UNREADABLE, f"something is hidden before {entry.filename}, or lies over it")
            at += 30 + len(entry.filename) + entry.compress_size
        if len(self.sizes) != len(entries):
            raise Bad(UNREADABLE, "two parts have the same name")
        if at != end:
            raise Bad(UNREADABLE, "something is hidden before the directory")

    def _check_entry(self, entry: zipfile.ZipInfo) -> None:
        name = entry.orig_filename
        if not NAME.fullmatch(name):
            raise Bad(UNREADABLE, f"a part is called {name[:200]!r}, which could lead out of a folder")
        if entry.flag_bits & 1:
            raise Bad(UNREADABLE, f"{name} is encrypted")
        if entry.file_size > max(MAX_SMALL, entry.compress_size * MAX_RATIO):
            raise Bad(UNREADABLE, f"a bomb: {name} would grow to {entry.file_size} bytes")
        if entry.extra or entry.comment or entry.flag_bits:
            raise Bad(UNREADABLE, f"{name} was packed by another program: unpack all and check the folder")

    def check(self) -> str:
        digest, left = hashlib.sha256(), self.path.stat().st_size - 64
        with self.path.open("rb") as file:
            while left:
                data = file.read(min(left, 1 << 20))
                digest.update(data)
                left -= len(data)
            if file.read() != digest.hexdigest().encode():
                raise Bad(MODIFIED, "a byte is not what was exported; the other lines may say in which part")
        return f"{len(self.sizes)} parts, not a byte changed since the export"


# ---- The checks


class Verification:
    """All checks of one bundle, and what they found."""

    def __init__(self, bundle: Any, given: Sequence[Key] = (), elsewhere: Sequence[str] = ()) -> None:
        self.bundle, self.given, self.elsewhere = bundle, tuple(given), tuple(elsewhere)
        self.findings: list[Finding] = []
        self.manifest: dict[str, Any] = {}
        self.keys: Sequence[Key] = self.given
        self.checkpoints: dict[int, Checkpoint] = {}
        self.newest: Checkpoint | None = None
        self.cosigned: list[tuple[int, int]] = []  # size, seconds since 1970
        self.anchored = self.events = 0
        self.names: dict[str, str] = {}
        self.segments: dict[str, tuple[int, dict[str, Any]]] = {}
        self.agreed: list[int] = []  # sizes of checkpoints that are over the events here
        self.policies: set[str] = set()
        self.lost: set[tuple[int, str]] = set()  # size and root of signed states that a restore lost

    @property
    def verdict(self) -> str:
        return max((each.verdict for each in self.findings), key=VERDICTS.index, default=UNREADABLE)

    def run(self) -> None:
        """Every check, whatever the others found."""
        self.examine("file", lambda say: str(self.bundle.check()))
        if "manifest.json" not in self.bundle.sizes:
            inner = [name for name in self.bundle.sizes if name.endswith(".zip")]
            hint = f"; {inner[0]} in it may be one: unpack it once" if inner else ""
            self.findings.append(
                Finding("manifest", UNREADABLE, "not a bundle, it has no manifest.json" + hint)
            )
            return
        for part in PARTS:
            self.examine(part, getattr(self, "check_" + part))

    def examine(self, part: str, check: Callable[[Say], str]) -> None:
        """One check: it says what is wrong, or returns a sentence about what is right."""
        say, right = Say(), ""
        try:
            right = check(say)
        except Bad as bad:
            say.found.append(bad)
        except UNREADABLES as error:
            say(UNREADABLE, f"cannot be read: {type(error).__name__}: {str(error)[:300]}")
        if not say.found and right:
            self.findings.append(Finding(part, VALID, right))
        self.findings += [Finding(part, bad.verdict, str(bad), bad.event) for bad in say.found[:MAX_TOLD]]
        if len(say.found) > MAX_TOLD:
            gravest = max((bad.verdict for bad in say.found), key=VERDICTS.index)
            self.findings.append(Finding(part, gravest, f"and {len(say.found) - MAX_TOLD} more"))

    def read(self, name: str, most: int = MAX_WHOLE) -> bytes:
        with self.bundle.open(name) as file:
            data = bytes(file.read(most + 1))
        if len(data) > most:
            raise Bad(UNREADABLE, f"{name} is larger than the {most} bytes that are read of it")
        return data

    def lines(self, name: str) -> Iterator[bytes]:
        """Whole lines without their ends; memory stays flat."""
        with self.bundle.open(name) as file:
            for line in iter(lambda: file.readline(MAX_SMALL), b""):
                if not line.endswith(b"\n"):
                    raise Bad(TRUNCATED, f"a line of {name} is cut off, or has no end")
                yield line[:-1]

    def under(self, folder: str) -> list[str]:
        return sorted(name for name in self.bundle.sizes if name.startswith(folder))

    def check_manifest(self, say: Say) -> str:
        data = self.read("manifest.json")
        said = parse_json(data)
        if (said["format"], said["v"]) != (FORMAT, VERSION):
            raise Bad(
                UNREADABLE, "made by a program that this verify.py does not know: take the bundle's own"
            )
        self.manifest, parts = said, said["parts"]
        if self.read("manifest.sha256") != f"{hashlib.sha256(data).hexdigest()}  manifest.json\n".encode():
            say(MODIFIED, "manifest.json is not what manifest.sha256 says")
        there = set(self.bundle.sizes) - {"manifest.json", "manifest.sha256"}
        for name in sorted(set(parts) - there):
            say(TRUNCATED, f"the part {name} is missing")
        for name in sorted(there - set(parts)):
            say(MODIFIED, f"the part {name} does not belong to the bundle")
        for name in sorted(there & set(parts)):
            self._check_part(name, parts[name], say)
        return f"{len(parts)} parts, each with the bytes that were listed"

    def _check_part(self, name: str, listed: dict[str, Any], say: Say) -> None:
        digest, size, start = hashlib.sha256(), 0, b""
        try:
            with self.bundle.open(name) as file:
                for data in iter(lambda: file.read(1 << 20), b""):
                    start = start or data[:4]
                    digest.update(data)
                    size += len(data)
        except UNREADABLES as error:
            say(MODIFIED, f"the part {name} is damaged: {str(error)[:200]}")
            return
        if start == ZIP_START:
            say(UNREADABLE, f"the part {name} is a ZIP of its own, and is not opened")
        if (size, digest.hexdigest()) != (listed["bytes"], listed["sha256"]):
            say(MODIFIED, f"the part {name} is not what was listed")

    def check_keys(self, say: Say) -> str:
        listed = parse_json(self.read("keys.json"))
        own = [parse_key(each["vkey"]) for each in listed]
        self.keys = tuple({(key.name, key.id): key for key in (*own, *self.given)}.values())
        if self.given:
            return "given to this program: " + ", ".join(map(str, self.given))
        for each in listed:
            if not each.get("vouched", True):
                say(
                    UNKNOWN_KEY,
                    f"the key before {each['vkey']} was lost and did not sign for it",
                    each["since"],
                )
        return "TAKEN FROM THE BUNDLE, so compare with what their owners publish: " + ", ".join(map(str, own))

    def trusts(self, checkpoint: Checkpoint) -> bool:
        return any(not self.given or key in self.given for key in checkpoint.signed)

    def check_checkpoints(self, say: Say) -> str:
        for name in self.under("checkpoints/"):
            try:
                found = read_checkpoint(self.read(name, MAX_SMALL).decode(), self.keys)
            except Bad as bad:
                say(bad.verdict, f"{name}: {bad}")
                continue
            if (name, found.origin) != (f"checkpoints/{found.size:020}.note", self.manifest["origin"]):
                say(MODIFIED, f"{name} is the checkpoint of another log or size")
                continue
            self.checkpoints[found.size] = found
            self.cosigned += [(found.size, time) for key, time in found.signed.items() if key.kind == 4]
        if not self.checkpoints:
            raise Bad(NOT_YET_ANCHORED, "the bundle has no good checkpoint, so nothing is proven")
        self.newest = self.checkpoints[max(self.checkpoints)]
        if not self.trusts(self.newest):
            say(UNKNOWN_KEY, f"no trusted key signed the newest checkpoint, of {self.newest.size} events")
        return f"{len(self.checkpoints)}, the newest over {self.newest.size} events of {self.newest.origin}"

    def check_consistency(self, say: Say) -> str:
        proofs = {
            (each["old"], each["new"]): each["hashes"] for each in parse_json(self.read("consistency.json"))
        }
        old, *sizes = sorted(self.checkpoints) or [0]
        for new in sizes:
            was, now = self.checkpoints[old].root, self.checkpoints[new].root
            named = f"that the log of {new} events continues the one of {old}"
            hashes = [unbase64(each) for each in proofs.get((old, new), ())]
            if (old, new) not in proofs:
                say(TRUNCATED, f"the proof {named} is missing", old)
            elif not verify_consistency(old, was, new, now, hashes):
                forked = old & (old - 1) != 0 and roots_by(old, was, new, hashes)[1] == now
                said = f"it is disproven {named}: two histories are signed"
                unclear = f"it is not proven {named}: the log was changed, or two histories are signed"
                say(FORKED if forked else MODIFIED, said if forked else unclear, old)
            old = new
        return "each checkpoint continues the one before it"

    def check_anchors(self, say: Say) -> str:
        told: dict[int, list[str]] = {}
        unknown = 0
        for anchor in parse_json(self.read("anchors.json")):
            checkpoint = self.checkpoints.get(anchor["size"])
            if checkpoint is None:
                say(TRUNCATED, f"the anchored checkpoint of {anchor['size']} events is missing")
            elif anchor["kind"] == "witness" and not any(key.kind == 4 for key in checkpoint.signed):
                unknown = max(unknown, checkpoint.size)
            elif anchor["kind"] == "timestamp" and not _stamped(anchor["evidence"], checkpoint):
                say(MODIFIED, f"the time stamp is not over the checkpoint of {checkpoint.size} events")
            else:
                told.setdefault(checkpoint.size, []).append(f"{anchor['kind']} {anchor['place']}")
        self.anchored = max(told, default=0)
        if unknown > self.anchored:
            say(UNKNOWN_KEY, f"no known witness signed the checkpoint of {unknown} events")
        if not told:
            raise Bad(NOT_YET_ANCHORED, "nothing outside the operator's database vouches for this log")
        places = "; ".join(sorted(told[self.anchored]))
        return f"{self.anchored} events, says the bundle; look there yourself: {places}"[:600]

    def check_names(self, say: Say) -> str:
        if "values.json" not in self.bundle.sizes:
            return ""
        for each in parse_json(self.read("values.json")):
            if commitment(bytes.fromhex(each["salt"]), each["kind"], each["value"]) == each["ref"]:
                self.names[each["ref"]] = each["value"]
            else:
                say(MODIFIED, f"{str(each['value'])[:200]!r} is not the {each['kind']} that the log means")
        return f"{len(self.names)} names are those that the log's commitments stand for"

    def proofs(self) -> Iterator[tuple[int, list[bytes]]]:
        """Each proven event's number and path, in the order of the log."""
        if "proofs.jsonl" in self.bundle.sizes:
            for line in self.lines("proofs.jsonl"):
                said = parse_json(line)
                yield said["event"], [unbase64(each) for each in said["hashes"]]
        for name in self.under("proofs/"):
            head, _, note = self.read(name, MAX_SMALL).decode().partition("\n\n")
            number = int(name[7:27])
            start = f"c2sp.org/tlog-proof@v1\nindex {number}"
            hashes = [unbase64(each) for each in head.split("\n")[2:]]
            good = head.startswith(start) and name == proof_name(number) and note == self._newest_note()
            yield number, hashes if good else [b"no path"]

    def _newest_note(self) -> str:
        return self.newest.note if self.newest else ""

    def numbered(self, say: Say) -> Iterator[tuple[int, bytes, list[bytes] | None]]:
        """Each event's number, body, and path if it has one; says which have a proof and are missing."""
        proofs = self.proofs()
        proof = next(proofs, None)
        for body in self.lines("events.jsonl"):
            try:
                number = int(parse_json(body)["seq"])
            except UNREADABLES:  # what it was, its proof says
                number = proof[0] if proof else -1
            while proof and proof[0] < number:
                say(TRUNCATED, f"event {proof[0]} has a proof, and is missing", proof[0])
                proof = next(proofs, None)
            mine = proof is not None and proof[0] == number
            yield number, body, proof[1] if proof and mine else None
            proof = next(proofs, None) if mine else proof
        while proof:
            say(TRUNCATED, f"event {proof[0]} has a proof, and is missing", proof[0])
            proof = next(proofs, None)

    def check_events(self, say: Say) -> str:
        first, last, latest, waiting, tree = -1, -1, datetime.min, -1, Tree()
        for number, body, path in self.numbered(say):
            first = number if self.events == 0 else first
            if number <= last:
                say(MODIFIED, f"event {number} stands after event {last}", number)
            last, self.events = max(last, number), self.events + 1
            if not self._included(number, body, path):
                say(MODIFIED, f"event {number} is not what the log holds, or its proof is not", number)
                continue
            self._grow(tree, number, body, say)
            waiting = number if waiting < 0 and number >= self.anchored else waiting
            latest = self._look_into(parse_json(body), latest, say)
        expected = self.manifest.get("events")
        if expected != self.events:
            say(TRUNCATED, f"{expected} events were exported, {self.events} are here", last + 1)
        if waiting >= 0:
            say(
                NOT_YET_ANCHORED,
                f"events {waiting} to {last}: no checkpoint kept outside covers them",
                waiting,
            )
        gaps = last - first + 1 != self.events
        whole = "others were not selected" if gaps else f"no event from {first} to {last} is left out"
        return f"{self.events}, each proven; {whole}"

    def _grow(self, tree: Tree, number: int, body: bytes, say: Say) -> None:
        """Where the log is here from its first event on, each checkpoint must be over just these events."""
        if number != tree.size:
            return
        tree.add(leaf_hash(body))
        checkpoint = self.checkpoints.get(tree.size)
        if checkpoint is not None and checkpoint.root != tree.root():
            detail = f"the checkpoint of {tree.size} events is over others than the newest: two histories are signed"
            say(FORKED, detail, max((size for size in self.agreed if size < tree.size), default=0))
        elif checkpoint is not None:
            self.agreed.append(tree.size)

    def _included(self, number: int, body: bytes, path: list[bytes] | None) -> bool:
        if self.newest is None or number >= self.newest.size:
            return path is None  # nothing is said about it yet, which is told with the window that it is in
        leaf, size, root = leaf_hash(body), self.newest.size, self.newest.root
        return path is not None and verify_inclusion(leaf, number, size, path, root)

    def _look_into(self, event: dict[str, Any], latest: datetime, say: Say) -> datetime:
        """Between computers time may go back a little; no event is younger than a witness's signature over it."""
        number, moment = event["seq"], datetime.fromisoformat(event["occurred_at"][:-1])
        segment = (event.get("after") or {}).get("segment")
        if segment:
            self.segments[segment["path"]] = (number, segment)
        if event.get("policy"):
            self.policies.add(event["policy"]["sha256"])
        if event["type"] == "log.restored":
            lost = event["subject"]
            self.lost |= {(state["size"], state["root"]) for state in lost["checkpoints"]}
            say(
                RESTORED,
                f"event {number} records that events up to {lost['last']} of before were lost",
                number,
            )
        if latest - moment > CLOCKS_DIFFER:
            say(CLOCK_SUSPECT, f"event {number} says {moment}, after one of {latest}", number)
            latest = moment  # a clock that was wrong for a while is told of once
        seen = min((time for size, time in self.cosigned if number < size), default=None)
        if seen is not None and moment - CLOCKS_DIFFER > datetime(1970, 1, 1) + timedelta(seconds=seen):
            say(CLOCK_SUSPECT, f"event {number} says {moment}, but a witness signed it before that", number)
        return max(latest, moment)

    def check_table(self, say: Say) -> str:
        with self.bundle.open("events.csv") as table:
            for line in self._table():
                if table.read(len(line)) != line:
                    raise Bad(
                        MODIFIED, f"events.csv says something else than events.jsonl before {line[:40]!r}"
                    )
            if table.read(1):
                raise Bad(MODIFIED, "events.csv says more than events.jsonl")
        return "events.csv says what events.jsonl says (index.html is for reading only and proves nothing)"

    def _table(self) -> Iterator[bytes]:
        yield csv_line(COLUMNS.split())
        for body in self.lines("events.jsonl"):
            yield table_row(parse_json(body), self.names)

    def check_segments(self, say: Say) -> str:
        there = {name[len("segments/") :]: name for name in self.under("segments/")}
        whole = self.events == self.manifest.get("events")
        for path in sorted(set(there) - set(self.segments) if whole else ()):
            say(MODIFIED, f"no event of the bundle names the segment {path}")
        for path, (event, said) in sorted(self.segments.items()):
            if path not in there and self.manifest.get("segments"):
                say(TRUNCATED, f"the segment {path} of event {event} is missing", event)
            elif path in there:
                tree = Tree()
                for line in self.lines(there[path]):
                    tree.add(leaf_hash(line))
                if (tree.size, tree.root().hex()) != (said["rows"], said["subroot"]):
                    say(MODIFIED, f"the segment {path} is not what event {event} names", event)
        return f"{len(there)}, each with the root that its event names" if there else ""

    def check_policies(self, say: Say) -> str:
        there = self.under("policies/")
        for name in there:
            digest = hashlib.sha256(self.read(name)).hexdigest()
            if name != f"policies/{digest}.yaml" or digest not in self.policies:
                say(MODIFIED, f"{name} is not a policy that an event of the bundle names")
        return f"{len(there)}, word for word what events name by their hash" if there else ""

    def check_elsewhere(self, say: Say) -> str:
        """Checkpoints that came on another way than the bundle."""
        for note in self.elsewhere:
            other, newest = read_checkpoint(note, self.keys), self.newest
            mine = self.checkpoints.get(other.size)
            named = f"the checkpoint of {other.size} events from elsewhere"
            if newest is None or not self.trusts(other) or other.origin != newest.origin:
                say(UNKNOWN_KEY, f"{named} is another log's or key's")
            elif (other.size, other.root.hex()) in self.lost:
                say(RESTORED, f"{named} is of the events that were lost before a restore")
            elif mine is not None and mine.root != other.root:
                say(FORKED, f"{named} has another root than the one here")
            elif other.size > newest.size:
                say(TRUNCATED, f"{named} covers more than the {newest.size} here", newest.size)
            elif mine is None:
                say(UNREADABLE, f"{named} has none of its size here to be compared with")
        return f"{len(self.elsewhere)} checkpoints say the same as here" if self.elsewhere else ""


def _stamped(evidence: str, checkpoint: Checkpoint) -> bool:
    """Whether an RFC 3161 token is over the checkpoint's text. Whose it is, ``openssl ts -verify`` tells."""
    text = checkpoint.note.rpartition("\n\n")[0] + "\n"
    return hashlib.sha256(text.encode()).digest() in unbase64(evidence)


def verify(path: Path, given: Sequence[Key] = (), elsewhere: Sequence[str] = ()) -> Verification:
    """Check the bundle at a path, a ZIP file or a folder. Never raises for what it finds there."""
    opened: list[Any] = []

    def open_it(say: Say) -> str:
        opened.append(Folder(path) if path.is_dir() else Zip(path))
        return ""

    nothing = Verification(None)
    nothing.examine("file", open_it)
    if not opened:
        return nothing
    verification = Verification(opened[0], given, elsewhere)
    verification.run()
    return verification


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Checks a bundle of evidence from Fwd2Bot's audit log.")
    parser.add_argument(
        "bundle", nargs="?", type=Path, default=here, help="a ZIP file, or its unpacked folder"
    )
    parser.add_argument("--key", action="append", default=[], help="NAME+ID+KEY, got on another way")
    parser.add_argument("--checkpoint", action="append", default=[], help="a file, got on another way")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    asked = parser.parse_args(arguments)
    try:
        keys = [parse_key(key) for key in asked.key]
        notes = [Path(file).read_bytes().decode() for file in asked.checkpoint]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    found = verify(asked.bundle, keys, notes)
    print(as_json(found) if asked.json else as_text(found, asked.bundle))
    return 0 if found.verdict == VALID else 5


def as_text(found: Verification, path: Path) -> str:
    lines = [f"{each.verdict:17} {each.part:12} {visible(each.detail)}" for each in found.findings]
    return "\n".join([*lines, "", f"{found.verdict}: {visible(str(path))}"])


def as_json(found: Verification) -> str:
    said = {"verdict": found.verdict, "events": found.events, "anchored": found.anchored}
    key = "given" if found.given else "from the bundle"
    return json.dumps({**said, "key": key, "findings": [each._asdict() for each in found.findings]}, indent=1)


def visible(text: str) -> str:
    """What stands in a bundle gives no commands to a terminal."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


if __name__ == "__main__":
    sys.exit(main())
