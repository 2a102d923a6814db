"""The certificate of an erasure names no photo, and proves its events."""

from __future__ import annotations

import json

import pytest

from fwd2bot_core.errors import UsageError
from tasks.erasure_certificate import certificate_of
from tests.tasks.disposals import World
from tests.tasks.erasures import approved, carried_out
from tests.tasks.steps import events


def test_of_one_that_is_done(place: World) -> None:
    made = approved(place, "1.jpg")
    with pytest.raises(UsageError, match="approved, so there is no certificate"):
        certificate_of(place.house, made.id)
    carried_out(place, made.id)
    found = certificate_of(place.house, made.id)
    (done,) = events(place.house, "erasure.done")
    intended = [event["seq"] for event in events(place.house, "erasure.intended")]
    assert (found.objects, found.shards, found.done) == (2, 2, done)
    assert [found.first_intent, found.last_intent] == intended
    assert (len(found.proofs), len(found.anchors)) == (2, 1)
    said = json.dumps(found.as_json())
    assert "jpg" not in said
