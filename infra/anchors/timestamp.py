"""An RFC 3161 authority swears when a checkpoint was there.

What is stamped is the checkpoint's text, without signatures: it names log, size and root, and stays the same when
witnesses sign later. The token is the receipt's evidence, in base64 of the authority's whole answer, and is checked
against the authority's root certificate before it counts. Needs the extra ``timestamp``. Knows nothing about logs.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.errors import IntegrityError, ObjectMissing, SettingsError, StoreError
from infra.anchors.posting import post, said
from infra.anchors.protocol import Held, Receipt, Tree
from infra.settings import AnchorSettings

if TYPE_CHECKING:
    from rfc3161_client import VerifierBuilder


class TimestampAnchor:
    """One authority. It is asked over HTTP and keeps nothing for us."""

    kind = "timestamp"
    keeps = False

    def __init__(self, name: str, given: AnchorSettings) -> None:
        self.name, self.place, self._certificate = name, given.place, given.certificate

    def at(self, size: int) -> str:
        return self.place

    def publish(self, note: str, checkpoint: Checkpoint, tree: Tree) -> Receipt:
        answer, _ = self._stamp(checkpoint.text().encode())
        return Receipt(self.place, base64.b64encode(answer).decode())

    def check(self, evidence: str, checkpoint: Checkpoint) -> datetime:
        """When the authority swears that it saw the checkpoint. Raises ``IntegrityError`` for another's token."""
        _require_library()
        from rfc3161_client import VerificationError, VerifierBuilder

        try:
            answer = base64.b64decode(evidence, validate=True)
            return self._verified(answer, checkpoint.text().encode(), VerifierBuilder())
        except (ValueError, VerificationError) as error:
            raise IntegrityError(
                f"the time stamp of {checkpoint.size} events is not over their checkpoint, or not by who stands in "
                f"{self._certificate}: {error}"
            ) from None

    def held(self) -> Iterator[Held]:
        return iter(())

    def newest(self, last: str | None = None) -> list[Held]:
        return []

    def read(self, path: str) -> bytes:
        raise ObjectMissing(f"a time stamp authority keeps nothing, so it has no {path}")

    def examine(self) -> str:
        _, at = self._stamp(b"fwd2bot doctor\n")
        return f"{self.place} stamps, and its certificate is right; its clock says {at:%Y-%m-%d %H:%M:%S} UTC"

    def _stamp(self, data: bytes) -> tuple[bytes, datetime]:
        """The authority's answer over ``data``, checked, and its time."""
        _require_library()
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder, VerificationError, VerifierBuilder

        request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
        who = f"the time stamp authority {self.name}"
        status, answer = post(self.place, request.as_bytes(), "application/timestamp-query", who=who)
        if status != 200:
            raise StoreError(f"{who} at {self.place} answered HTTP {status}: {said(answer)}")
        try:
            return answer, self._verified(answer, data, VerifierBuilder.from_request(request))
        except (ValueError, VerificationError) as error:
            raise StoreError(
                f"{who} at {self.place} gave no stamp that {self._certificate} vouches for: {error}"
            ) from None

    def _verified(self, answer: bytes, data: bytes, builder: VerifierBuilder) -> datetime:
        """The time in the token; raises what the library raises for any other one."""
        from rfc3161_client import decode_timestamp_response

        for certificate in self._roots():
            builder = builder.add_root_certificate(certificate)
        response = decode_timestamp_response(answer)
        builder.build().verify_message(response, data)
        return response.tst_info.gen_time.astimezone(UTC)

    def _roots(self) -> list[x509.Certificate]:
        assert self._certificate is not None  # the settings made sure
        try:
            return x509.load_pem_x509_certificates(Path(self._certificate).read_bytes())
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"audit.anchors.{self.name}.certificate: {self._certificate} holds no PEM certificate ({error}); "
                "get the root certificate that the authority publishes"
            ) from None


def _require_library() -> None:
    try:
        import rfc3161_client  # noqa: F401
    except ImportError:
        raise SettingsError(
            "time stamps need rfc3161-client, which is not installed: pip install 'fwd2bot[timestamp]'"
        ) from None
