"""The form of a bundle of evidence: a ZIP file that is the same for the same parts, with each byte accounted for.

Each part is listed in ``manifest.json`` with its hash, and the file ends with the hash of all that stands before it, so
that no changed byte goes unseen by whoever has the file alone. Knows nothing about what the parts say.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, Self

from fwd2bot_core.audit.verifier.verify import DIGEST, FORMAT, MAX_BYTES, MAX_PARTS, VERSION
from fwd2bot_core.errors import UsageError

_DAY_ONE = (
    1980,
    1,
    1,
    0,
    0,
    0,
)  # the earliest that a ZIP can say; a real time would make each bundle another one
_LEVEL = 6
_READABLE = 0o100644 << 16
_BLOCK = 1 << 20


class BundleWriter:
    """Writes parts one after the other into a file that is open for reading and writing, and is empty.

    A context: what was not closed at its end is no bundle.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=False, compresslevel=_LEVEL)
        self._parts: dict[str, dict[str, Any]] = {}
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()  # else it would try so much later, when the file is gone

    def add(self, name: str, chunks: Iterable[bytes]) -> None:
        """One part, streamed. Raises ``UsageError`` when the bundle would grow beyond what a verifier opens."""
        digest, size = hashlib.sha256(), 0
        with self._zip.open(_entry(name), "w") as part:
            for chunk in chunks:
                part.write(chunk)
                digest.update(chunk)
                size += len(chunk)
                self._bytes += len(chunk)
                self._check_limits()
        self._parts[name] = {"bytes": size, "sha256": digest.hexdigest()}

    def close(self, about: Mapping[str, Any]) -> str:
        """Add the manifest, which says ``about`` and lists the parts, and end the file; its SHA-256, 64 hex digits."""
        said = {**about, "format": FORMAT, "v": VERSION, "parts": dict(self._parts)}
        manifest = json.dumps(said, sort_keys=True, indent=1).encode() + b"\n"
        self.add("manifest.json", [manifest])
        self.add("manifest.sha256", [f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n".encode()])
        self._zip.comment = DIGEST + b"0" * 64
        self._zip.close()
        return self._seal()

    def _seal(self) -> str:
        """Put the file's hash where its last 64 bytes are."""
        left = self._file.seek(0, 2) - 64
        self._file.seek(0)
        digest = hashlib.sha256()
        while left:
            block = self._file.read(min(left, _BLOCK))
            digest.update(block)
            left -= len(block)
        seal = digest.hexdigest().encode()
        self._file.seek(-64, 2)
        self._file.write(seal)
        self._file.flush()
        digest.update(seal)
        return digest.hexdigest()

    def _check_limits(self) -> None:
        """Half of what a verifier opens, so that the ZIP itself stays below what its 32 bit numbers hold, too."""
        if len(self._parts) >= MAX_PARTS - 2 or self._bytes > MAX_BYTES // 2:
            raise UsageError(
                f"the evidence would have more than {MAX_BYTES // 2} bytes or {MAX_PARTS} parts, which nobody could "
                "check. Export less at a time: choose a shorter time with --since and --until."
            )


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DAY_ONE)
    entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _READABLE, 3
    return entry
