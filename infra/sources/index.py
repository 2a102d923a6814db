"""What a container holds, read once and then kept in the archive: one small object a container.

An index is made from the container alone, so that to make it twice is to make it once. What is refused is kept too: a
damaged file is not read again each night. An index names photos, so it goes when the container is another one. Knows
the kinds of containers. Knows nothing of ledgers.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from fwd2bot_core.errors import (
    ImageRejected,
    IntegrityError,
    ObjectExists,
    ObjectMissing,
    RejectReason,
    StoreError,
)
from infra.objects import ObjectInfo, ObjectStore, Spans
from infra.sources import tar_members, tiff_pages, zip_members
from infra.sources.places import Member, Place
from infra.sources.span_file import SpanFile

MOST_MEMBERS = 1_000_000
FOLDER = "containers/v1"
_PHOTOS = re.compile(
    r"[^/]*\.(jpe?g|jpe|jfif|png|gif|bmp|tiff?|webp|jp2|j2k|avif|p[pgbn]m|hei[cf]|jxl|jxr|jls|dng|cr[23]|nef|arw|raf|"
    r"orf|rw2|dcm|exr|psd|fits)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Index:
    """The photos in one version of a container; or why it is not opened, as a reject says it."""

    members: tuple[Member, ...]
    refused: str | None = None


def index(originals: ObjectStore, archive: ObjectStore, info: ObjectInfo) -> Index:
    """Of the version that its key holds now. Raises ``StoreError``; ``IntegrityError`` for a kept index that cannot be
    read."""
    path = _path(originals.uri, info)
    try:
        return _parsed(path, archive.read(path))
    except ObjectMissing:
        pass
    found = look_into(originals, info)
    with contextlib.suppress(ObjectExists):  # somebody made the same
        archive.create(path, _body(found))
    forget(originals, archive, info.key, but=path)
    return found


def look_into(originals: ObjectStore, info: ObjectInfo) -> Index:
    """Of any version, made anew and not kept. Raises ``StoreError``."""
    assert isinstance(originals, Spans)
    return _made(SpanFile(originals, info), info)


def forget(originals: ObjectStore, archive: ObjectStore, key: str, *, but: str = "") -> None:
    """Delete what is kept of a container, which may be made again; one that cannot be deleted stays."""
    for kept in list(archive.list(_folder(originals.uri, key))):
        if kept.key != but:
            with contextlib.suppress(StoreError):
                archive.delete_version(kept)


def is_photo(name: str) -> bool:
    """By its ending: labels and texts lie beside photos in a shard of samples, and are not originals."""
    return _PHOTOS.fullmatch(name.rpartition("/")[2]) is not None


def _made(file: Any, info: ObjectInfo) -> Index:
    try:
        return Index(tuple(_distinct(_kind(info.key)(file, info))))
    except ImageRejected as error:
        return Index((), error.detail)


def _kind(key: str) -> Callable[[Any, ObjectInfo], Iterator[Member]]:
    end = key.rpartition(".")[2].lower()
    if end == "tar":
        return lambda file, _: tar_members.members(file)
    if end == "zip":
        return lambda file, _: zip_members.members(file)
    return lambda file, info: tiff_pages.members(file, info.size)


def _distinct(members: Iterator[Member]) -> Iterator[Member]:
    """Of names that say which member is meant. Raises ``ImageRejected``."""
    seen = set[str]()
    for number, member in enumerate(members):
        if number >= MOST_MEMBERS:
            raise ImageRejected(RejectReason.NOT_AN_IMAGE, f"more than {MOST_MEMBERS:,} members; split it")
        if not (is_photo(member.name) or member.place.kind == "p"):
            continue
        if "\0" in member.name:
            raise ImageRejected(RejectReason.NOT_AN_IMAGE, "a member whose name holds a NUL character")
        if member.name in seen:
            raise ImageRejected(
                RejectReason.NOT_AN_IMAGE, f"two members named {member.name!r}: give each a name of its own"
            )
        seen.add(member.name)
        yield member


def _path(uri: str, info: ObjectInfo) -> str:
    version = hashlib.sha256(json.dumps([info.identity, info.size]).encode()).hexdigest()[:32]
    return f"{_folder(uri, info.key)}{version}.json.gz"


def _folder(uri: str, key: str) -> str:
    digest = hashlib.sha256(json.dumps([uri, key]).encode()).hexdigest()
    return f"{FOLDER}/{digest[:2]}/{digest}/"


def _body(found: Index) -> bytes:
    said = {"refused": found.refused, "members": [[one.name, str(one.place)] for one in found.members]}
    return gzip.compress(json.dumps(said, separators=(",", ":")).encode(), mtime=0)


def _parsed(path: str, body: bytes) -> Index:
    try:
        said = json.loads(gzip.decompress(body))
        members = [Member(name, _placed(text)) for name, text in islice(said["members"], MOST_MEMBERS)]
        return Index(tuple(members), said["refused"])
    except (ValueError, OSError, EOFError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{path} in the archive is no index of a container ({error}). Delete it: the next night makes it again."
        ) from error


def _placed(text: str) -> Place:
    place = Place.parse(text)
    if place is None:
        raise ValueError(f"{text!r} is no place")
    return place
