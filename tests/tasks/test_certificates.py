"""A certificate says what went and how that is known, and never more than that."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fwd2bot_core.audit.tlog_proof import parse
from fwd2bot_core.errors import NotInArchive
from infra.checkpoints import sign_checkpoint
from infra.retention_tables import certificates
from infra.tables import object_versions
from tasks.certificates import certificates_of
from tests.houses import COLLECTION, tiny_jpeg
from tests.tasks.disposals import World
from tests.tasks.steps import rows


def test_a_certificate_proves_both_events(world: World) -> None:
    world.list(world.numbers[:1])
    with pytest.raises(NotInArchive, match=r"no original of '0\.jpg' was destroyed"):
        certificates_of(world.house, "0.jpg")
    world.run()
    (one,) = certificates_of(world.house, "0.jpg")
    assert (one.proofs, one.bytes_are_gone, one.others) == ((), True, ())
    sign_checkpoint(world.house, reason="test")
    (one,) = certificates_of(world.house, "0.jpg")
    assert [parse(proof).index for proof in one.proofs] == [one.intended["seq"], one.confirmed["seq"]]
    assert one.as_json()["anchors"] == one.anchors
    assert one.confirmed["after"]["intent_seq"] == one.intended["seq"]
    assert rows(world.house, certificates)[0].confirmed_seq == world.row(1).destroyed_seq


@pytest.mark.parametrize("days", [None, 0, 7])
def test_a_certificate_says_when_the_providers_own_copies_may_end(
    world: World, monkeypatch: pytest.MonkeyPatch, days: int | None
) -> None:
    _, source = world.house.settings.collection(COLLECTION)
    told = {"collections": {COLLECTION: source.model_copy(update={"purge_days": days})}}
    monkeypatch.setitem(world.house.__dict__, "settings", world.house.settings.model_copy(update=told))
    world.list(world.numbers[:1])
    world.run()
    (one,) = certificates_of(world.house, "0.jpg")
    said = one.confirmed["after"].get("purge_not_before")
    if days is None:
        assert (one.purge_not_before, said) == (None, None)
    else:
        assert one.purge_not_before == one.deleted_at + timedelta(days=days) == datetime.fromisoformat(said)


def test_a_certificate_tells_of_copies_and_other_versions(world: World) -> None:
    world.store.hide("0.jpg")
    world.store.create("0.jpg", tiny_jpeg(7))
    world.list(world.numbers[:1])
    world.run()
    (one,) = certificates_of(world.house, "0.jpg")
    assert [other["marker"] for other in one.others] == [False, True]
    assert not one.bytes_are_gone
    same = world.row(1).content_sha256
    world.write(object_versions.update().where(object_versions.c.id == 2).values(content_sha256=same))
    assert certificates_of(world.house, same)[0].copies == 1
