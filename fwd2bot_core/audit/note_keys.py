"""The keys of signed notes: their names, their text forms, what they sign.

Ed25519 in two signature types of C2SP's ``signed-note``: 1 signs the text; 4, a witness's ``cosignature/v1``, signs it
with a time. Strict, since strangers hand over what is parsed here. Knows nothing about notes, or where keys are kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fwd2bot_core.errors import NoteInvalid

ED25519 = 1
COSIGNATURE = 4
MAX_TIME = 2**63 - 1
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")  # all but the newline
_SIGNATURE_BYTES = {ED25519: 64, COSIGNATURE: 8 + 64}
_STAMP_BYTES = {ED25519: 0, COSIGNATURE: 8}
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_PRIVATE = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key under its name. Raises ``NoteInvalid`` when made of parts that do not belong together."""

    name: str
    key_id: bytes  # 4
    public: bytes  # 32
    kind: int = ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.kind not in _SIGNATURE_BYTES:
            raise NoteInvalid(f"the key of {self.name} is of type {self.kind}; types 1 and 4 are known here")
        if len(self.public) != 32:
            raise NoteInvalid(f"the key of {self.name} has {len(self.public)} bytes, and Ed25519's have 32")
        if self.key_id != key_id(self.name, self.kind, self.public):
            raise NoteInvalid(
                f"the key of {self.name} does not have the id {self.key_id.hex()} that it names"
            )

    @classmethod
    def of(cls, name: str, public: bytes, kind: int = ED25519) -> Verifier:
        """The verifier of 32 public bytes; its id follows from them."""
        return cls(name, key_id(name, kind, public), public, kind)

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read ``name+id+key``, as ``vkey`` writes it. Raises ``NoteInvalid``."""
        parts = vkey.split("+", 2)
        if len(vkey) > 1000 or len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]):
            raise NoteInvalid(f"{vkey[:80]!r} is no verifier key; the form is name+8 hex digits+base64")
        data = strict_base64(parts[2], "a verifier key")
        return cls(parts[0], bytes.fromhex(parts[1]), data[1:], data[0] if data else 0)

    def vkey(self) -> str:
        """``name+id+key``: what those are told who verify; says nothing secret."""
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def verify(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes; of type 4: 8 of time before them) is this key's over ``text``."""
        stamp = signature[: _STAMP_BYTES[self.kind]]
        if len(signature) != _SIGNATURE_BYTES[self.kind] or int.from_bytes(stamp) > MAX_TIME:
            return False
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public)
            key.verify(signature[len(stamp) :], _message(self.kind, stamp, text))
        except (InvalidSignature, ValueError):  # also bytes that are no point of the curve
            return False
        return True


class Signer(Protocol):
    """Whatever can sign a note: a key in memory, or a program that asks a key store."""

    @property
    def name(self) -> str: ...

    @property
    def verifier(self) -> Verifier: ...

    def sign(self, text: str) -> bytes:
        """The signature as ``Verifier.verify`` takes it, without the key's id."""
        ...


class Ed25519Signer:
    """A private key in memory. Of type 4 it signs with the clock's time, in whole seconds."""

    def __init__(
        self,
        name: str,
        key: Ed25519PrivateKey,
        kind: int = ED25519,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.verifier = Verifier.of(name, key.public_key().public_bytes_raw(), kind)
        self.clock = clock
        self._key = key

    @property
    def name(self) -> str:
        return self.verifier.name

    @classmethod
    def generate(cls, name: str, kind: int = ED25519) -> Ed25519Signer:
        """A new random key."""
        return cls(name, Ed25519PrivateKey.generate(), kind)

    @classmethod
    def load(cls, skey: str) -> Ed25519Signer:
        """What ``skey`` wrote. Raises ``NoteInvalid``, and never repeats the text, which is secret."""
        parts = skey.removeprefix(_PRIVATE).split("+", 2)
        if len(skey) > 1000 or not skey.startswith(_PRIVATE) or len(parts) != 3:
            raise NoteInvalid("this is no signing key; the form is PRIVATE+KEY+name+8 hex digits+base64")
        data = strict_base64(parts[2], "a signing key")
        if len(data) != 33 or data[0] not in _SIGNATURE_BYTES:
            raise NoteInvalid("this is no Ed25519 signing key: its type or length is another")
        signer = cls(parts[0], Ed25519PrivateKey.from_private_bytes(data[1:]), data[0])
        if signer.verifier.key_id.hex() != parts[1]:
            raise NoteInvalid(
                "the signing key does not have the id that it names; it was damaged or mixed up"
            )
        return signer

    def skey(self) -> str:
        """``PRIVATE+KEY+name+id+seed``, secret."""
        seed = bytes([self.verifier.kind]) + self._key.private_bytes_raw()
        return f"{_PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{base64.b64encode(seed).decode()}"

    def sign(self, text: str) -> bytes:
        stamp = int(self.clock()).to_bytes(8)[: _STAMP_BYTES[self.verifier.kind]]
        return stamp + self._key.sign(_message(self.verifier.kind, stamp, text))


def key_id(name: str, kind: int, public: bytes) -> bytes:
    """4 bytes that tell keys apart; no proof of anything."""
    return hashlib.sha256(utf8(name) + b"\n" + bytes([kind]) + public).digest()[:4]


def check_name(name: str) -> None:
    """Raises ``NoteInvalid`` for a name that a signature line cannot hold."""
    if not name or "+" in name or any(letter.isspace() for letter in name) or CONTROL.search(name):
        raise NoteInvalid(f"{name[:80]!r} is no key name: it is empty, or has spaces or a plus sign")
    utf8(name)


def strict_base64(text: str, what: str) -> bytes:
    """The bytes that have exactly this one base64 text. Raises ``NoteInvalid``; does not repeat the text."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise NoteInvalid(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise NoteInvalid(f"{what} is not base64 in its one canonical form")
    return data


def _message(kind: int, stamp: bytes, text: str) -> bytes:
    """What is signed: of type 4 the time stands before the text, and a first line that no other use has."""
    head = f"cosignature/v1\ntime {int.from_bytes(stamp)}\n" if kind == COSIGNATURE else ""
    return utf8(head + text)


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise NoteInvalid("the text is no valid Unicode") from None
