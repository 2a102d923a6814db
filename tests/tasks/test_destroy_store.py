"""Against a real S3 server: what goes is gone for certain; what is locked, held or hidden is what the server says."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import tasks.destroy
from infra.objects.s3 import S3Store
from tasks.certificates import certificates_of
from tasks.destroy import execute
from tests.servers.seaweedfs import S3Server
from tests.tasks.disposals import World, make_world

_fresh = itertools.count()
KEY = "0.jpg"


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    s3_server.client().create_bucket(Bucket="originals", ObjectLockEnabledForBucket=True)
    return "originals"


@pytest.fixture
def world(
    tmp_path: Path, bucket: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    reached = {
        "endpoint": s3_server.endpoint, "region": s3_server.region, "addressing": "path", "versioned": True,
        "access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key, "attempts": 2,
    }  # fmt: skip
    monkeypatch.setenv("FWD2BOT_COLLECTIONS", json.dumps({"line-1": {"s3": reached}}))
    originals = {"originals": f"s3://{bucket}/root{next(_fresh)}"}
    made = make_world(
        tmp_path / "w", f"sqlite:///{tmp_path}/w/ledger.sqlite", monkeypatch, photos=2, originals=originals
    )
    yield made
    made.house.ledger.close()


def named(world: World, number: int = 0) -> dict[str, Any]:
    """One original's version, as the server's own client names it."""
    row = world.row(world.numbers[number])
    bucket, _, prefix = world.store.uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/{row.key}", "VersionId": row.identity.removeprefix("v:")}


def test_what_goes_is_gone_for_certain(world: World, s3_server: S3Server) -> None:
    world.may_go = set(world.numbers)
    world.list(world.numbers)
    client = s3_server.client()
    named_, marker = named(world), None
    del named_["VersionId"]
    client.put_object(**named_, Body=b"another version of it")
    marker = client.delete_object(**named_)["VersionId"]
    assert isinstance(world.store, S3Store)
    done = world.run()
    assert (done.destroyed, world.states(), world.violations()) == (2, ["destroyed"] * 2, [])
    left = client.list_object_versions(Bucket=named_["Bucket"], Prefix=named_["Key"])
    assert len(left["Versions"]) == 1
    first, second = (certificates_of(world.house, f"{number}.jpg")[0] for number in range(2))
    assert {other["marker"] for other in first.others} == {True, False}
    assert marker in {other["version"] for other in first.others}
    assert (first.bytes_are_gone, second.bytes_are_gone) == (False, True)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_what_the_store_locks_stays(world: World, s3_server: S3Server, mode: str) -> None:
    world.may_go = set(world.numbers[1:])
    world.list(world.numbers)
    until = datetime.now(UTC) + timedelta(days=1)
    s3_server.client().put_object_retention(
        **named(world), Retention={"Mode": mode, "RetainUntilDate": until}
    )
    world.run()
    assert (world.states(), world.reasons()) == (["blocked", "destroyed"], ["store-lock", None])
    assert world.violations() == []


def test_a_hold_between_intent_and_delete_saves_it(world: World, s3_server: S3Server) -> None:
    """The server's flag alone, as when compliance sets it there by hand while a run is under way."""
    world.may_go = set(world.numbers[1:])
    world.list(world.numbers)

    def reach(step: str) -> None:
        if step == "destroy.anchored":
            s3_server.client().put_object_legal_hold(**named(world), LegalHold={"Status": "ON"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks.destroy, "reach", reach)
        world.run()
    assert (world.states(), world.reasons()) == (["blocked", "destroyed"], ["store-lock", None])
    assert world.violations() == []


def test_a_hold_of_the_ledger_between_intent_and_delete_saves_it(world: World) -> None:
    world.may_go = set(world.numbers[1:])
    world.list(world.numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tasks.destroy,
            "reach",
            lambda step: world.hold(world.numbers[0]) if step == "destroy.anchored" else None,
        )
        world.run()
    assert (world.states(), world.reasons()) == (["blocked", "destroyed"], ["hold", None])
    assert world.violations() == []


def test_what_is_gone_before_is_missing(world: World, s3_server: S3Server) -> None:
    world.may_go = set(world.numbers)
    world.list(world.numbers)
    shown = execute(world.house, "list-1")
    s3_server.client().delete_object(**named(world))
    execute(world.house, "list-1", token=shown.token, dry_run=False)
    assert (world.states(), world.violations()) == (["missing", "destroyed"], [])
