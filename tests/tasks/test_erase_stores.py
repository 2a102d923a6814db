"""Originals of an erasure: on a real store with versions, on one without, and lists that name them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from fwd2bot_core.errors import UsageError
from fwd2bot_core.retention.erasure import statement
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.objects.memory import MemoryStore
from infra.retention_tables import disposition_lists
from tasks import erase_stores, people
from tasks.disposition_view import lines
from tasks.erase import erase
from tasks.erasure import approve, plan
from tasks.verify import verify
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.servers.seaweedfs import S3Server
from tests.tasks.disposals import World, make_world
from tests.tasks.erasures import approved, carried_out, furnish, sound
from tests.tasks.signers import Signer
from tests.tasks.steps import events, rows


def test_on_a_real_store_with_versions(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, client = f"erase-{uuid4().hex[:8]}", s3_server.client()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3 = {
        "endpoint": s3_server.endpoint, "region": s3_server.region, "addressing": "path", "versioned": True,
        "access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key,
    }  # fmt: skip
    monkeypatch.setenv("FWD2BOT_COLLECTIONS", json.dumps({COLLECTION: {"s3": s3}}))
    file, originals = f"sqlite:///{tmp_path}/w/ledger.sqlite", {"originals": f"s3://{bucket}"}
    place = furnish(make_world(tmp_path / "w", file, monkeypatch, originals=originals))
    client.put_object(Bucket=bucket, Key="1.jpg", Body=tiny_jpeg(1))  # again, and nobody listed it
    client.delete_object(Bucket=bucket, Key="1.jpg")  # a delete marker
    made = approved(place, "1.jpg")
    assert carried_out(place, made.id).done
    left = client.list_object_versions(Bucket=bucket)
    assert {one["Key"] for one in left["Versions"]} == {"0.jpg", "2.jpg"}
    assert "DeleteMarkers" not in left
    assert sound(place)
    place.house.ledger.close()


def test_a_plain_folder_is_somebody_elses_to_delete_from(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    files = photos(2)
    made = house(**{"audit.anchors.vault": {"kind": "directory", "place": "vault"}})
    (files[0].parents[1] / "vault").mkdir()
    night(made)
    signer = Signer()
    people.register(made.ledger, "Nika", Signer().public, [Role.COMPLIANCE])
    people.register(made.ledger, "Ann", signer.public, [Role.APPROVER])
    planned = plan(made, "Nika", "r", ["0000.jpg"])
    approve(made, planned.id, "Ann", "s", signer.sign(statement(planned.id, planned.sha256, "Ann", "s")))
    found = erase(made, planned.id, token=erase(made, planned.id).token, dry_run=False)
    assert [one.what for one in found.left] == [f"0000.jpg: {erase_stores.BY_HAND}"]
    assert files[0].exists()
    files[0].unlink()
    assert erase(made, planned.id, token=erase(made, planned.id).token, dry_run=False).done
    assert verify(made.ledger, made.archive).findings == ()


def test_the_lines_of_ended_lists_go_and_what_was_signed_stays(place: World) -> None:
    place.list([place.numbers[1], place.numbers[2]], state="expired")
    made = approved(place, "1.jpg")
    assert carried_out(place, made.id).lists == 1
    (row,) = rows(place.house, disposition_lists)
    assert (row.path, len(row.sha256)) == ("erased:list-1", 64)
    with pytest.raises(UsageError, match="erased since"):
        list(lines(place.house, "list-1"))
    (event,) = events(place.house, "list.redacted")
    assert event["subject"] == {"list": "list-1", "list_sha256": row.sha256}


def test_a_store_that_does_not_answer_is_not_empty(place: World) -> None:
    made = approved(place, "0.jpg")
    place.store.answers = {0: "effect-timeout"}
    place.store.deaf = 0
    found = carried_out(place, made.id)
    assert found.done  # the deletion was not answered, and asking again shows that it took place
    assert MemoryStore.versions_of(place.store, "0.jpg") == []
