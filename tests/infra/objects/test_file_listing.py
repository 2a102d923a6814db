"""What a folder can hold: odd names, links, pipes, very many files."""

from __future__ import annotations

import json
import os
import socket
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fwd2bot_core.errors import (
    KeyRefused,
    ObjectExists,
    ObjectMissing,
)
from infra.objects import file_listing
from infra.objects.file import FileStore
from infra.objects.file_names import name_of, relative_path, segment_of


@pytest.fixture
def root(file_store: FileStore, tmp_path: Path) -> Path:
    return tmp_path / "root"


def keys(store: FileStore, prefix: str = "") -> list[str]:
    return sorted(info.key for info in store.list(prefix))


# names


@given(name=st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name)))
@example(name=b"caf\xe9.png")
@example(name=b"\\xff")
@example(name=b"\\x5cxff")
@example(name=b"\\\xff\\x41")
@example(name="検査".encode("shift_jis"))
def test_every_file_name_has_a_key_of_its_own(name: bytes) -> None:
    segment = segment_of(name)
    assert name_of(segment) == name
    assert segment_of(name_of(segment)) == segment
    json.dumps(segment).encode()
    segment.encode()


def test_names_that_are_no_utf8_are_listed_and_read(file_store: FileStore, root: Path) -> None:
    names = [
        b"caf\xe9.png",
        "検査".encode("shift_jis") + b".png",
        b"\\xe9.png",
        b"back\\slash.png",
        b"\x1f\n.png",
    ]
    for name in names:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(name)
    listed = keys(file_store)
    assert len(set(listed)) == len(names)
    assert "caf\\xe9.png" in listed
    assert {file_store.read(key) for key in listed} == set(names)


@pytest.mark.parametrize("key", ["\\x41", "\\x2e\\x2e/x", "a\\x2fb", "\\x00"])
def test_an_escape_for_what_needs_none_is_refused(file_store: FileStore, key: str) -> None:
    for ask in (file_store.read, file_store.stat, lambda key: file_store.create(key, b"1")):
        with pytest.raises(KeyRefused):
            ask(key)


def test_a_long_name_of_odd_bytes_is_measured_on_disk() -> None:
    assert relative_path("\\xff" * 255) == b"\xff" * 255
    with pytest.raises(KeyRefused, match="255"):
        relative_path("\\xff" * 256)


# listing


def test_a_listing_yields_before_it_has_seen_the_next_folder(
    file_store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in range(40):
        (root / f"{folder}").mkdir()
        (root / f"{folder}" / "image").touch()
    opened: list[bytes] = []
    real = os.scandir

    def counting(path: bytes) -> Any:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(file_listing.os, "scandir", counting)
    listing = file_store.list()
    next(listing)
    assert len(opened) == 2
    assert sum(1 for _ in listing) == 39


def test_a_listing_holds_no_folder_in_memory(file_store: FileStore, root: Path) -> None:
    for n in range(20_000):
        os.close(os.open(root / f"an image with quite a long name {n:06d}.jpeg", os.O_CREAT))
    next(file_store.list())  # whatever the first call keeps
    tracemalloc.start()
    try:
        assert sum(1 for _ in file_store.list()) == 20_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200_000  # bytes; the keys alone are over a million


def test_a_listing_given_up_closes_its_folders(file_store: FileStore, root: Path) -> None:
    (root / "a" / "b").mkdir(parents=True)
    for folder in (root, root / "a", root / "a" / "b"):
        for n in range(3):
            (folder / f"{n}").touch()
    before = len(list(Path("/proc/self/fd").iterdir()))
    listing = file_store.list("a/b/")
    next(listing)
    listing.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_time_that_no_calendar_holds_is_listed(
    file_store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "old").touch()
    os.utime(root / "old", ns=(0, -(2**31) * 10**9))
    [info] = file_store.list()
    assert info.modified == datetime(1901, 12, 13, 20, 45, 52, tzinfo=UTC)
    assert file_listing._instant(2**62).year == 2116
    assert file_listing._instant(2**80) == datetime(1970, 1, 1, tzinfo=UTC)


def test_the_identity_survives_a_move_and_a_chmod(file_store: FileStore, root: Path) -> None:
    made = file_store.create("k", b"1")
    (root / "k").chmod(0o600)
    (root / "k").rename(root / "other")
    assert file_store.stat("other").identity == made.identity


# links and special files


def test_links_that_stay_inside_are_files(file_store: FileStore, root: Path) -> None:
    file_store.create("real/image.png", b"1")
    (root / "link.png").symlink_to("real/image.png")
    (root / "folder").symlink_to("real")
    (root / "real" / "up").symlink_to("..")
    assert keys(file_store) == ["link.png", "real/image.png"]  # each image once
    assert file_store.read("link.png") == b"1"
    with pytest.raises(KeyRefused, match="link"):
        list(file_store.list("folder/"))
    with pytest.raises(KeyRefused, match="link"):
        file_store.delete_version(file_store.stat("link.png"))
    assert file_store.read("real/image.png") == b"1"


@pytest.mark.parametrize("target", ["secret.txt", "outside"])
def test_links_that_leave_are_listed_and_refused(
    file_store: FileStore, root: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "image.png").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / target)
    [info] = file_store.list()
    assert info.key == "link"
    for key in ("link", "link/image.png"):
        for ask in (file_store.read, file_store.open, file_store.sha256, file_store.stat):
            with pytest.raises((KeyRefused, ObjectMissing)) as refusal:
                ask(key)
            assert isinstance(refusal.value, KeyRefused) or target == "secret.txt"
    with pytest.raises(KeyRefused):
        file_store.create("link/new.png", b"1")
    with pytest.raises((ObjectExists, KeyRefused)):
        file_store.create("link", b"1")
    file_store.replace("link", b"1")
    assert not (root / "link").is_symlink()
    assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == ["image.png"]
    assert (tmp_path / "secret.txt").read_bytes() == b"secret"


def test_a_root_whose_name_begins_another_folders_name_is_no_door(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "root", create_root=True)
    (tmp_path / "root-2").mkdir()
    (tmp_path / "root-2" / "x").write_bytes(b"secret")
    (tmp_path / "root" / "link").symlink_to("../root-2/x")
    with pytest.raises(KeyRefused):
        store.read("link")


def test_broken_and_circular_links_are_listed_and_say_so(file_store: FileStore, root: Path) -> None:
    (root / "broken").symlink_to("nowhere")
    (root / "circle").symlink_to("circle")
    assert keys(file_store) == ["broken", "circle"]
    with pytest.raises(ObjectMissing):
        file_store.read("broken")
    with pytest.raises(KeyRefused):
        file_store.read("circle")


def test_pipes_sockets_and_folders_are_never_opened(
    file_store: FileStore, root: Path, monkeypatch: Any
) -> None:
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        (root / "folder").mkdir()
        assert keys(file_store) == ["pipe", "socket"]
        monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
        for key in ("pipe", "socket", "folder"):
            for ask in (file_store.read, file_store.open, file_store.sha256, file_store.stat):
                with pytest.raises(KeyRefused, match="no regular file"):
                    ask(key)
