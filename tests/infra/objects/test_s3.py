"""What only a bucket can do to us: versions, lost answers, conflicts, refused credentials, odd listings."""

from __future__ import annotations

import hashlib
import io
import pickle
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from obstore.store import S3Store as Obstore
from pydantic import SecretStr, ValidationError

from fwd2bot_core.errors import (
    KeyRefused,
    ObjectChanged,
    ObjectExists,
    ObjectForbidden,
    ObjectMissing,
    StoreError,
    StoreUnreachable,
)
from infra.objects import S3Options
from infra.objects.s3 import S3Store
from infra.objects.s3_errors import from_client_error
from tests.servers.seaweedfs import S3Server

Answer = Callable[[AWSPreparedRequest], AWSResponse | None]


def intercept(store: S3Store, operation: str, answers: list[Answer]) -> list[AWSPreparedRequest]:
    """Let ``answers``, one a request, come between the store and its server; None lets the request pass."""
    seen: list[AWSPreparedRequest] = []

    def before_send(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        seen.append(request)
        return answers.pop(0)(request) if answers else None

    store._clients.boto.meta.events.register(f"before-send.s3.{operation}", before_send)
    return seen


def answer(status: int, code: str = "", headers: dict[str, str] | None = None) -> Answer:
    def respond(request: AWSPreparedRequest) -> AWSResponse:
        error = f"<Error><Code>{code}</Code><Message>so it is</Message></Error>" if code else ""
        body = io.BytesIO(error.encode())
        body.stream = lambda **_: iter([body.getvalue()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, status, headers or {}, body)

    return respond


# versions


def test_an_overwritten_version_can_still_be_read_and_deleted(s3_versioned: S3Store) -> None:
    first = s3_versioned.create("k", b"first")
    second = s3_versioned.replace("k", b"second")
    assert s3_versioned.read("k", identity=first.identity) == b"first"
    s3_versioned.delete_version(first)
    with pytest.raises(ObjectMissing):
        s3_versioned.read("k", identity=first.identity)
    assert s3_versioned.read("k") == s3_versioned.read("k", identity=second.identity) == b"second"


def test_a_key_hidden_by_a_delete_marker_is_not_listed(s3_versioned: S3Store, s3_server: S3Server) -> None:
    info = s3_versioned.create("k", b"1")
    bucket, _, prefix = s3_versioned.uri.removeprefix("s3://").partition("/")
    s3_server.client().delete_object(Bucket=bucket, Key=f"{prefix}/k")
    assert list(s3_versioned.list()) == []
    with pytest.raises(ObjectMissing):
        s3_versioned.read("k")
    assert s3_versioned.read("k", identity=info.identity) == b"1"


def test_deleting_without_version_ids_does_not_only_hide(
    s3_versioned_bucket: str, s3_options: S3Options, s3_server: S3Server
) -> None:
    store = S3Store(f"s3://{s3_versioned_bucket}/unaware", s3_options)
    info = store.create("k", b"1")
    assert info.version is None
    store.delete_version(info)
    left = s3_server.client().list_object_versions(Bucket=s3_versioned_bucket, Prefix="unaware/")
    assert left.get("Versions", []) + left.get("DeleteMarkers", []) == []


def test_objects_from_before_versioning_go_by_their_etag(s3_server: S3Server, s3_options: S3Options) -> None:
    bucket = s3_server.make_bucket("late")
    S3Store(f"s3://{bucket}", s3_options).create("old", b"1")
    s3_server.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = S3Store(f"s3://{bucket}", s3_options.model_copy(update={"versioned": True}))
    [old] = store.list()
    assert old.version is None
    assert store.read("old", identity=old.identity) == b"1"
    new = store.replace("old", b"2")
    assert new.version is not None
    with pytest.raises(ObjectChanged):
        store.read("old", identity=old.identity)


def test_a_locked_version_is_not_deleted(s3_server: S3Server, s3_options: S3Options) -> None:
    client = s3_server.client()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    store = S3Store("s3://locked", s3_options.model_copy(update={"versioned": True}))
    info = store.create("k", b"1")
    client.put_object_legal_hold(Bucket="locked", Key="k", LegalHold={"Status": "ON"})
    with pytest.raises(ObjectForbidden, match="'k'"):
        store.delete_version(info)
    assert store.read("k", identity=info.identity) == b"1"


# listing


def test_more_than_one_page_is_listed(s3_store: S3Store) -> None:
    expected = {f"{n:04d}" for n in range(1010)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3_store.create(key, b"1"), sorted(expected)))
    seen = intercept(s3_store, "ListObjectsV2", [])
    listing = s3_store.list()
    keys = [next(listing).key]
    assert len(seen) == 1
    keys += [info.key for info in listing]
    assert len(keys) == 1010
    assert set(keys) == expected
    assert len(seen) == 2


def test_folders_made_by_a_console_are_no_objects(
    s3_bucket: str, s3_server: S3Server, s3_options: S3Options
) -> None:
    client = s3_server.client()
    for key in ("console/", "console/sub/"):
        client.put_object(Bucket=s3_bucket, Key=key, Body=b"")
    store = S3Store(f"s3://{s3_bucket}/console/", s3_options)
    store.create("sub/k", b"1")
    assert [info.key for info in store.list()] == ["sub/k"]


def test_the_longest_key_counts_the_prefix(s3_bucket: str, s3_options: S3Options) -> None:
    key = "/".join(["z" * 255, "ü" * 127, "y" * 255, "x" * 250, "ww"])
    store = S3Store(f"s3://{s3_bucket}", s3_options)
    longest = key + "v" * (1024 - len(key.encode()))
    store.delete_version(store.create(longest, b"1"))
    with pytest.raises(KeyRefused, match="1,024"):
        store.create(longest + "v", b"1")
    with pytest.raises(KeyRefused, match="1,024"):
        S3Store(f"s3://{s3_bucket}/p", s3_options).create(longest, b"1")


def test_double_slashes_that_others_made_can_be_read(
    s3_store: S3Store, s3_bucket: str, s3_server: S3Server
) -> None:
    prefix = s3_store.uri.partition(f"{s3_bucket}/")[2]
    s3_server.client().put_object(Bucket=s3_bucket, Key=f"{prefix}/a//b", Body=b"1")
    for _ in range(5):
        assert s3_store.read("a//b") == b"1"


# conditional puts


def test_a_conflict_is_tried_again(s3_store: S3Store) -> None:
    conflict = answer(409, "ConditionalRequestConflict")
    seen = intercept(s3_store, "PutObject", [conflict, conflict])
    s3_store.create("k", b"1")
    assert len(seen) == 3
    assert s3_store.read("k") == b"1"


def test_a_put_whose_answer_was_lost_is_not_taken_for_anothers(s3_store: S3Store) -> None:
    def arrives_but_answer_is_lost(request: AWSPreparedRequest) -> AWSResponse:
        body = request.body.read() if hasattr(request.body, "read") else request.body
        headers = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
        }
        headers.pop("Expect", None)
        with urllib.request.urlopen(
            urllib.request.Request(request.url, data=body, headers=headers, method="PUT"), timeout=30
        ) as done:
            assert done.status == 200
        return answer(500, "InternalError")(request)

    seen = intercept(s3_store, "PutObject", [arrives_but_answer_is_lost])
    info = s3_store.create("k", b"1")
    assert len(seen) == 2
    assert s3_store.stat("k") == info
    with pytest.raises(ObjectExists):
        s3_store.create("k", b"1")


