"""The store's policy documents, set up by store-setup.sh on a real SeaweedFS: what the pipeline's credentials can do
there, and what they cannot."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from pydantic import SecretStr

from fwd2bot_core.errors import ObjectExists, ObjectForbidden
from infra.doctor import examine
from infra.installation import Installation
from infra.objects.s3 import S3Store
from infra.objects.s3_options import S3Options
from infra.settings import load_settings
from tasks.verify import verify
from tests.houses import night, tiny_jpeg
from tests.servers import seaweedfs as weed
from tests.servers.seaweedfs import S3Server

DEPLOY = Path(__file__).parents[2] / "infra" / "deploy"
STORE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["store"]
KEY = secrets.token_hex(16)
PHOTOS, TOKENS = "inspection-photos", "summary-tokens"
KEYS = {
    f"{who}_{what}": secrets.token_hex(size)
    for who in ("PHOTOS", "TOKENS")
    for what, size in (("KEY", 10), ("SECRET", 20))
}


@pytest.fixture(scope="module")
def set_up() -> Iterator[S3Server]:
    """The `store` of compose.yaml on free ports of loopback, after its `store-setup` has run twice."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(weed, "command", as_in_compose)
        patched.setattr(weed, "environment_of", environment_of_compose)
        patched.setattr(weed, "fsync_each_object", run_setup)
        with weed.seaweedfs() as server:
            yield server


def as_in_compose(home: Path, ports: dict[str, int]) -> list[str]:
    """Of two flags of one name the last counts."""
    (home / "data").mkdir()
    sockets = {f"{part}.localSocket": home / f"{part}.sock" for part in ("filer", "s3")}
    here = {"dir": home / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", **sockets, **ports}
    return [weed.weed(), *STORE["command"], *(f"-{name}={value}" for name, value in here.items())]


def environment_of_compose(home: Path, server: S3Server) -> dict[str, str]:
    keys = {name: KEY for name in STORE["environment"] if name.startswith("WEED_JWT")}
    assert len(keys) == 4
    own = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
    assert own.keys() | keys.keys() == STORE["environment"].keys()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), **own, **keys}


def run_setup(environment: dict[str, str], home: Path, ports: dict[str, int]) -> None:
    """In place of the last step of the server's start, the one that knows its keys and ports."""
    addresses = {
        part.upper(): f"127.0.0.1:{ports[f'{part}.port']}.{ports[f'{part}.port.grpc']}"
        for part in ("master", "filer")
    }
    path = f"{Path(weed.weed()).parent}{os.pathsep}{environment['PATH']}"
    given = {**environment, **addresses, **KEYS, "PATH": path, "POLICIES": str(DEPLOY)}
    for _ in range(2):
        done = subprocess.run(
            ["sh", DEPLOY / "store-setup.sh"], env=given, cwd=home, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


def store(server: S3Server, bucket: str, who: str) -> S3Store:
    options = S3Options(
        endpoint=server.endpoint,
        region=server.region,
        addressing="path",
        versioned=bucket == PHOTOS,
        attempts=2,
        access_key_id=SecretStr(KEYS[f"{who}_KEY"]),
        secret_access_key=SecretStr(KEYS[f"{who}_SECRET"]),
    )
    return S3Store(f"s3://{bucket}", options)


@pytest.fixture
def photos_store(set_up: S3Server) -> S3Store:
    return store(set_up, PHOTOS, "PHOTOS")


@pytest.fixture
def tokens_store(set_up: S3Server) -> S3Store:
    return store(set_up, TOKENS, "TOKENS")


@pytest.fixture
def photo(set_up: S3Server) -> Callable[..., str]:
    """``photo(key, **lock)`` as a camera puts it; its version id."""
    client = set_up.client()
    return lambda key, **lock: str(
        client.put_object(Bucket=PHOTOS, Key=key, Body=b"photo", **lock)["VersionId"]
    )


def refused(call: Callable[..., Any], **arguments: Any) -> bool:
    """Whether the server answers that this is not permitted; another error is none of that."""
    try:
        call(**arguments)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "AccessDenied")
    return False


def test_originals_are_read_held_and_destroyed_by_version(
    photos_store: S3Store, photo: Callable[..., str]
) -> None:
    version = photo("a.jpg")
    info = next(entry for entry in photos_store.list() if entry.key == "a.jpg")
    assert (info.version, photos_store.read("a.jpg", identity=info.identity)) == (version, b"photo")
    photos_store.set_legal_hold(info, True)
    with pytest.raises(ObjectForbidden):
        photos_store.delete_version(info)
    photos_store.set_legal_hold(info, False)
    photos_store.delete_version(info)
    assert list(photos_store.versions_of("a.jpg")) == []


