"""Which store a URI opens, and that asking costs nothing."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from fwd2bot_core.errors import SettingsError, StoreUnreachable
from infra.objects import S3Options, open_store
from infra.objects.file import FileStore
from infra.objects.memory import MemoryStore
from infra.objects.s3 import S3Store

REPOSITORY = Path(__file__).parents[3]


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my images 100%"
    with pytest.raises(StoreUnreachable, match="my images"):
        open_store(folder.as_uri())
    store = open_store(folder.as_uri(), create_root=True)
    assert isinstance(store, FileStore)
    assert store.uri == folder.as_uri()
    assert folder.is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for create_root in (False, True):
        with pytest.raises(StoreUnreachable):
            open_store((tmp_path / "file").as_uri(), create_root=create_root)


def test_a_bucket_is_not_asked_before_it_is_used() -> None:
    options = S3Options(versioned=True)
    store = open_store("s3://bucket/some/prefix", s3=options)
    assert isinstance(store, S3Store)
    assert (store.uri, store.options) == ("s3://bucket/some/prefix", options)


def test_memory_is_one_store_a_name() -> None:
    open_store("memory://one name").create("k", b"1")
    again = pickle.loads(pickle.dumps(open_store("memory://one name")))
    assert again.read("k") == b"1"
    assert again is open_store("memory://one name")
    assert list(open_store("memory://another").list()) == []


def test_unnamed_memory_is_nobody_elses() -> None:
    one, other = MemoryStore(), MemoryStore()
    one.create("k", b"1")
    assert list(other.list()) == []
    assert pickle.loads(pickle.dumps(one)) is one


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "images",
        "./images",
        "/images",
        "file:images",
        "file://images/2026",
        "file:///images?x=1",
        "gs://bucket",
        "memory://",
        "s3://",
        "s3:///key",
        "s3://key:secret@bucket",
        "S3://bucket",
    ],
)
def test_anything_else_is_a_mistake_in_the_settings(uri: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        open_store(uri)
    assert "secret" not in str(refusal.value)


def test_importing_the_room_imports_no_client() -> None:
    heavy = {"boto3", "botocore", "s3fs", "aiobotocore", "obstore", "pyarrow", "tenacity"}
    code = f"import sys, infra.objects; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
