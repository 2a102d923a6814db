"""Certificates of one Dask cluster: an authority of its own, and one key each for scheduler, workers and client.

Whoever holds a key of this authority can run any code on the cluster: mutual TLS is the only lock that Dask has. Dask
itself compares no host names; a role therefore shows in what its certificate may be used for (a client's never for a
server), and our client does compare the scheduler's name with the address that it was given. Knows nothing about Dask.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fwd2bot_core.errors import UsageError

ROLES = ("scheduler", "worker", "client")
AUTHORITY_DAYS = 3650
_BOTH_WAYS = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
_USES = {"scheduler": _BOTH_WAYS, "worker": _BOTH_WAYS, "client": [ExtendedKeyUsageOID.CLIENT_AUTH]}
_EARLIER = timedelta(minutes=10)  # clocks of other machines


@dataclass(frozen=True, slots=True)
class Made:
    """What was written, and until when it holds."""

    folder: Path
    hosts: tuple[str, ...]
    until: datetime
    authority_until: datetime
    new_authority: bool


def make(folder: Path, hosts: Sequence[str] = (), *, days: int = 365, renew: bool = False) -> Made:
    """Write ``ca``, ``scheduler``, ``worker`` and ``client`` as .pem and .key. ``hosts`` are the names and addresses
    of the scheduler; a renewal keeps those of before if none is given, and the authority while it is valid, so that
    machines may be served one after the other.

    Raises ``UsageError`` where anything is overwritten without ``renew``.
    """
    _prepare(folder, renew)
    now = datetime.now(UTC).replace(microsecond=0)
    authority = _authority_there(folder, now) if renew else None
    new = authority is None
    if authority is None:
        authority = _new_authority(now)
    certificate, key = authority
    names = _names(
        hosts or (_hosts_of(folder / "scheduler.pem") if renew else ()) or ["localhost", "127.0.0.1"]
    )
    until = min(now + timedelta(days=days), certificate.not_valid_after_utc)
    if new:  # first: a folder without one is not taken for ours
        _write(folder / "ca.key", _pem(key), 0o600)
        _write(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    for role in ROLES:
        own = ec.generate_private_key(ec.SECP256R1())
        signed = _signed(
            role, own, names if role == "scheduler" else [_role_name(role)], certificate, key, now, until
        )
        _write(folder / f"{role}.key", _pem(own), 0o600)
        _write(folder / f"{role}.pem", signed.public_bytes(serialization.Encoding.PEM), 0o644)
    return Made(folder, tuple(str(name.value) for name in names), until, certificate.not_valid_after_utc, new)


def _prepare(folder: Path, renew: bool) -> None:
    """The folder, for its owner alone; what lies there must be ours and may be overwritten only on request."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise UsageError(f"cannot keep certificates in {folder}: {error.strerror}") from None
    if there and not (folder / "ca.pem").is_file():
        raise UsageError(
            f"{folder} holds other files; name a new folder, which is then kept for its owner alone"
        )
    if there and not renew:
        raise UsageError(
            f"{folder} holds certificates already; add --renew to replace them, which ends the access of the old ones "
            "only when they expire"
        )
    folder.chmod(0o700)


def _authority_there(
    folder: Path, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """The authority of before, if it is still valid."""
    if not (folder / "ca.pem").exists():
        return None
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} has no usable ca.key ({error}), without which nothing can be renewed there; run this where it "
            "is kept, or make a new cluster in another folder"
        ) from None
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return (certificate, key) if certificate.not_valid_after_utc > now + timedelta(days=1) else None


def _hosts_of(file: Path) -> list[str]:
    try:
        own = x509.load_pem_x509_certificate(file.read_bytes())
        names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    return [str(name.value) for name in names]


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_name(host) for host in dict.fromkeys(hosts)]


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    labels = host.rstrip(".").split(".")
    if not all(label and label.isascii() and label.replace("-", "").isalnum() for label in labels):
        raise UsageError(
            f"{host!r} is no host name and no address; write such as scheduler.example or 10.0.0.5"
        )
    return x509.DNSName(host.rstrip("."))


def _role_name(role: str) -> x509.GeneralName:
    """A name that no host has: a worker must not pass for the scheduler before a client that compares names."""
    return x509.DNSName(f"{role}.fwd2bot.invalid")


def _new_authority(now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject("cluster authority")
    certificate = (
        _builder(name, name, key, now, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _signed(
    role: str,
    own: ec.EllipticCurvePrivateKey,
    names: list[x509.GeneralName],
    authority: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    until: datetime,
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return (
        _builder(_subject(role), authority.subject, own, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_USES[role]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, own: ec.EllipticCurvePrivateKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    )


def _subject(what: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Fwd2Bot"),
            x509.NameAttribute(NameOID.COMMON_NAME, what),
        ]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, and never readable for others in between."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as sink:
        sink.write(data)
    new.replace(file)