def test_originals_are_never_hidden_written_or_loosened(
    photos_store: S3Store, photo: Callable[..., str]
) -> None:
    until = datetime.now(UTC) + timedelta(days=1)
    version = photo("b.jpg", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    client = photos_store._clients.boto
    assert refused(client.delete_object, Bucket=PHOTOS, Key="b.jpg")
    assert refused(client.delete_object, Bucket=PHOTOS, Key="b.jpg", VersionId=version)
    assert refused(
        client.delete_object,
        Bucket=PHOTOS,
        Key="b.jpg",
        VersionId=version,
        BypassGovernanceRetention=True,
    )
    earlier = {"Mode": "GOVERNANCE", "RetainUntilDate": until - timedelta(hours=23)}
    assert refused(
        client.put_object_retention, Bucket=PHOTOS, Key="b.jpg", VersionId=version, Retention=earlier
    )
    with pytest.raises(ObjectForbidden):
        photos_store.create("new.jpg", b"x")
    with pytest.raises(ObjectForbidden):
        photos_store.replace("b.jpg", b"x")
    assert len(photos_store.versions_of("b.jpg")) == 1


@pytest.mark.parametrize(("bucket", "who"), [(PHOTOS, "PHOTOS"), (TOKENS, "TOKENS")])
def test_buckets_are_not_theirs_to_change(set_up: S3Server, bucket: str, who: str) -> None:
    client = store(set_up, bucket, who)._clients.boto
    suspended = {"Status": "Suspended"}
    assert refused(client.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=suspended)
    assert refused(client.put_bucket_policy, Bucket=bucket, Policy=json.dumps({"Statement": []}))
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    assert refused(
        client.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
    )
    assert refused(client.delete_bucket, Bucket=bucket)
    assert refused(client.create_bucket, Bucket="another")


def test_the_archive_is_read_and_created_and_nothing_of_it_is_deleted(tokens_store: S3Store) -> None:
    made = tokens_store.create("tokens/shard", b"tokens")
    assert tokens_store.read("tokens/shard") == b"tokens"
    assert [entry.key for entry in tokens_store.list("tokens/")] == ["tokens/shard"]
    with pytest.raises(ObjectExists):
        tokens_store.create("tokens/shard", b"others")
    with pytest.raises(ObjectForbidden):
        tokens_store.delete_version(made)
    probe = tokens_store.create("plant-1/doctor/probe", b"probe")
    tokens_store.delete_version(probe)


def test_neither_reaches_the_others_bucket(set_up: S3Server, photo: Callable[..., str]) -> None:
    photo("c.jpg")
    for bucket, who in ((PHOTOS, "TOKENS"), (TOKENS, "PHOTOS")):
        strange = store(set_up, bucket, who)
        with pytest.raises(ObjectForbidden):
            list(strange.list())
        with pytest.raises(ObjectForbidden):
            strange.read("c.jpg")


def test_a_night_and_the_doctor_need_no_more_than_that(
    set_up: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the settings file of compose.yaml, and what compose.yaml says in variables said for this place."""
    for number in range(5):
        set_up.client().put_object(Bucket=PHOTOS, Key=f"line-1/{number}.jpg", Body=tiny_jpeg(number))
    here = {
        "FWD2BOT_ARCHIVE__LEDGER": f"sqlite:///{tmp_path}/ledger.sqlite",
        "FWD2BOT_ARCHIVE__S3__ENDPOINT": set_up.endpoint,
        "FWD2BOT_COLLECTIONS__LINE-1__S3__ENDPOINT": set_up.endpoint,
        "FWD2BOT_AUDIT__KEY": str(tmp_path / "audit-key"),
        "FWD2BOT_EXECUTION__EXECUTOR": "inline",
        "FWD2BOT_COMPRESSOR__BUNDLE": "fake",
        "FWD2BOT_NIGHT__ENGINE": "direct",
        "AWS_DEFAULT_REGION": set_up.region,
    }
    for name, value in (here | KEYS).items():
        monkeypatch.setenv(name, value)
    made = Installation(load_settings(DEPLOY / "fwd2bot.toml"))
    try:
        assert night(made).compressed == 5
        assert [check.detail for check in examine(made) if not check.ok] == []
        assert verify(made.ledger, made.archive).findings == ()
    finally:
        made.ledger.close()