def test_new_objects_carry_checksum_condition_and_key(s3_bucket: str, s3_options: S3Options) -> None:
    store = S3Store(f"s3://{s3_bucket}/kms", s3_options.model_copy(update={"kms_key": "alias/ours"}))
    seen = intercept(store, "PutObject", [answer(200, headers={"ETag": '"e"'})])
    store.create("k", b"1")
    [request] = seen
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["if-none-match"] in {"*", b"*"}
    assert "x-amz-checksum-sha256" in headers
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] in {"alias/ours", b"alias/ours"}


# checksums


@pytest.mark.parametrize("stored", ["SHA256", "CRC32"])
def test_sha256_reads_only_what_has_no_such_checksum(
    s3_store: S3Store, s3_bucket: str, s3_server: S3Server, stored: str
) -> None:
    prefix = s3_store.uri.partition(f"{s3_bucket}/")[2]
    body = bytes(range(256)) * 12_000
    s3_server.client().put_object(Bucket=s3_bucket, Key=f"{prefix}/k", Body=body, ChecksumAlgorithm=stored)
    seen = intercept(s3_store, "GetObject", [])
    assert s3_store.sha256("k") == hashlib.sha256(body).hexdigest()
    assert len(seen) == (0 if stored == "SHA256" else 1)


# the fast way and the sure way


