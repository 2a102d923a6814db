"""Signatures that ``ssh-keygen -Y sign`` makes: whose key, over what, and whether it is so.

    ssh-keygen -Y sign -n fwd2bot-approval -f ~/.ssh/id_ed25519 STATEMENT

The format is OpenSSH's PROTOCOL.sshsig. Ed25519, ECDSA on the NIST curves, and RSA of 2,048 bits and more with SHA-2;
certificates and hardware keys (``sk-``) are not read. Knows bytes and keys. Knows nothing of people.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fwd2bot_core.errors import SignatureRefused

NAMESPACE = "fwd2bot-approval"
LONGEST = 16_384  # characters of a signature file; an RSA key of 16,384 bits needs 8,000
SMALLEST_RSA = 2048  # bits
_MAGIC = b"SSHSIG"
_FIRST, _LAST = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
_RSA = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}
_CURVES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class _Signature:
    key: bytes  # as SSH writes it on the wire
    namespace: bytes
    reserved: bytes
    hash_name: bytes
    kind: bytes  # of the signature: ssh-ed25519, rsa-sha2-512, ...
    value: bytes


def public_key(line: str) -> str:
    """``ssh-ed25519 AAAA...`` of a line of an ``.pub`` file, its comment left out: what names a key.

    Raises ``SignatureRefused`` for what is no key, or no key that signatures are taken from.
    """
    kind, blob = (*line.split(), "", "")[:2]
    try:
        _loaded(_unbased(blob))
    except SignatureRefused:
        raise
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureRefused(f"{kind[:40]!r} begins no SSH public key that can be used: {error}") from None
    if _strings(_unbased(blob))[0] != kind.encode("utf-8", "replace"):
        raise SignatureRefused(f"the key says that it is {kind[:40]!r}, and is another kind")
    return f"{kind} {blob}"


def verify(message: bytes, signature: str, key: str, namespace: str = NAMESPACE) -> None:
    """Raises ``SignatureRefused`` unless ``signature`` is by ``key`` (as ``public_key`` gives it) over ``message``."""
    found = _read(signature)
    blob = _unbased(key.split()[1])
    if found.key != blob:
        raise SignatureRefused("the signature is by another key than the person's registered one")
    if found.namespace != namespace.encode():
        said = found.namespace.decode("utf-8", "backslashreplace")[:40]
        raise SignatureRefused(f"the signature is for {said!r}: sign with ssh-keygen -Y sign -n {namespace}")
    try:
        _check(_loaded(blob), found, _signed(message, found))
    except InvalidSignature:
        raise SignatureRefused("the signature is over other bytes than this statement's") from None


def _signed(message: bytes, found: _Signature) -> bytes:
    digest = _HASHES[found.hash_name](message).digest()
    parts = (found.namespace, found.reserved, found.hash_name, digest)
    return _MAGIC + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _check(key: object, found: _Signature, data: bytes) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey) and found.kind == b"ssh-ed25519":
        key.verify(found.value, data)
    elif isinstance(key, rsa.RSAPublicKey) and found.kind in _RSA:
        key.verify(found.value, data, padding.PKCS1v15(), _RSA[found.kind])
    elif isinstance(key, ec.EllipticCurvePublicKey) and found.kind == _strings(found.key)[0]:
        numbers = _strings(found.value, exactly=2)
        r, s = (int.from_bytes(number, "big", signed=True) for number in numbers)
        if r <= 0 or s <= 0:
            raise InvalidSignature
        key.verify(encode_dss_signature(r, s), data, ec.ECDSA(_CURVES[key.curve.name]))
    else:
        raise SignatureRefused(f"a signature of kind {found.kind[:40]!r} is not taken from such a key")


def _loaded(blob: bytes) -> object:
    kind = _strings(blob)[0]
    try:
        key = serialization.load_ssh_public_key(kind + b" " + base64.b64encode(blob))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SignatureRefused(f"no SSH public key that can be used: {error}") from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < SMALLEST_RSA:
        raise SignatureRefused(f"an RSA key of {key.key_size} bits is too short; {SMALLEST_RSA} are needed")
    good = isinstance(key, (ed25519.Ed25519PublicKey, rsa.RSAPublicKey)) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES
    )
    if not good:
        raise SignatureRefused("no key of a kind that signatures are taken from: use ed25519, ecdsa or rsa")
    return key


def _read(signature: str) -> _Signature:
    if len(signature) > LONGEST:
        raise SignatureRefused(f"a signature of {len(signature):,} characters is none")
    lines = signature.strip().splitlines()
    if len(lines) < 3 or lines[0] != _FIRST or lines[-1] != _LAST:
        raise SignatureRefused(f"a signature begins with {_FIRST}: make one with ssh-keygen -Y sign")
    blob = _unbased("".join(lines[1:-1]))
    if not blob.startswith(_MAGIC) or blob[6:10] != b"\0\0\0\1":
        raise SignatureRefused("the signature is not of version 1 of OpenSSH's format")
    key, namespace, reserved, hash_name, inner = _strings(blob[10:], exactly=5)
    if hash_name not in _HASHES:
        raise SignatureRefused(f"the signature's hash {hash_name[:40]!r} is neither sha256 nor sha512")
    kind, value = _strings(inner, exactly=2)
    return _Signature(key, namespace, reserved, hash_name, kind, value)


def _unbased(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureRefused("what should be base64 is not") from None


def _strings(data: bytes, exactly: int | None = None) -> list[bytes]:
    """The length-prefixed strings that ``data`` is made of; at least one, or ``exactly`` so many."""
    found, at = list[bytes](), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or at + 4 > len(data):
            raise SignatureRefused("the key or signature is cut off")
        found.append(data[at + 4 : end])
        at = end
    if not found or (exactly is not None and len(found) != exactly):
        raise SignatureRefused(f"a key or signature of {len(found)} parts is none")
    return found
