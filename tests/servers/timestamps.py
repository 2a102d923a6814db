"""A real RFC 3161 time stamp authority for tests: ``openssl ts`` behind a small HTTP server on loopback.

Its answers hold its own certificate only: OpenSSL writes several in the order in which it got them, which is no DER,
and rfc3161-client reads DER. Makes a root and an authority's certificate of its own. Knows nothing of the code under
test.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CONFIG = """\
[ tsa ]
default_tsa = given
[ given ]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha512
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """Where it answers, and the root certificate that vouches for it. ``mood``: how it misbehaves, if it does."""

    url: str
    root: Path
    mood: str = ""


def missing() -> str | None:
    """Why it cannot run here."""
    return None if shutil.which("openssl") else "openssl is not installed"


@contextmanager
def authority(folder: Path) -> Iterator[Authority]:
    """Run one for the length of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    _certificates(folder)
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
    made = Authority("", folder / "root.pem")

    class Stamping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = _answer(folder, made.mood, asked)
            self.send_response(status)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *given: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Stamping) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}/stamp"
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def _answer(folder: Path, mood: str, asked: bytes) -> tuple[int, bytes]:
    if mood == "away":
        return 503, b"come back later"
    if mood == "nonsense":
        return 200, b"no token at all"
    if mood == "replay" and (folder / "last").exists():
        return 200, (folder / "last").read_bytes()
    (folder / "query").write_bytes(asked)
    command = ["openssl", "ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", folder / "query"]
    subprocess.run([*command, "-out", folder / "last"], check=True, capture_output=True, timeout=30)
    return 200, (folder / "last").read_bytes()


def _certificates(folder: Path) -> None:
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = _certificate("Test root", root_key.public_key(), "Test root", root_key, authority=True)
    own = _certificate("Test time stamps", key.public_key(), "Test root", root_key, authority=False)
    (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.pem").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    signing: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
    )
    if not authority:
        stamps = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(stamps, critical=True)
    return builder.sign(signing, hashes.SHA256())
