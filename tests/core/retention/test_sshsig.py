"""Signatures as OpenSSH makes them: taken when they are right, refused with a sentence when not."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from fwd2bot_core.errors import SignatureRefused
from fwd2bot_core.retention.sshsig import public_key, verify

MESSAGE = b'{"decision":"approve"}\n'
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()),
    "p521": ec.generate_private_key(ec.SECP521R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def packed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def mpint(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def line_of(key) -> str:
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return key.public_key().public_bytes(*form).decode()


def sign(key, message=MESSAGE, namespace=b"fwd2bot-approval", hash_name=b"sha512") -> str:
    line = line_of(key)
    kind, blob = line.split()[0].encode(), base64.b64decode(line.split()[1])
    digest = hashlib.new(hash_name.decode(), message).digest()
    data = b"SSHSIG" + packed(namespace, b"", hash_name, digest)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        inner = packed(kind, key.sign(data))
    elif isinstance(key, rsa.RSAPrivateKey):
        inner = packed(b"rsa-sha2-512", key.sign(data, padding.PKCS1v15(), hashes.SHA512()))
    else:
        size = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(size)))
        inner = packed(kind, packed(mpint(r), mpint(s)))
    return armoured(b"SSHSIG\0\0\0\1" + packed(blob, namespace, b"", hash_name, inner))


def armoured(blob: bytes) -> str:
    return f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(blob).decode()}\n-----END SSH SIGNATURE-----\n"


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("hash_name", [b"sha256", b"sha512"])
def test_a_right_signature_is_taken_and_no_other_bytes_are(name, hash_name):
    key = public_key(line_of(KEYS[name]) + " somebody@somewhere")
    signature = sign(KEYS[name], hash_name=hash_name)
    verify(MESSAGE, signature, key)
    with pytest.raises(SignatureRefused, match="other bytes"):
        verify(MESSAGE + b" ", signature, key)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_what_openssh_signs_is_taken(kind, tmp_path: Path):
    file = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file], check=True)
    (tmp_path / "statement").write_bytes(MESSAGE)
    order = ["ssh-keygen", "-q", "-Y", "sign", "-n", "fwd2bot-approval", "-f", file, tmp_path / "statement"]
    subprocess.run(order, check=True, capture_output=True)
    key = public_key(file.with_suffix(".pub").read_text())
    verify(MESSAGE, (tmp_path / "statement.sig").read_text(), key)


def test_another_key_another_purpose_and_another_hash_are_refused():
    key = public_key(line_of(KEYS["ed25519"]))
    with pytest.raises(SignatureRefused, match="another key"):
        verify(MESSAGE, sign(KEYS["p256"]), key)
    with pytest.raises(SignatureRefused, match="for 'git'"):
        verify(MESSAGE, sign(KEYS["ed25519"], namespace=b"git"), key)
    with pytest.raises(SignatureRefused, match="neither sha256 nor sha512"):
        verify(MESSAGE, sign(KEYS["ed25519"], hash_name=b"sha1"), key)


def test_keys_that_are_too_weak_or_none_are_refused():
    weak = rsa.generate_private_key(65537, 1024)
    with pytest.raises(SignatureRefused, match="1024 bits is too short"):
        public_key(line_of(weak))
    for line in ("", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 !!", "no key at all"):
        with pytest.raises(SignatureRefused):
            public_key(line)
    with pytest.raises(SignatureRefused, match="another kind"):
        public_key("ssh-rsa " + line_of(KEYS["ed25519"]).split()[1])


def test_a_dsa_key_is_refused():
    with pytest.warns(match="DSA"), pytest.raises(SignatureRefused):
        public_key(line_of(dsa.generate_private_key(1024)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_byte_gets_through(data):
    key = public_key(line_of(KEYS["ed25519"]))
    lines = sign(KEYS["ed25519"]).splitlines()
    blob = bytearray(base64.b64decode(lines[1]))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureRefused):
        verify(MESSAGE, armoured(bytes(blob)), key)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300) | st.binary(max_size=300).map(armoured))
def test_what_is_no_signature_is_refused_with_a_sentence(text):
    with pytest.raises(SignatureRefused):
        verify(MESSAGE, text, public_key(line_of(KEYS["ed25519"])))


def test_a_file_that_is_far_too_long_is_not_read():
    with pytest.raises(SignatureRefused, match="characters"):
        verify(MESSAGE, "-" * 100_000, public_key(line_of(KEYS["ed25519"])))
