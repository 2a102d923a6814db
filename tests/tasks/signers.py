"""People's keys in tests: signatures as OpenSSH makes them, without OpenSSH."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Signer:
    """Somebody with an Ed25519 key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public = self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def sign(self, message: bytes, namespace: bytes = b"fwd2bot-approval") -> str:
        kind, blob = self.public.split()
        digest = hashlib.sha512(message).digest()
        value = self._key.sign(b"SSHSIG" + _packed(namespace, b"", b"sha512", digest))
        inner = _packed(kind.encode(), value)
        whole = b"SSHSIG\0\0\0\1" + _packed(base64.b64decode(blob), namespace, b"", b"sha512", inner)
        middle = base64.b64encode(whole).decode()
        return f"-----BEGIN SSH SIGNATURE-----\n{middle}\n-----END SSH SIGNATURE-----\n"


def _packed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
