"""The container: every byte is accounted for, and nothing is unpacked before it is known to be harmless."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fwd2bot_core.audit.bundle import BundleWriter
from fwd2bot_core.audit.verifier import verify
from tests.core.audit.bundles import judged, packed, tiny, told

BUNDLE = packed(tiny().evidence())


def sealed(
    build: Callable[[zipfile.ZipFile], None], change: Callable[[bytearray], None] | None = None
) -> bytes:
    """A ZIP of somebody who knows the form, with the right hash at its end."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        build(archive)
        archive.comment = verify.DIGEST + b"0" * 64
    data = bytearray(file.getvalue())
    if change:
        change(data)
    data[-64:] = hashlib.sha256(data[:-64]).hexdigest().encode()
    return bytes(data)


def refused(data: bytes, folder: Path) -> str:
    """The one sentence with which a file is not even opened."""
    (finding,) = judged(data, folder).findings
    assert (finding.part, finding.verdict) == ("file", verify.UNREADABLE)
    return finding.detail


def test_every_single_changed_byte_of_a_small_bundle_is_seen(tmp_path: Path) -> None:
    file = io.BytesIO()
    with BundleWriter(file) as bundle:
        bundle.add("events.jsonl", [b"one\n", b"two\n"])
        bundle.close({})
    data = file.getvalue()
    path = tmp_path / "evidence.zip"
    assert ("file", verify.VALID) in {each[:2] for each in judged(data, tmp_path).findings}
    for place in range(len(data)):
        for bits in (0x01, 0xFF):
            path.write_bytes(data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :])
            found = verify.verify(path)
            assert ("file", verify.VALID) not in {each[:2] for each in found.findings}, place


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, len(BUNDLE) - 1), bits=st.integers(1, 255))
def test_a_changed_byte_anywhere_in_a_real_bundle(tmp_path: Path, place: int, bits: int) -> None:
    data = BUNDLE[:place] + bytes([BUNDLE[place] ^ bits]) + BUNDLE[place + 1 :]
    assert judged(data, tmp_path).verdict in (verify.UNREADABLE, verify.MODIFIED, verify.TRUNCATED)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), place=st.integers(0, len(BUNDLE)), kept=st.integers(0, 300))
def test_no_bytes_make_it_crash(tmp_path: Path, data: bytes, place: int, kept: int) -> None:
    changed = BUNDLE[:place] + data + BUNDLE[place + kept :]
    assert (judged(changed, tmp_path).verdict == verify.VALID) is (changed == BUNDLE)


def test_a_changed_byte_in_a_part_names_the_part(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(BUNDLE)) as archive:
        entry = archive.getinfo("events.jsonl")
    place = entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2
    found = judged(BUNDLE[:place] + bytes([BUNDLE[place] ^ 1]) + BUNDLE[place + 1 :], tmp_path)
    details = [each.detail for each in found.findings if each.part == "manifest"]
    assert details[0].startswith(("the part events.jsonl is damaged", "the part events.jsonl is not what"))


def test_what_is_no_zip_at_all(tmp_path: Path) -> None:
    assert refused(b"", tmp_path) == "this is not a ZIP file"
    assert refused(b"%PDF-1.7 " * 50, tmp_path) == "this is not a ZIP file"
    assert "cannot be read" in verify.verify(tmp_path / "nowhere.zip").findings[0].detail


def test_a_file_that_ends_too_early_or_was_packed_by_another_program(tmp_path: Path) -> None:
    assert refused(BUNDLE[:-10], tmp_path).startswith("cut off, or packed by another program")
    assert refused(BUNDLE + b"\n", tmp_path).startswith("cut off, or packed by another program")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("manifest.json", b"{}")
    assert refused(file.getvalue(), tmp_path).startswith("cut off, or packed by another program")


