"""Photos within tar, zip and TIFF files: found, read by range, refused, and never destroyed singly."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.errors import (
    ImageRejected,
    IntegrityError,
    ObjectChanged,
    ObjectForbidden,
    ObjectMissing,
    RejectReason,
)
from infra.objects import LegalHolds, ObjectInfo, ObjectStore, Spans, Versions
from infra.objects.file import FileStore
from infra.objects.memory import MemoryStore
from infra.objects.s3 import S3Store
from infra.objects.s3_options import S3Options
from infra.sources.containers import Containers, VersionedContainers, open_originals
from infra.sources.index import is_photo
from infra.sources.places import Place, parted
from infra.sources.rules import ContainerRules
from infra.sources.span_file import SpanFile
from tests.houses import tiny_jpeg
from tests.infra.sources.packing import photos_named, tar_of, tiff_of, zip_of

ALL = ContainerRules(archives=True, pages="all")


@pytest.fixture(params=["memory", "versions", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return FileStore(tmp_path / "photos", create_root=True)
    return MemoryStore(versions=request.param == "versions")


@pytest.fixture
def opened(store: ObjectStore) -> Containers:
    kind = VersionedContainers if isinstance(store, LegalHolds) else Containers
    return kind(store, MemoryStore(), ALL)


def found(opened: Containers, prefix: str = "") -> dict[str, bytes]:
    """What is listed, and what lies there by the identity that the listing gave."""
    return {info.key: opened.read(info.key, identity=info.identity) for info in opened.list(prefix)}


def why(opened: Containers, key: str) -> str:
    """Why a container is refused: it is listed as the file that it is, and reading that says so."""
    (info,) = opened.list()
    assert info.key == key
    with pytest.raises(ImageRejected) as refused:
        opened.read(key, identity=info.identity)
    assert refused.value.reason is RejectReason.NOT_AN_IMAGE
    return refused.value.detail


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_photos_of_a_tar_file_are_originals(store: ObjectStore, opened: Containers, format: int) -> None:
    photos = photos_named("a.jpg", "deep/b.JPG", "n" * 90 + "/日本.png")
    labels = {"a.json": b"{}", "a.cls": b"7", "notes.txt": b"x" * 5_000}
    store.create("old/shard-0001.tar", tar_of(photos | labels, format=format))
    store.create("plain.jpg", tiny_jpeg(9))
    expected = {f"old/shard-0001.tar!/{name}": data for name, data in photos.items()}
    assert found(opened) == expected | {"plain.jpg": tiny_jpeg(9)}
    assert found(opened, "old/shard-0001.tar!/deep") == {
        "old/shard-0001.tar!/deep/b.JPG": photos["deep/b.JPG"]
    }


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_photos_of_a_zip_file_are_originals(store: ObjectStore, opened: Containers, method: int) -> None:
    photos = photos_named("b.jpg", "a/c.jpg", "日本.jpg")
    store.create("old.zip", zip_of(photos | {"a/": b"", "readme": b"no photo"}, method=method))
    assert found(opened) == {f"old.zip!/{name}": data for name, data in photos.items()}
    assert {info.size for info in opened.list()} == {len(data) for data in photos.values()}


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_each_page_of_a_tiff_is_a_photo(
    store: ObjectStore, opened: Containers, compression: str | None
) -> None:
    store.create("pages.tif", tiff_of(0, 100, 200, compression=compression))
    store.create("single.tif", tiff_of(50, compression=compression))
    pages = found(opened)
    shades = {}
    for key, data in pages.items():
        picture = decode(data, DecodeLimits())
        shades[key] = picture.image.getpixel((5, 5))[0]
        assert picture.notes == ()  # nothing is said of further pages: there are none
    assert shades == {
        "pages.tif!/page-0001": 0,
        "pages.tif!/page-0002": 100,
        "pages.tif!/page-0003": 200,
        "single.tif": 50,
    }


def test_without_rules_a_file_is_a_file(tmp_path: Path) -> None:
    store = FileStore(tmp_path, create_root=True)
    store.create("a.tar", tar_of(photos_named("a.jpg")))
    plain = open_originals(tmp_path.as_uri(), S3Options(), ContainerRules(), MemoryStore())
    assert [info.key for info in plain.list()] == ["a.tar"]
    some = open_originals(tmp_path.as_uri(), S3Options(), ContainerRules(archives=True), MemoryStore())
    assert [info.key for info in pickle.loads(pickle.dumps(some)).list()] == ["a.tar!/a.jpg"]


def test_a_container_is_read_through_once_and_then_its_index(opened: Containers, store: ObjectStore) -> None:
    store.create("a.tar", tar_of(photos_named("a.jpg", "b.jpg")))
    first = list(opened.list())
    kept = [info.key for info in opened.archive.list()]
    assert ["/".join(key.split("/")[:2]) for key in kept] == ["containers/v1"]
    assert list(opened.list()) == first
    opened.archive.replace(kept[0], b"something else")
    with pytest.raises(IntegrityError, match="Delete it"):
        list(opened.list())


def test_another_container_under_the_key_holds_other_versions(opened: Containers, store: ObjectStore) -> None:
    store.create("a.tar", tar_of(photos_named("a.jpg")))
    (old,) = opened.list()
    store.replace("a.tar", tar_of({"a.jpg": tiny_jpeg(40), "b.jpg": tiny_jpeg(41)}))
    new = {info.key: info.identity for info in opened.list()}
    assert old.identity not in new.values()
    assert len(list(opened.archive.list())) == 1  # the index of the old one, which named its photos, is gone
    if isinstance(store, MemoryStore) and store.versions:
        assert opened.read(old.key, identity=old.identity) == tiny_jpeg(0)  # that version is still there
        assert isinstance(opened, Versions)
        assert {one.identity for one in opened.versions_of(old.key)} == {old.identity, new[old.key]}
        return
    with pytest.raises(ObjectChanged):
        opened.read(old.key, identity=old.identity)


def test_it_is_a_store_like_any_other(opened: Containers, store: ObjectStore) -> None:
    store.create("a.tar", tar_of(photos_named("a.jpg")))
    store.create("b.jpg", tiny_jpeg(5))
    (member,) = opened.list("a.tar")
    assert opened.stat(member.key) == member
    assert opened.open(member.key).read() == opened.read(member.key) == tiny_jpeg(0)
    assert opened.sha256(member.key) == hashlib.sha256(tiny_jpeg(0)).hexdigest()
    assert opened.sha256("b.jpg") == store.sha256("b.jpg")
    for key in ("a.tar!/none.jpg", "none.tar!/a.jpg"):
        with pytest.raises(ObjectMissing):
            opened.stat(key)
    with pytest.raises(ObjectChanged):
        opened.read(member.key, identity=store.stat("b.jpg").identity)
    assert isinstance(store, Spans)
    assert store.read_span("b.jpg", 2, 4, identity=store.stat("b.jpg").identity) == tiny_jpeg(5)[2:6]


def test_members_are_never_destroyed_singly(opened: Containers, store: ObjectStore) -> None:
    store.create("a.tar", tar_of(photos_named("a.jpg", "b.jpg")))
    store.create("two.tif", tiff_of(1, 2))
    store.create("one.tif", tiff_of(1))
    for info in opened.list():
        if info.key != "one.tif":
            with pytest.raises(ObjectForbidden, match="never destroyed singly"):
                opened.delete_version(info)
    for key in ("a.tar", "two.tif"):
        with pytest.raises(ObjectForbidden, match="by hand"):
            opened.delete_version(store.stat(key))
    opened.delete_version(store.stat("one.tif"))
    with pytest.raises(ObjectForbidden):
        opened.create("a.tar!/c.jpg", b"")
    assert len(list(opened.list())) == 4


def test_what_is_kept_of_a_container_is_forgotten_when_asked(opened: Containers, store: ObjectStore) -> None:
    for name in ("a.tar", "b.tar"):
        store.create(name, tar_of(photos_named("a.jpg")))
    assert len(list(opened.list())) == len(list(opened.archive.list())) == 2
    opened.forget("a.tar!/a.jpg")
    opened.forget("none.jpg")
    assert len(list(opened.archive.list())) == 1


def test_a_legal_hold_of_a_member_is_its_containers() -> None:
    store = MemoryStore(versions=True)
    opened = VersionedContainers(store, MemoryStore(), ALL)
    store.create("a.tar", tar_of(photos_named("a.jpg")))
    (member,) = opened.list()
    opened.set_legal_hold(member, True)
    with pytest.raises(ObjectForbidden, match="legal hold"):
        store.delete_version(store.stat("a.tar"))
    with pytest.raises(ObjectForbidden, match="by hand"):
        opened.set_legal_hold(member, False)


def test_names_lead_nowhere(opened: Containers, store: ObjectStore, tmp_path: Path) -> None:
    photos = photos_named("../../escape.jpg", "/etc/passwd.jpg", "c:\\x.jpg", "a!/b.jpg", "./a.jpg")
    store.create("a.tar", tar_of(photos))
    store.create("a.zip", zip_of(photos))
    there = found(opened)
    assert set(there) == {f"a.{end}!/{name}" for name in photos for end in ("tar", "zip")}
    assert not (tmp_path / "escape.jpg").exists()
    assert not (tmp_path.parent / "escape.jpg").exists()


def test_links_within_a_tar_are_the_member_or_nothing(opened: Containers, store: ObjectStore) -> None:
    sink = io.BytesIO(tar_of(photos_named("a.jpg")))
    with tarfile.open(fileobj=sink, mode="a") as tar:
        for name, kind, target in (
            ("same.jpg", tarfile.LNKTYPE, "a.jpg"),
            ("out.jpg", tarfile.LNKTYPE, "/etc/passwd"),
            ("soft.jpg", tarfile.SYMTYPE, "../../b.jpg"),
            ("device.jpg", tarfile.CHRTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    store.create("a.tar", sink.getvalue())
    assert found(opened) == {"a.tar!/a.jpg": tiny_jpeg(0), "a.tar!/same.jpg": tiny_jpeg(0)}


def test_names_that_are_no_unicode_keep_their_bytes_apart(opened: Containers, store: ObjectStore) -> None:
    names = [
        b"\x8c\x9f.jpg".decode("utf-8", "surrogateescape"),
        b"\x8c\xa0.jpg".decode("utf-8", "surrogateescape"),
    ]
    store.create("sjis.tar", tar_of(photos_named(*names), format=tarfile.GNU_FORMAT))
    assert set(found(opened)) == {"sjis.tar!/\\x8c\\x9f.jpg", "sjis.tar!/\\x8c\\xa0.jpg"}


def test_two_members_of_a_name_are_refused(opened: Containers, store: ObjectStore) -> None:
    sink = io.BytesIO(tar_of(photos_named("a.jpg")))
    with tarfile.open(fileobj=sink, mode="a") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    store.create("a.tar", sink.getvalue())
    assert "two members named 'a.jpg'" in why(opened, "a.tar")


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("cut.tar", tar_of(photos_named("a.jpg", "b.jpg"))[:1700], "damaged at byte 1,536"),
        ("cut.tar", tar_of(photos_named("a.jpg", "b.jpg"))[:2100], "cannot be read"),
        ("text.tar", b"no container at all " * 100, "cannot be read"),
        ("empty.tar", b"", "cannot be read"),
        ("cut.zip", zip_of(photos_named("a.jpg"))[:-30], "cannot be read"),
        ("text.zip", b"no container at all", "cannot be read"),
    ],
)
def test_what_is_no_container_is_refused(
    opened: Containers, store: ObjectStore, name: str, body: bytes, said: str
) -> None:
    store.create(name, body)
    assert said in why(opened, name)
    assert said in why(opened, name)  # also when the index says so


def test_a_tar_that_is_damaged_in_the_middle_is_not_taken_for_a_short_one(
    opened: Containers, store: ObjectStore
) -> None:
    body = bytearray(tar_of(photos_named("a.jpg", "b.jpg", "c.jpg"), format=tarfile.USTAR_FORMAT))
    second = 512 + -(-len(tiny_jpeg(0)) // 512) * 512
    body[second + 148 : second + 156] = b"99999999"  # the checksum of the second header
    store.create("a.tar", bytes(body))
    assert f"damaged at byte {second:,}" in why(opened, "a.tar")


def test_a_header_that_asks_for_all_the_memory_is_refused(opened: Containers, store: ObjectStore) -> None:
    pax = tarfile.TarInfo("big")
    pax.type, pax.size = tarfile.XHDTYPE, 1 << 40
    store.create("a.tar", pax.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 2048)
    (info,) = opened.list()
    assert info.key == "a.tar"
    file = SpanFile(_Vast(), ObjectInfo("vast", 1 << 40, "e", None, info.modified))
    with pytest.raises(ImageRejected, match="header or directory"):
        file.read(1 << 30)


class _Vast:
    def read_span(self, key: str, start: int, length: int, *, identity: str) -> bytes:
        raise AssertionError("nothing is read")


def test_a_zip_bomb_of_members_that_overlap_is_refused(opened: Containers, store: ObjectStore) -> None:
    """Two entries of the directory that point to the same bytes."""
    body = bytearray(zip_of({"a.jpg": tiny_jpeg(0), "b.jpg": tiny_jpeg(1)}, method=zipfile.ZIP_STORED))
    second = body.rindex(b"PK\x01\x02")
    body[second + 42 : second + 46] = struct.pack("<I", 0)  # where its local header is said to be
    store.create("bomb.zip", bytes(body))
    assert "overlap" in why(opened, "bomb.zip")


def test_a_member_that_inflates_to_more_than_it_said_is_rejected(
    opened: Containers, store: ObjectStore
) -> None:
    body = bytearray(zip_of({"a.jpg": b"\0" * 1_000_000}))
    entry = body.rindex(b"PK\x01\x02")
    body[entry + 24 : entry + 28] = struct.pack("<I", 100)
    store.create("bomb.zip", bytes(body))
    (info,) = opened.list()
    assert info.size == 100
    with pytest.raises(ImageRejected, match="another size"):
        opened.read(info.key, identity=info.identity)


def test_a_damaged_or_encrypted_member_is_rejected_alone(opened: Containers, store: ObjectStore) -> None:
    photos = photos_named("a.jpg", "b.jpg", "c.jpg")
    body = bytearray(zip_of(photos, method=zipfile.ZIP_STORED))
    body[body.index(photos["a.jpg"]) + 50] ^= 1
    entry = body.rindex(b"PK\x01\x02")
    body[entry + 8] |= 1  # of c.jpg: encrypted
    store.create("a.zip", bytes(body))
    reasons = {}
    for info in opened.list():
        try:
            opened.read(info.key, identity=info.identity)
        except ImageRejected as error:
            reasons[info.key] = error.reason
    assert reasons == {"a.zip!/a.jpg": RejectReason.TRUNCATED, "a.zip!/c.jpg": RejectReason.NO_DECODER}


@pytest.mark.parametrize("bits", [16, 64])
def test_pages_that_never_end_are_refused(bits: int) -> None:
    """The first page points to itself; in a BigTIFF, too. It is then a file, whose first page may still be a photo."""
    store = MemoryStore()
    opened = Containers(store, MemoryStore(), ALL)
    head = b"II" + (struct.pack("<HI", 42, 8) if bits == 16 else struct.pack("<HHHQ", 43, 8, 0, 16))
    page = struct.pack("<HI", 0, 8) if bits == 16 else struct.pack("<QQ", 0, 16)
    store.create("loop.tif", head + page)
    (info,) = opened.list()
    assert info.key == "loop.tif"


def test_previews_are_no_pages(opened: Containers, store: ObjectStore) -> None:
    sink = io.BytesIO()
    whole, small = Image.new("L", (24, 16), 7), Image.new("L", (6, 4), 7)
    small.encoderinfo = {"tiffinfo": {254: 1}}
    whole.save(sink, "TIFF", save_all=True, append_images=[small])
    store.create("a.tif", sink.getvalue())
    assert [info.key for info in opened.list()] == ["a.tif"]


def test_identities_say_where_a_member_lies() -> None:
    place = Place("d", 512, 80, 100, 0xABC)
    assert parted(f"v:abc!{place}") == ("v:abc", place)
    assert parted(f"e:etag:900!{place}:100") == ("e:etag:900", place)
    for plain in ("v:abc", "e:etag:900", "e:od!d:900", "v:a!b"):
        assert parted(plain) is None


@pytest.mark.parametrize(
    ("name", "photo"),
    [("a.jpg", True), ("a/b.TIFF", True), ("a.heic", True), ("a.json", False), ("jpg", False)],
)
def test_photos_are_known_by_their_ending(name: str, photo: bool) -> None:
    assert is_photo(name) is photo


def test_spans_of_an_s3_server_are_of_that_version(request: pytest.FixtureRequest) -> None:
    from pydantic import SecretStr

    server = request.getfixturevalue("s3_server")
    options = S3Options(
        endpoint=server.endpoint,
        region=server.region,
        addressing="path",
        access_key_id=SecretStr(server.access_key),
        secret_access_key=SecretStr(server.secret_key),
        versioned=True,
    )
    store = S3Store(f"s3://{server.make_bucket('containers', versioned=True)}", options)
    opened = VersionedContainers(store, MemoryStore(), ALL)
    photos = photos_named("a.jpg", "b.jpg")
    for name, pack in (("a.tar", tar_of), ("a.zip", zip_of)):
        store.create(name, pack(photos))
    old = list(opened.list())
    for name in ("a.tar", "a.zip"):
        store.replace(name, b"another file")
    assert {info.key: opened.read(info.key, identity=info.identity) for info in old} == {
        f"{name}!/{photo}": data for name in ("a.tar", "a.zip") for photo, data in photos.items()
    }
    store._clients.fetch = lambda *_: None  # type: ignore[method-assign]  # boto3 reads the same
    assert opened.read(old[1].key, identity=old[1].identity) == photos["b.jpg"]
