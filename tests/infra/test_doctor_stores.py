"""The doctor at a real S3 server: wrong endpoint, wrong key, no bucket, read only, no versions, another clock."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fwd2bot_core.retention.policy_file import read
from infra import doctor_stores
from infra.installation import Installation
from infra.retention_tables import policies
from tests.core.retention.policies import NOW, TEXT
from tests.houses import COLLECTION
from tests.infra.test_doctor import wrong_places
from tests.servers.dask_cluster import free_port
from tests.servers.seaweedfs import S3Server

BuildHouse = Callable[..., Installation]
ORIGINALS = f"originals of {COLLECTION}"


@pytest.fixture
def reached(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How the server is reached, as settings say it."""
    monkeypatch.setenv("TEST_S3_KEY", s3_server.access_key)
    monkeypatch.setenv("TEST_S3_SECRET", s3_server.secret_key)
    return {
        "endpoint": s3_server.endpoint, "region": s3_server.region, "addressing": "path", "attempts": 1,
        "access_key_id_env": "TEST_S3_KEY", "secret_access_key_env": "TEST_S3_SECRET",
    }  # fmt: skip


@pytest.fixture(scope="module")
def plain(s3_server: S3Server) -> str:
    """The address of a bucket without versions that holds one photo; for archives, too."""
    return filled(s3_server)


@pytest.fixture(scope="module")
def versioned(s3_server: S3Server) -> str:
    """The same with versions."""
    return filled(s3_server, versioned=True)


def filled(server: S3Server, *, versioned: bool = False) -> str:
    name = server.make_bucket(f"doctor-{secrets.token_hex(4)}", versioned=versioned)
    server.client().put_object(Bucket=name, Key="a.jpg", Body=b"photo")
    return f"s3://{name}"


def on_s3(
    house: BuildHouse, reached: dict[str, Any], *, archive: str, originals: str, **more: Any
) -> Installation:
    return house(
        **{
            "archive": {"store": archive},
            "archive.s3": reached,
            f"collections.{COLLECTION}": {"originals": originals},
            f"collections.{COLLECTION}.s3": reached | more,
        }
    )


def in_force(house: Installation, stage: str) -> None:
    """A policy for the collection, as its row says once people have made it so."""
    document = read(TEXT.replace("stage: enforce", f"stage: {stage}").encode())
    with house.ledger.write() as connection:
        connection.execute(
            policies.insert().values(
                id=document.policy.id, version=1, sha256=document.sha256, yaml=document.data, state="active",
                meaning_sha256=document.policy.meaning_sha256, author_ref="a", drafted_at=NOW,
            )
        )  # fmt: skip


def test_a_sound_pair_of_buckets(
    house: BuildHouse, reached: dict[str, Any], plain: str, versioned: str
) -> None:
    made = on_s3(house, reached, archive=plain, originals=versioned, versioned=True)
    in_force(made, "enforce")
    assert wrong_places(made) == {}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("endpoint", "http://127.0.0.1:{free}", "check its endpoint and the network"),
        ("access_key_id_env", "STRANGERS_KEY", "refuses the credentials (InvalidAccessKeyId): give it valid"),
        ("secret_access_key_env", "STRANGERS_KEY", "refuses the credentials (SignatureDoesNotMatch)"),
        (
            "secret_access_key_env",
            "NOT_SET",
            "The environment variable NOT_SET with the S3 credentials is not set",
        ),
    ],
)
def test_a_wrong_endpoint_and_a_wrong_key(
    house: BuildHouse, reached: dict[str, Any], plain: str, monkeypatch: pytest.MonkeyPatch,
    name: str, value: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("STRANGERS_KEY", "AKIASTRANGER")
    changed = reached | {name: value.format(free=free_port())}
    found = wrong_places(on_s3(house, changed, archive=plain, originals=plain))
    assert found.keys() >= {"archive store", ORIGINALS}
    assert said in found["archive store"]
    assert said in found[ORIGINALS]


def test_buckets_that_are_not_there(house: BuildHouse, reached: dict[str, Any]) -> None:
    found = wrong_places(
        on_s3(house, reached, archive="s3://no-such-tokens/x", originals="s3://no-such-photos/x")
    )
    assert "There is no bucket for s3://no-such-tokens/x: create it" in found["archive store"]
    assert "There is no bucket for s3://no-such-photos/x: create it" in found[ORIGINALS]


def test_an_archive_that_can_only_be_read(
    house: BuildHouse, reached: dict[str, Any], plain: str, s3_server: S3Server
) -> None:
    archive = filled(s3_server)
    deny = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": "*",
                "Action": ["s3:PutObject"],
                "Resource": f"arn:aws:s3:::{archive.removeprefix('s3://')}/*",
            }
        ],
    }
    s3_server.client().put_bucket_policy(Bucket=archive.removeprefix("s3://"), Policy=json.dumps(deny))
    said = wrong_places(on_s3(house, reached, archive=archive, originals=plain))["archive store"]
    assert f"{archive} can be reached and not be written" in said
    assert "(s3:PutObject; a folder: write permission)" in said


@pytest.mark.parametrize(
    ("stage", "needed"), [("enforce", True), ("pilot, share: 1 %", True), ("observe", False)]
)
def test_a_bucket_without_versions_where_a_policy_lets_go(
    house: BuildHouse, reached: dict[str, Any], plain: str, stage: str, needed: bool
) -> None:
    made = on_s3(house, reached, archive=plain, originals=plain)
    assert wrong_places(made) == {}
    in_force(made, stage)
    found = wrong_places(made)
    assert found.keys() == ({ORIGINALS} if needed else set())
    if needed:
        assert "though policy line-1-originals version 1 lets it go: switch versioning on" in found[ORIGINALS]


def test_versions_that_were_asked_for_and_are_none(
    house: BuildHouse, reached: dict[str, Any], plain: str
) -> None:
    found = wrong_places(on_s3(house, reached, archive=plain, originals=plain, versioned=True))
    assert "gives its objects no versions, though collections.line-1.s3.versioned is set" in found[ORIGINALS]


def test_a_server_whose_clock_is_another(
    house: BuildHouse, reached: dict[str, Any], plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Early(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(minutes=10)

    made = on_s3(house, reached, archive=plain, originals=plain)
    monkeypatch.setattr(doctor_stores, "datetime", Early)
    said = wrong_places(made)["archive store"]
    assert "s behind ours: let both machines follow one time server" in said
    assert list(made.archive.list("doctor/")) == []


def test_a_folder_has_no_versions_either(house: BuildHouse, photos: Callable[..., Any]) -> None:
    photos(1)
    made = house()
    in_force(made, "enforce")
    assert "lets it go: move them to a bucket with versions" in wrong_places(made)[ORIGINALS]