def test_a_bundle_in_a_zip_says_so(tmp_path: Path) -> None:
    found = judged(sealed(lambda archive: archive.writestr("evidence.zip", BUNDLE)), tmp_path)
    assert "evidence.zip in it may be one: unpack it once" in found.findings[-1].detail


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../b", "C:\\x", "a//b", ".hidden", "a\x00b", "ü"]
)
def test_a_name_that_leads_out_of_a_folder(name: str, tmp_path: Path) -> None:
    data = sealed(lambda archive: archive.writestr("x" * len(name.encode()), b"x"))
    raw = bytearray(data.replace(b"x" * len(name.encode()), name.encode(), 2))
    raw[-64:] = hashlib.sha256(raw[:-64]).hexdigest().encode()
    assert "could lead out of a folder" in refused(bytes(raw), tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    def twice(archive: zipfile.ZipFile) -> None:
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")

    assert refused(sealed(twice), tmp_path) == "two parts have the same name"


def test_an_encrypted_part(tmp_path: Path) -> None:
    def encrypt(data: bytearray) -> None:
        data[data.index(b"PK\x01\x02") + 8] |= 1

    assert refused(sealed(lambda archive: archive.writestr("a", b"1"), encrypt), tmp_path) == "a is encrypted"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    real = sealed(lambda archive: archive.writestr("a", bytes(20 << 20)))  # 1,000 to 1
    assert refused(real, tmp_path) == f"a bomb: a would grow to {20 << 20} bytes"

    def claim(data: bytearray) -> None:
        for entry in range(2):
            place = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"][entry]
            data[place + 24 : place + 28] = struct.pack("<I", 3 << 30)

    def two(archive: zipfile.ZipFile) -> None:
        archive.writestr("a", b"1")
        archive.writestr("b", b"1")

    assert refused(sealed(two, claim), tmp_path).startswith("a bomb: its parts would grow to more than")


def test_a_part_that_is_larger_than_it_says_is_not_read_on(tmp_path: Path) -> None:
    def shrink(data: bytearray) -> None:
        place = data.index(b"PK\x01\x02")
        data[place + 24 : place + 28] = struct.pack("<I", 5)

    found = judged(
        sealed(lambda archive: archive.writestr("manifest.json", b" " * 900_000), shrink), tmp_path
    )
    assert found.verdict == verify.UNREADABLE


def test_more_parts_than_a_bundle_may_have(tmp_path: Path) -> None:
    def claim(data: bytearray) -> None:
        data[-verify.TAIL + 10 : -verify.TAIL + 12] = struct.pack("<H", verify.MAX_PARTS + 1)

    assert refused(sealed(lambda a: a.writestr("a", b"1"), claim), tmp_path).startswith(
        "too large: 60001 parts"
    )


@pytest.mark.parametrize("where", [0, 1, 2])
def test_bytes_that_no_part_holds_are_hidden_ones(where: int, tmp_path: Path) -> None:
    def two(archive: zipfile.ZipFile) -> None:
        archive.writestr("a", b"1")
        assert archive.fp is not None
        if where == 1:
            archive.fp.write(b"hidden")
            archive.start_dir = archive.fp.tell()
        archive.writestr("b", b"1")
        if where == 2:
            archive.fp.write(b"hidden")
            archive.start_dir = archive.fp.tell()

    data = sealed(two)
    assert "hidden" in refused(b"PK\x03\x04hidden" + data if where == 0 else data, tmp_path)


def test_links_in_an_unpacked_bundle_are_not_followed(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(BUNDLE)) as archive:
        archive.extractall(tmp_path / "unpacked")
    (tmp_path / "elsewhere").write_bytes((tmp_path / "unpacked" / "keys.json").read_bytes())
    (tmp_path / "unpacked" / "keys.json").unlink()
    (tmp_path / "unpacked" / "keys.json").symlink_to(tmp_path / "elsewhere")
    assert "keys.json is a link" in verify.verify(tmp_path / "unpacked").findings[0].detail


@pytest.mark.parametrize(
    "name", ["manifest.json", "events.jsonl", "index.html", "verify.py", "certificate.txt"]
)
def test_an_unpacked_bundle_knows_its_parts(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(io.BytesIO(BUNDLE)) as archive:
        archive.extractall(folder)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    assert verify.verify(folder).verdict in (verify.MODIFIED, verify.UNREADABLE)
    (folder / name).unlink()
    assert verify.verify(folder).verdict in (verify.TRUNCATED, verify.UNREADABLE)
    (folder / name).write_bytes(data)
    (folder / "one-more.txt").write_bytes(b"")
    assert told(verify.verify(folder)) == {("manifest", verify.MODIFIED, None)}
