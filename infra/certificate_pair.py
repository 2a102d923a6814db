"""A role's certificate and key as they lie in a folder, and whether they can be used: readable, signed, valid today.

Knows nothing about who made them (``infra.certificates``) or about Dask.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from fwd2bot_core.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Pair:
    """One role's certificate and key, and the authority that both ends trust."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, role: str) -> Pair:
        return cls(folder / "ca.pem", folder / f"{role}.pem", folder / f"{role}.key")


def check(pair: Pair) -> datetime:
    """Until when the pair holds. Raises ``ClusterError`` for a file that is missing, unreadable, expired, or that does
    not belong to the others, and for a key that is not for its owner (and, in containers, its group) alone."""
    for file in (pair.authority, pair.certificate, pair.key):
        try:
            file.read_bytes()
        except OSError as error:
            raise ClusterError(
                f"cannot read {file}: {error.strerror}. Copy it from where `fwd2bot cluster certs` made it, readable "
                "for the user who runs this."
            ) from None
    if pair.key.stat().st_mode & 0o007:
        raise ClusterError(
            f"every user of this machine can read or change {pair.key}, and so run code on the whole cluster: "
            f"chmod 600 {pair.key}. If others use this machine, make new certificates in a new folder."
        )
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(pair.authority))
        context.load_cert_chain(pair.certificate, pair.key)
        authority = x509.load_pem_x509_certificate(pair.authority.read_bytes())
        own = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    except (ssl.SSLError, ValueError) as error:
        raise ClusterError(
            f"{pair.certificate} and {pair.key} are no certificate with its key ({error}). `fwd2bot cluster certs "
            f"{pair.certificate.parent} --renew` makes new ones."
        ) from None
    _check_signed(pair, own, authority)
    until = min(own.not_valid_after_utc, authority.not_valid_after_utc)
    if until <= datetime.now(UTC):
        raise ClusterError(
            f"{pair.certificate} expired on {until:%Y-%m-%d}. Run `fwd2bot cluster certs {pair.certificate.parent} "
            "--renew` where ca.key is, and hand the new files out."
        )
    return until


def _check_signed(pair: Pair, own: x509.Certificate, authority: x509.Certificate) -> None:
    try:
        own.verify_directly_issued_by(authority)
    except Exception as error:
        raise ClusterError(
            f"{pair.certificate} was not signed by {pair.authority}: they are of two clusters, or of two renewals. "
            "Copy both from one folder."
        ) from error
