"""What can happen to a folder: permissions, crashes, races, a disk that goes away."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from fwd2bot_core.errors import (
    KeyRefused,
    ObjectChanged,
    ObjectMissing,
    StoreError,
    StoreUnreachable,
)
from infra.objects.file import FileStore

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def root(file_store: FileStore, tmp_path: Path) -> Path:
    return tmp_path / "root"


def keys(store: FileStore, prefix: str = "") -> list[str]:
    return sorted(info.key for info in store.list(prefix))


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A second process, which prints what it found."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


# permissions, tried by a process that is not root


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


AS_NOBODY = """
    import os, sys
    from infra.objects.file import FileStore
    from fwd2bot_core.errors import StoreError
    if os.geteuid() == 0:
        os.setegid(65534), os.seteuid(65534)
    store = FileStore(sys.argv[1])
    def tried(ask):
        try:
            print(ask())
        except StoreError as error:
            print(type(error).__name__, error)
"""


def test_an_unreadable_file_is_listed_and_forbidden(open_folder: Path) -> None:
    (open_folder / "image.png").write_bytes(b"1")
    (open_folder / "image.png").chmod(0)
    code = (
        AS_NOBODY + "    tried(lambda: [i.key for i in store.list()]); tried(lambda: store.read('image.png'))"
    )
    listed, read = run(code, open_folder).stdout.splitlines()
    assert listed == "['image.png']"
    assert read.startswith("ObjectForbidden 'image.png'")


def test_an_unreadable_folder_stops_the_listing(open_folder: Path) -> None:
    (open_folder / "night").mkdir(mode=0)
    code = AS_NOBODY + "    tried(lambda: [i.key for i in store.list()])"
    assert run(code, open_folder).stdout.startswith("ObjectForbidden The folder")


def test_a_file_that_may_not_be_looked_at_is_listed(open_folder: Path) -> None:
    (open_folder / "night").mkdir()
    (open_folder / "night" / "image.png").write_bytes(b"1")
    (open_folder / "night").chmod(0o644)  # its names may be read, its files not be reached
    code = (
        AS_NOBODY
        + "    tried(lambda: [i.key for i in store.list()]); tried(lambda: store.stat('night/image.png'))"
    )
    listed, looked = run(code, open_folder).stdout.splitlines()
    assert listed == "['night/image.png']"
    assert looked.startswith("ObjectForbidden")


def test_writing_where_one_may_not_is_forbidden(open_folder: Path) -> None:
    code = AS_NOBODY + "    tried(lambda: store.create('a/b', b'1'))"
    assert run(code, open_folder).stdout.startswith("ObjectForbidden 'a/b'")


# changes under way


class Meddled(FileStore):
    """A store whose files change at the moment in which they have been read."""

    def open(self, key: str) -> Any:
        path = Path(os.fsdecode(self._locate(key)))

        class Reader(FileIO):
            def read(self, size: int = -1) -> bytes:
                data = super().read(size)
                with path.open("ab") as other:
                    other.write(b"more")
                return data

        return Reader(path)


@pytest.mark.parametrize("with_identity", [True, False])
def test_a_file_that_grows_while_it_is_read_is_changed(tmp_path: Path, with_identity: bool) -> None:
    store = Meddled(tmp_path)
    info = store.create("k", b"1")
    with pytest.raises(ObjectChanged, match="'k'"):
        store.read("k", identity=info.identity if with_identity else None)


def test_same_size_but_later_is_another_object(file_store: FileStore, root: Path) -> None:
    info = file_store.create("k", b"1")
    os.utime(root / "k", ns=(0, 1_000_000_000))
    with pytest.raises(ObjectChanged):
        file_store.read("k", identity=info.identity)


def test_a_disk_that_went_away_is_not_a_missing_image(file_store: FileStore, root: Path) -> None:
    info = file_store.create("k", b"1")
    root.rename(root.with_name("unmounted"))
    asks = [
        lambda: file_store.read("k", identity=info.identity),
        lambda: file_store.stat("k"),
        lambda: list(file_store.list()),
        lambda: file_store.create("new/k", b"1"),
        lambda: file_store.delete_version(info),
        lambda: FileStore(root),
    ]
    for ask in asks:
        with pytest.raises(StoreUnreachable, match="mount"):
            ask()
    assert not root.exists()


def test_a_disk_that_goes_away_while_it_is_listed_is_noticed(file_store: FileStore, root: Path) -> None:
    for key in ("a/1", "b/1", "c/1"):
        file_store.create(key, b"1")
    listing = file_store.list()
    next(listing)
    root.rename(root.with_name("unmounted"))
    with pytest.raises(StoreUnreachable, match="mount"):
        list(listing)


# writing


def test_a_new_object_is_on_disk_before_it_has_its_name(
    file_store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def watch(name: str, describe: Any) -> None:
        real = getattr(os, name)

        def watched(*arguments: Any) -> Any:
            done.append(f"{name} {describe(*arguments)}")
            return real(*arguments)

        monkeypatch.setattr(os, name, watched)

    def where(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name.rpartition(".")[2]

    watch("fsync", where)
    watch("link", lambda _, path: Path(os.fsdecode(path)).name)
    watch("replace", lambda _, path: Path(os.fsdecode(path)).name)
    file_store.create("folder/k", b"1")
    assert done == ["fsync root", "fsync tmp", "link k", "fsync folder"]
    done.clear()
    file_store.replace("folder/k", b"2")
    assert done == ["fsync tmp", "replace k", "fsync folder"]


def test_a_writer_killed_before_the_name_is_given_leaves_no_object(file_store: FileStore, root: Path) -> None:
    code = """
        import os, signal, sys
        from infra.objects.file import FileStore
        os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        FileStore(sys.argv[1]).create("k", b"half")
    """
    assert run(code, root).returncode == -signal.SIGKILL
    [left_behind] = root.iterdir()
    assert keys(file_store) == []
    with pytest.raises(KeyRefused):
        file_store.read(left_behind.name)
    file_store.create("k", b"whole")
    assert keys(file_store) == ["k"]


def test_of_racing_processes_one_creates_each_object(file_store: FileStore, root: Path) -> None:
    code = """
        import sys
        from fwd2bot_core.errors import ObjectExists
        from infra.objects.file import FileStore
        store, me = FileStore(sys.argv[1]), sys.argv[2]
        print("ready", flush=True)
        sys.stdin.readline()
        for n in range(40):
            try:
                store.create(f"deep/{n % 7}/{n}", me.encode() * 10_000)
                print(n, me)
            except ObjectExists:
                pass
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(root)]
    racers = [
        subprocess.Popen(
            [*command, str(me)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for me in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = dict(line.split() for racer in racers for line in racer.communicate(timeout=60)[0].splitlines())
    assert all(racer.returncode == 0 for racer in racers)
    assert sorted(won, key=int) == [f"{n}" for n in range(40)]
    for n, winner in won.items():
        assert file_store.read(f"deep/{int(n) % 7}/{n}") == winner.encode() * 10_000


def test_a_failed_write_leaves_nothing_and_says_why(
    file_store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        file_store.create("k", b"1")
    assert list(root.iterdir()) == []


def test_a_disk_without_hard_links_is_named_as_such(
    file_store: FileStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: bytes) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(StoreError, match="no hard links"):
        file_store.create("k", b"1")
    assert list(root.iterdir()) == []


def test_a_file_where_a_folder_is_needed_is_refused(file_store: FileStore) -> None:
    file_store.create("a/b", b"1")
    for put in (file_store.create, file_store.replace):
        with pytest.raises(KeyRefused):
            put("a/b/c", b"1")
        with pytest.raises(KeyRefused):
            put("a", b"1")
    with pytest.raises(ObjectMissing):
        file_store.read("a/b/c")
    assert keys(file_store) == ["a/b"]