def test_without_obstore_reading_goes_on(s3_store: S3Store) -> None:
    info = s3_store.create("k", b"1")
    dead = Obstore(
        "bucket",
        endpoint="http://127.0.0.1:9",
        access_key_id="x",
        secret_access_key="x",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    s3_store._clients.__dict__["_fast"] = dead
    seen = intercept(s3_store, "GetObject", [])
    for _ in range(3):
        assert s3_store.read("k", identity=info.identity) == b"1"
    s3_store._clients.__dict__["_fast"] = None  # is not touched any more
    assert s3_store.read("k") == b"1"
    assert len(seen) == 4


def test_missing_objects_do_not_turn_obstore_off(s3_store: S3Store) -> None:
    s3_store.create("k", b"1")
    for n in range(5):
        with pytest.raises(ObjectMissing):
            s3_store.read(f"missing {n}")
    seen = intercept(s3_store, "GetObject", [])
    assert s3_store.read("k") == b"1"
    assert seen == []


def test_a_body_that_breaks_off_is_read_again(s3_store: S3Store) -> None:
    s3_store.create("k", b"whole")
    s3_store._clients._fast_failures = 3

    def cut(request: AWSPreparedRequest) -> AWSResponse:
        body = io.BytesIO(b"who")
        return AWSResponse(request.url, 200, {"Content-Length": "5", "ETag": '"e"'}, body)

    seen = intercept(s3_store, "GetObject", [cut])
    assert s3_store.read("k") == b"whole"
    assert len(seen) == 2


# what is wrong with the store


def every_call(store: S3Store) -> list[Callable[[], Any]]:
    return [
        lambda: list(store.list()),
        lambda: store.stat("k"),
        lambda: store.read("k"),
        lambda: store.open("k"),
        lambda: store.create("k", b"1"),
        lambda: store.sha256("k"),
    ]


def test_a_bucket_that_is_not_there(s3_options: S3Options) -> None:
    for ask in every_call(S3Store("s3://no-such-bucket/p", s3_options)):
        with pytest.raises(StoreUnreachable, match="no bucket"):
            ask()


def test_a_server_that_is_not_there(s3_options: S3Options) -> None:
    options = s3_options.model_copy(update={"endpoint": "http://127.0.0.1:9", "attempts": 1})
    for ask in every_call(S3Store("s3://bucket", options)):
        with pytest.raises(StoreUnreachable, match="does not answer"):
            ask()


def test_a_wrong_secret(s3_bucket: str, s3_options: S3Options) -> None:
    options = s3_options.model_copy(update={"secret_access_key": SecretStr("guess-no-more")})
    store = S3Store(f"s3://{s3_bucket}", options)
    for ask in every_call(store):
        with pytest.raises(StoreError) as refusal:
            ask()
        assert isinstance(refusal.value, (StoreUnreachable, ObjectForbidden))
        assert "guess-no-more" not in str(refusal.value)
    with pytest.raises(StoreUnreachable, match="credentials"):
        list(store.list())


def test_no_credentials_at_all(s3_bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for ask in every_call(S3Store(f"s3://{s3_bucket}", S3Options(endpoint=s3_server.endpoint))):
        with pytest.raises(StoreUnreachable, match="AWS_ACCESS_KEY_ID"):
            ask()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", ObjectForbidden),
        (403, "403", ObjectForbidden),
        (403, "InvalidObjectState", ObjectForbidden),
        (403, "ExpiredToken", StoreUnreachable),
        (404, "NoSuchBucket", StoreUnreachable),
        (404, "NoSuchVersion", ObjectMissing),
        (405, "MethodNotAllowed", ObjectMissing),
        (412, "PreconditionFailed", ObjectChanged),
        (400, "KeyTooLongError", KeyRefused),
        (301, "PermanentRedirect", StoreUnreachable),
        (503, "SlowDown", StoreUnreachable),
        (400, "SomethingNew", StoreError),
    ],
)
def test_each_answer_has_its_error(status: int, code: str, kind: type[StoreError]) -> None:
    response = {"Error": {"Code": code, "Message": "so"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = from_client_error(ClientError(response, "GetObject"), "s3://bucket/p", "a/b")
    assert type(error) is kind
    assert "s3://bucket/p" in str(error)


# options


def test_secrets_neither_print_nor_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    options = S3Options(
        access_key_id=SecretStr("the-id"),
        secret_access_key=SecretStr("the-secret"),
        session_token=SecretStr("the-token"),
        access_key_id_env="OUR_ID",
        secret_access_key_env="OUR_SECRET",
        region="eu-central-1",
    )
    store = S3Store("s3://bucket/p", options)
    pickled = pickle.dumps(store)
    shown = (
        f"{options!r} {options} {store!r} {options.credentials()!r} {options.model_dump_json()} {pickled!r}"
    )
    for secret in ("the-id", "the-secret", "the-token"):
        assert secret not in shown
    assert options.secret_access_key is not None  # pickling took nothing away
    there = pickle.loads(pickled).options
    assert there.region == "eu-central-1"
    with pytest.raises(StoreUnreachable, match="OUR_ID"):
        there.credentials()
    monkeypatch.setenv("OUR_ID", "id there")
    monkeypatch.setenv("OUR_SECRET", "secret there")
    assert tuple(there.credentials()) == ("id there", "secret there", None)


def test_half_a_credential_is_none() -> None:
    for half in ({"access_key_id": "x"}, {"secret_access_key_env": "X"}):
        with pytest.raises(ValidationError, match="together"):
            S3Options(**half)


@pytest.mark.parametrize(
    "endpoint", ["localhost:9000", "http://key:secret@host", "ftp://host", "http://host/path"]
)
def test_an_endpoint_is_a_plain_address(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="endpoint"):
        S3Options(endpoint=endpoint)
