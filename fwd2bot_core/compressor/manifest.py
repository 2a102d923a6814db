"""A bundle's list of files with the sha256 of each, and reading them only as listed.

    manifest.json   {"files": {name: {"bytes", "sha256"}}, "fingerprint", "format", "seal"}

Its text is canonical and sealed by a hash of its own, so that no byte of it can change unnoticed either; the
seal proves wholeness, not origin. Knows names and hashes. Knows nothing of what the files mean; no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fwd2bot_core.errors import BundleInvalid, CompressorError

NAME = "manifest.json"
FORMAT = 1
MAX_BYTES = 1 << 20  # of the manifest itself
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
REPAIR = "fetch the bundle again (or reinstall fwd2bot, if it is the one that ships)"


@dataclass(frozen=True, slots=True)
class Entry:
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    files: Mapping[str, Entry]
    fingerprint: str


def write(folder: Path, names: Iterable[str], fingerprint: str) -> None:
    """Seal the named files of ``folder`` as they are now."""
    files = {}
    for name in names:
        content = (folder / name).read_bytes()
        files[name] = {"bytes": len(content), "sha256": sha256(content)}
    body = {"files": files, "fingerprint": fingerprint, "format": FORMAT}
    sealed = {**body, "seal": sha256(canonical(body))}
    (folder / NAME).write_bytes(canonical(sealed))


def read(folder: Path) -> Manifest:
    """Raises ``CompressorError`` where there is no bundle, ``BundleInvalid`` where its manifest is wrong."""
    path = folder / NAME
    if not path.is_file():
        raise CompressorError(
            f"{folder} is no bundle (it holds no {NAME}): name a bundle's folder, or 'nano'"
        )
    if path.stat().st_size > MAX_BYTES:
        raise _wrong(path, f"is larger than {MAX_BYTES:,} bytes")
    text = path.read_bytes()
    try:
        found = json.loads(text)
        body = {key: found[key] for key in ("files", "fingerprint", "format")}
        whole = text == canonical({**body, "seal": sha256(canonical(body))})
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _wrong(path, "cannot be read") from error
    if not whole:
        raise _wrong(path, "has been changed since it was sealed")
    if body["format"] != FORMAT:
        raise BundleInvalid(
            f"{path} is of format {body['format']!r}, this Fwd2Bot reads {FORMAT}: update one"
        )
    return Manifest(_entries(path, body["files"]), str(body["fingerprint"]))


def content(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of one listed file, once they are known to be the listed ones."""
    path = folder / name
    entry = manifest.files.get(name)
    if entry is None:
        raise BundleInvalid(f"{folder} is incomplete, its manifest lists no {name}: {REPAIR}")
    if path.is_symlink() or not path.is_file():
        raise _wrong(path, "is missing or no plain file")
    if path.stat().st_size != entry.bytes:
        raise _wrong(path, f"has {path.stat().st_size:,} bytes and not {entry.bytes:,}")
    found = path.read_bytes()
    if sha256(found) != entry.sha256:
        raise _wrong(path, "is not the file that the manifest lists (its sha256 differs)")
    return found


def canonical(value: Any) -> bytes:
    """The one text of a JSON value."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def sha256(content_: bytes) -> str:
    return hashlib.sha256(content_).hexdigest()


def _entries(path: Path, files: Any) -> dict[str, Entry]:
    """The listed files, none of which may lie elsewhere or be named so that it could."""
    if not isinstance(files, dict):
        raise _wrong(path, "lists no files")
    entries = {}
    for name, entry in files.items():
        if not _FILE.fullmatch(name) or name == NAME:
            raise _wrong(path, f"lists {name!r}, which is no plain file name")
        match entry:
            case {"bytes": int(size), "sha256": str(digest)} if size >= 0 and _SHA256.fullmatch(digest):
                entries[name] = Entry(size, digest)
            case _:
                raise _wrong(path, f"says of {name!r} what is no size and sha256")
    return entries


def _wrong(path: Path, what: str) -> BundleInvalid:
    return BundleInvalid(f"{path} {what}: {REPAIR}")
