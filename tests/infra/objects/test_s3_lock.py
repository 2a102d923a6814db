"""Object Lock on a real S3 server: what is created stays, what is hidden is still seen."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from fwd2bot_core.errors import ObjectExists, ObjectForbidden
from infra.objects import S3Options
from infra.objects.s3_lock import LockedS3Store, Retention
from tests.servers.seaweedfs import S3Server


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    s3_server.client().create_bucket(Bucket="vault", ObjectLockEnabledForBucket=True)
    return "vault"


def test_a_created_object_is_locked_until_the_day(bucket: str, s3_options: S3Options) -> None:
    store = LockedS3Store(f"s3://{bucket}/a", s3_options, Retention(30))
    info = store.create("k", b"1")
    until = store.locked_until(info)
    assert store.locks
    assert until is not None
    assert abs(until - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    with pytest.raises(ObjectForbidden):
        store.delete_version(info)
    with pytest.raises(ObjectExists):
        store.create("k", b"2")


def test_compliance_is_not_lifted_and_governance_is_by_who_may(
    bucket: str, s3_options: S3Options, s3_server: S3Server
) -> None:
    client = s3_server.client()
    for mode, lifted in (("COMPLIANCE", False), ("GOVERNANCE", True)):
        store = LockedS3Store(f"s3://{bucket}/{mode}", s3_options, Retention(30, mode))  # type: ignore[arg-type]
        info = store.create("k", b"1")
        named = {"Bucket": bucket, "Key": f"{mode}/k", "VersionId": info.version}
        assert client.head_object(**named)["ObjectLockMode"] == mode
        if lifted:
            client.delete_object(**named, BypassGovernanceRetention=True)
        else:
            with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
                client.delete_object(**named, BypassGovernanceRetention=True)
        assert [found.key for found in store.versions("k")] == ([] if lifted else ["k"])


def test_what_is_replaced_is_not_locked(bucket: str, s3_options: S3Options) -> None:
    store = LockedS3Store(f"s3://{bucket}/b", s3_options, Retention(30))
    assert store.locked_until(store.replace("pointer", b"1")) is None


def test_a_hidden_version_is_still_seen(bucket: str, s3_options: S3Options, s3_server: S3Server) -> None:
    store = LockedS3Store(f"s3://{bucket}/c", s3_options, Retention(30))
    first = store.create("k", b"first")
    s3_server.client().delete_object(Bucket=bucket, Key="c/k")  # a delete marker, which no lock forbids
    second = store.create("k", b"second")
    assert [info.key for info in store.list()] == ["k"]
    assert {store.read("k", identity=info.identity) for info in store.versions("")} == {b"first", b"second"}
    assert {info.version for info in store.versions("k")} == {first.version, second.version}


def test_a_bucket_without_locks_takes_objects_unlocked(s3_bucket: str, s3_options: S3Options) -> None:
    store = LockedS3Store(f"s3://{s3_bucket}/unlocked", s3_options, Retention(30))
    info = store.create("k", b"1")
    assert not store.locks
    assert store.locked_until(info) is None
    assert [found.key for found in store.versions("")] == ["k"]
    assert store.read("k", identity=info.identity) == b"1"


def test_it_travels_without_secrets(s3_options: S3Options) -> None:
    store = LockedS3Store("s3://vault/d", s3_options, Retention(7, "GOVERNANCE"))
    again = pickle.loads(pickle.dumps(store))
    assert (again.uri, again.retention) == (store.uri, store.retention)
    assert again.options.secret_access_key is None
