"""Legal holds that the store itself keeps: one flag a version, and no deletion under it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from fwd2bot_core.errors import ObjectForbidden, ObjectMissing
from infra.objects import LegalHolds, S3Options
from infra.objects.file import FileStore
from infra.objects.memory import MemoryStore
from infra.objects.s3 import S3Store
from tests.servers.seaweedfs import S3Server


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest, s3_options: S3Options) -> Iterator[MemoryStore | S3Store]:
    if request.param == "memory":
        yield MemoryStore(versions=True)
        return
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = f"holds-{uuid4().hex[:8]}"
    server.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    yield S3Store(f"s3://{bucket}/photos", s3_options.model_copy(update={"versioned": True}))


def test_a_held_version_stays_and_goes_when_it_is_released(store: MemoryStore | S3Store) -> None:
    assert isinstance(store, LegalHolds)
    old, new = store.create("a.jpg", b"old"), store.replace("a.jpg", b"new")
    store.set_legal_hold(old, True)
    store.set_legal_hold(old, True)  # twice is once
    with pytest.raises(ObjectForbidden):
        store.delete_version(old)
    assert store.read("a.jpg", identity=old.identity) == b"old"
    store.delete_version(new)  # the flag is one version's
    store.set_legal_hold(old, False)
    store.delete_version(old)
    with pytest.raises(ObjectMissing):
        store.stat("a.jpg")


def test_what_is_not_there_cannot_be_held(store: MemoryStore | S3Store) -> None:
    gone = store.create("a.jpg", b"a")
    store.delete_version(gone)
    with pytest.raises(ObjectMissing):
        store.set_legal_hold(gone, True)


def test_a_server_that_only_seems_to_hold_is_not_believed(
    s3_versioned: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = s3_versioned.create("a.jpg", b"a")
    ask = s3_versioned._ask

    def forgetful(operation: str, key: str, **options: object) -> object:
        return {} if operation == "put_object_legal_hold" else ask(operation, key, **options)

    s3_versioned.set_legal_hold(info, False)
    monkeypatch.setattr(s3_versioned, "_ask", forgetful)
    with pytest.raises(ObjectForbidden, match="asked for ON, it says OFF"):
        s3_versioned.set_legal_hold(info, True)


def test_plain_files_have_no_such_flag(file_store: FileStore) -> None:
    assert not isinstance(file_store, LegalHolds)
