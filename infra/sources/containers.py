"""A store of originals in which tar and zip files, and TIFF files of several pages, are folders of photos.

A member is an original with a key (``shard-0001.tar!/a/b.jpg``) and an identity of its own; it is read by range.
What it lies in is never changed: members are not destroyed singly, and nothing is unpacked. A container that is
refused is listed as the file that it is, so that it gets a row with the reason. Knows any store. Knows nothing of
ledgers or nights.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from fwd2bot_core.errors import (
    ImageRejected,
    ObjectChanged,
    ObjectForbidden,
    ObjectMissing,
    RejectReason,
)
from infra.objects import LegalHolds, ObjectInfo, ObjectStore, S3Options, Spans, Versions, open_store
from infra.sources import tiff_pages, zip_members
from infra.sources.index import Index, forget, index, look_into
from infra.sources.places import INSIDE, Place, inside, parted
from infra.sources.rules import ContainerRules


def open_originals(uri: str, s3: S3Options, rules: ContainerRules, archive: ObjectStore) -> ObjectStore:
    """The store at ``uri``, with its containers opened if ``rules`` name any; ``archive`` keeps what they hold."""
    store = open_store(uri, s3=s3)
    if not rules:
        return store
    kind = VersionedContainers if isinstance(store, LegalHolds) else Containers
    return kind(store, archive, rules)


@dataclass(frozen=True, slots=True)
class Containers:
    """As ``ObjectStore``; what is said there of objects is said here of members, too."""

    store: ObjectStore
    archive: ObjectStore
    rules: ContainerRules

    @property
    def uri(self) -> str:
        return self.store.uri

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        for info in self.store.list(prefix.partition(INSIDE)[0]):
            yield from (one for one in self.opened(info) if one.key.startswith(prefix))

    def stat(self, key: str) -> ObjectInfo:
        container = self._container(key)
        if container is None:
            return self.store.stat(key)
        for one in self.opened(self.store.stat(container)):
            if one.key == key:
                return one
        raise ObjectMissing(f"{container!r} in {self.uri} holds no photo {key!r}.")

    def read(self, key: str, *, identity: str | None = None) -> bytes:
        """Also raises ``ImageRejected``, for what lies within a container and is no photo, or for a refused one."""
        parts = None if identity is None else parted(identity)
        container = self._container(key)
        if container is None:
            return self._whole(key, identity)
        if parts is None:
            if identity is not None:
                raise ObjectChanged(f"{key!r} in {self.uri} lies in a container now: list again.")
            parts = parted(self.stat(key).identity)
            assert parts is not None
        return self._member(container, *parts)

    def read_span(self, key: str, start: int, length: int, *, identity: str) -> bytes:
        if parted(identity) is None:
            return _spans(self.store).read_span(key, start, length, identity=identity)
        return self.read(key, identity=identity)[start : start + length]

    def open(self, key: str) -> BinaryIO:
        return self.store.open(key) if self._container(key) is None else io.BytesIO(self.read(key))

    def create(self, key: str, data: bytes) -> ObjectInfo:
        self._refuse(key, "written")
        return self.store.create(key, data)

    def replace(self, key: str, data: bytes) -> ObjectInfo:
        self._refuse(key, "written")
        return self.store.replace(key, data)

    def sha256(self, key: str) -> str:
        if self._container(key) is None:
            return self.store.sha256(key)
        return hashlib.sha256(self.read(key)).hexdigest()

    def delete_version(self, info: ObjectInfo) -> None:
        """Raises ``ObjectForbidden`` for a member, and for a container that members are read from."""
        self._refuse(info.key, "destroyed")
        if self.rules.opens(info.key) and not self._is_one_page(info):
            raise ObjectForbidden(f"{info.key!r} in {self.uri} may hold several photos; delete it by hand.")
        self.store.delete_version(info)

    def forget(self, key: str) -> None:
        """Delete what the archive keeps of the container that a member lies in, since that names the member."""
        if (container := self._container(key)) is not None:
            forget(self.store, self.archive, container)

    def opened(self, info: ObjectInfo) -> Iterator[ObjectInfo]:
        """Its members; itself if it is a member or no container, is refused, or is a TIFF file of one page."""
        if not self.rules.opens(info.key) or self._container(info.key) is not None:
            yield info
            return
        try:
            found = self._index(info)
        except (ObjectMissing, ObjectChanged):  # since it was listed; the next listing shows what is there
            return
        if found.refused is not None or (not found.members and _is_picture(info.key)):
            yield info
        yield from (inside(info, member) for member in found.members)

    def _is_one_page(self, info: ObjectInfo) -> bool:
        return _is_picture(info.key) and not self._index(info).members

    def _index(self, info: ObjectInfo) -> Index:
        return index(self.store, self.archive, info)

    def _container(self, key: str) -> str | None:
        """The key of what a member lies in: as far as the first mark that follows a container's name."""
        at = key.find(INSIDE)
        while at >= 0:
            if self.rules.opens(key[:at]):
                return key[:at]
            at = key.find(INSIDE, at + 1)
        return None

    def _whole(self, key: str, identity: str | None) -> bytes:
        if self.rules.opens(key) and not _is_picture(key):
            why = self._index(self.store.stat(key)).refused
            raise ImageRejected(RejectReason.NOT_AN_IMAGE, why or "a container, not a photo")
        return self.store.read(key, identity=identity)

    def _member(self, container: str, identity: str, place: Place) -> bytes:
        if place.kind == "x":
            raise ImageRejected(
                RejectReason.NO_DECODER, "encrypted, or packed in a way that is not read here: pack it anew"
            )
        if place.kind == "p":
            return tiff_pages.page(self.store.read(container, identity=identity), place)
        if place.crc is not None:
            return self._from_zip(container, identity, place)
        data = self._span(container, identity, place.start, place.length)
        if len(data) != place.size:
            raise ImageRejected(RejectReason.TRUNCATED, f"{container!r} ends within it")
        return data

    def _from_zip(self, container: str, identity: str, place: Place) -> bytes:
        guessed = zip_members.HEADER + zip_members.ROOM + place.length
        span = self._span(container, identity, place.start, guessed)
        needed = zip_members.room(span, place)
        if needed > guessed:
            span = self._span(container, identity, place.start, needed)
        return zip_members.content(span, place)

    def _span(self, key: str, identity: str, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        return _spans(self.store).read_span(key, start, length, identity=identity)

    def _refuse(self, key: str, what: str) -> None:
        if (container := self._container(key)) is not None:
            raise ObjectForbidden(
                f"{key!r} lies within {container!r} in {self.uri}, and photos in containers are never {what} singly: "
                "write the container anew without it, by hand."
            )


class VersionedContainers(Containers):
    """Over a store that knows versions and legal holds."""

    __slots__ = ()

    def set_legal_hold(self, info: ObjectInfo, on: bool) -> None:
        """Of a member: on its container. Raises ``ObjectForbidden`` to lower that, since others in it may be held."""
        container = self._container(info.key)
        store = self.store
        assert isinstance(store, LegalHolds)
        if container is None:
            store.set_legal_hold(info, on)
            return
        if not on:
            raise ObjectForbidden(
                f"{container!r} in {self.uri} holds other photos, too: lower its legal hold by hand once none is held."
            )
        version = None if info.version is None else info.version.rpartition("!")[0]
        store.set_legal_hold(replace(info, key=container, version=version), on)

    def versions_of(self, key: str) -> Sequence[ObjectInfo]:
        """As ``Versions``; of a member: those of its container that hold one of that name."""
        store, container = self.store, self._container(key)
        assert isinstance(store, Versions)
        if container is None:
            return store.versions_of(key)
        found = list[ObjectInfo]()
        for info in store.versions_of(container):
            members = () if info.marker else look_into(store, info).members
            found += [one for member in members if (one := inside(info, member)).key == key]
        return found


def _spans(store: ObjectStore) -> Spans:
    assert isinstance(store, Spans)
    return store


def _is_picture(key: str) -> bool:
    """Whether a file that is not opened may be a photo itself."""
    return key.lower().endswith((".tif", ".tiff"))
