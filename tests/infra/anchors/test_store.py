"""Anchors that keep: a folder, a bucket, a locked bucket; what is in them is read back, hidden or not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwd2bot_core.audit.merkle import frontier_of
from fwd2bot_core.audit.tiles import SubtreeFromTiles, Tile
from fwd2bot_core.errors import IntegrityError, ObjectMissing, StoreError, StoreUnreachable
from infra.anchors import anchor_of
from infra.anchors.store import StoreAnchor, key_of
from infra.objects.file import FileStore
from infra.objects.protocol import ObjectInfo
from infra.settings import AnchorSettings
from tests.infra.anchored import files
from tests.infra.anchors.trees import Log
from tests.servers.seaweedfs import S3Server

_fresh = itertools.count()
Make = Callable[[], StoreAnchor]


def made(**given: object) -> StoreAnchor:
    anchor = anchor_of("vault", AnchorSettings(**given))  # type: ignore[arg-type]
    assert isinstance(anchor, StoreAnchor)
    return anchor


@pytest.fixture(scope="module")
def locked_bucket(s3_server: S3Server) -> str:
    s3_server.client().create_bucket(Bucket="anchors-locked", ObjectLockEnabledForBucket=True)
    return "anchors-locked"


@pytest.fixture(scope="module")
def open_bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket("anchors-open")


@pytest.fixture
def s3(s3_server: S3Server) -> dict[str, object]:
    return {
        "endpoint": s3_server.endpoint,
        "region": s3_server.region,
        "addressing": "path",
        "access_key_id": s3_server.access_key,
        "secret_access_key": s3_server.secret_key,
        "attempts": 2,
    }


@pytest.fixture(params=["directory", "memory", "open bucket", "locked bucket"])
def anchor(request: pytest.FixtureRequest, tmp_path: Path) -> StoreAnchor:
    if request.param == "directory":
        return made(kind="directory", place=str(tmp_path))
    if request.param == "memory":
        return made(kind="store", place=f"memory://anchor-{next(_fresh)}")
    bucket = request.getfixturevalue(request.param.replace(" ", "_"))
    return made(
        kind="store",
        place=f"s3://{bucket}/log{next(_fresh)}",
        s3=request.getfixturevalue("s3"),
        retain_days=30,
    )


@pytest.fixture
def locked(locked_bucket: str, s3: dict[str, object]) -> StoreAnchor:
    return made(kind="store", place=f"s3://{locked_bucket}/log{next(_fresh)}", s3=s3, retain_days=30)


def put(anchor: StoreAnchor, log: Log, size: int) -> str:
    anchor.publish(log.note(size), log.checkpoint(size), log)
    return log.note(size)


def test_what_was_published_is_there_and_its_tiles_give_the_root(anchor: StoreAnchor) -> None:
    log = Log(600)
    assert (list(anchor.held()), anchor.newest()) == ([], [])
    notes = [put(anchor, log, size) for size in (1, 200, 300, 600)]
    held = list(anchor.held())
    assert [(one.size, one.note) for one in held] == list(zip((1, 200, 300, 600), notes, strict=True))
    assert anchor.newest() == held[-1:]
    assert held[-1].place == anchor.at(600)
    assert anchor.read("checkpoint").decode() == notes[-1]
    for size in (1, 200, 300, 600):
        subtree = SubtreeFromTiles(anchor.read, size).subtree
        assert frontier_of(size, subtree).root() == log.checkpoint(size).root
    with pytest.raises(ObjectMissing):
        anchor.read("tile/0/009")


def test_publishing_twice_changes_nothing(anchor: StoreAnchor) -> None:
    log = Log(300)
    first = anchor.publish(log.note(300), log.checkpoint(300), log)
    again = anchor.publish(log.note(300), log.checkpoint(300), log)
    assert (first.place, first.evidence) == (again.place, again.evidence)
    assert len(list(anchor.held())) == 1


def test_a_late_older_checkpoint_does_not_take_the_place_of_the_newest(anchor: StoreAnchor) -> None:
    log = Log(20)
    newest = put(anchor, log, 20)
    put(anchor, log, 10)
    assert anchor.read("checkpoint").decode() == newest
    assert [one.size for one in anchor.held()] == [10, 20]


def test_another_log_is_refused_and_nothing_overwritten(anchor: StoreAnchor) -> None:
    put(anchor, Log(300), 300)
    other = Log(300, "other")
    with pytest.raises(IntegrityError, match="holds another checkpoint of the same size"):
        put(anchor, other, 300)
    put(anchor, Log(300), 100)
    anchor._keep_tile(Tile(0, 1), other.subtree(0, 256) * 256)  # of a publication that was cut off
    with pytest.raises(IntegrityError, match="tile/0/001 holds other hashes"):
        put(anchor, Log(600), 600)
    assert anchor.newest()[0].note == Log(300).note(300)


def test_a_publication_that_was_cut_off_is_finished(
    anchor: StoreAnchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(600)

    def cut(*_: object) -> ObjectInfo:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(anchor, "_keep_note", cut)
        with pytest.raises(KeyboardInterrupt):
            put(anchor, log, 600)
    assert list(anchor.held()) == []
    put(anchor, log, 600)
    assert [one.size for one in anchor.held()] == [600]


def test_the_doctors_probe_shows_that_nothing_is_overwritten(anchor: StoreAnchor) -> None:
    put(anchor, Log(5), 5)
    for _ in range(2):
        assert "holds 1 checkpoints and takes create-only puts" in anchor.examine()


# folders


def test_a_folder_is_never_made(tmp_path: Path) -> None:
    gone = made(kind="directory", place=str(tmp_path / "not-mounted"))
    for use in (lambda: list(gone.held()), gone.examine, lambda: put(gone, Log(1), 1)):
        with pytest.raises(StoreUnreachable, match="mount its disk"):
            use()
    assert not (tmp_path / "not-mounted").exists()


def test_the_layout_is_that_of_tlog_tiles(tmp_path: Path) -> None:
    put(made(kind="directory", place=str(tmp_path)), Log(300), 300)
    assert files(tmp_path).keys() == {
        "checkpoint",
        f"checkpoints/{300:020}",
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
    }


def test_what_lies_there_and_is_no_note_is_still_seen(tmp_path: Path) -> None:
    anchor = made(kind="directory", place=str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / key_of(7)).write_bytes(b"\xff\xfe")
    (tmp_path / key_of(8)).write_bytes(b"x" * 1_000_000)
    (tmp_path / "checkpoints" / "README").write_text("not ours")
    assert [(one.size, one.note) for one in anchor.held()] == [(7, ""), (8, "")]


def test_a_store_that_overwrites_is_no_anchor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileStore, "create", FileStore.replace)
    with pytest.raises(StoreError, match="do not use it as anchor"):
        made(kind="directory", place=str(tmp_path)).examine()


# locks


def test_a_locked_bucket_says_until_when(locked: StoreAnchor, s3_server: S3Server) -> None:
    log = Log(3)
    receipt = locked.publish(log.note(3), log.checkpoint(3), log)
    assert receipt.retain_until is not None
    assert abs(receipt.retain_until - datetime.now(UTC) - timedelta(days=30)) < timedelta(minutes=5)
    bucket, _, prefix = locked.place.removeprefix("s3://").partition("/")
    client = s3_server.client()
    for key in (key_of(3), "tile/0/000.p/3"):
        head = client.head_object(Bucket=bucket, Key=f"{prefix}/{key}")
        assert head["ObjectLockMode"] == "COMPLIANCE"
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key=f"{prefix}/{key_of(3)}", VersionId=receipt.evidence)
    assert "locked for 30 days (COMPLIANCE)" in locked.examine()


def test_governance_only_where_the_settings_say_so(
    locked_bucket: str, s3: dict[str, object], s3_server: S3Server
) -> None:
    place = f"s3://{locked_bucket}/governed"
    anchor = made(kind="store", place=place, s3=s3, retain_days=3, retain_mode="governance")
    put(anchor, Log(1), 1)
    head = s3_server.client().head_object(Bucket=locked_bucket, Key=f"governed/{key_of(1)}")
    assert head["ObjectLockMode"] == "GOVERNANCE"


def test_a_bucket_without_locks_promises_none(open_bucket: str, s3: dict[str, object]) -> None:
    anchor = made(kind="store", place=f"s3://{open_bucket}/log", s3=s3)
    log = Log(1)
    assert anchor.publish(log.note(1), log.checkpoint(1), log).retain_until is None
    assert "nothing but access rights" in anchor.examine()


def test_a_checkpoint_under_a_delete_marker_is_still_held(locked: StoreAnchor, s3_server: S3Server) -> None:
    """Nobody can delete a locked version; but anybody with write access can hide it and put another one there."""
    log, forged = Log(3), Log(3, "forged")
    put(locked, log, 3)
    bucket, _, prefix = locked.place.removeprefix("s3://").partition("/")
    client = s3_server.client()
    client.delete_object(Bucket=bucket, Key=f"{prefix}/{key_of(3)}")
    assert [one.note for one in locked.newest()] == [log.note(3)]
    client.put_object(Bucket=bucket, Key=f"{prefix}/{key_of(3)}", Body=forged.note(3).encode())
    assert {one.note for one in locked.newest()} == {log.note(3), forged.note(3)}
    assert len({one.evidence for one in locked.held()}) == 2
