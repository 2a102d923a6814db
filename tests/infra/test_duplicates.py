"""Equal bytes pass the model once, and get equal numbers; nothing else changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

import infra.duplicates
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Prepared, Summary
from fwd2bot_core.errors import RejectReason
from fwd2bot_core.work import Reject, Unit
from infra.duplicates import OncePerContent, side_by_side
from infra.first_pass import FirstPass
from infra.reading import Fetched
from tests.core.compressor.pictures import gradient, saved

BAD = 13


class Counting(FakeCompressor):
    def __init__(self) -> None:
        super().__init__()
        self.passed = 0

    def compress(self, images: Sequence[Prepared]) -> Summary:
        if any(image.width == BAD for image in images):
            raise RuntimeError("no such picture")
        self.passed += len(images)
        return super().compress(images)


def fetched(number: int, width: int) -> Fetched:
    """Equal widths are equal bytes; every size is 100, so that only the bytes tell."""
    unit = Unit(number, "line-1", f"{number}.png", "v:1", 100, datetime(2026, 11, 24, tzinfo=UTC), bytes(16))
    picture = Counting().prepare(saved(gradient(width, 8), "PNG"))
    return Fetched(unit, f"{width:064}", 100, picture, None, fetch_seconds=0, decode_seconds=0)


def passing(*widths: int, model: Counting) -> tuple[OncePerContent, list[Fetched]]:
    items = [fetched(number, width) for number, width in enumerate(widths, start=1)]
    return OncePerContent(FirstPass(model), [item.unit for item in items]), items


def rows(passed: list[tuple[list[Fetched], Summary | Reject]]) -> dict[int, bytes]:
    return {
        item.unit.object_version_id: result.tokens[at].tobytes() + result.pooled[at].tobytes()
        for items, result in passed
        if isinstance(result, Summary)
        for at, item in enumerate(items)
    }


def test_copies_within_and_beyond_a_micro_batch_need_no_pass() -> None:
    model = Counting()
    once, items = passing(20, 21, 20, 22, 20, 21, model=model)
    found = rows(once(items[:3])) | rows(once(items[3:]))
    assert (model.passed, once.copied) == (3, 3)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert found[1] == found[3] == found[5]
    assert found[2] == found[6] != found[1]


def test_an_image_of_its_own_size_is_not_remembered() -> None:
    model = Counting()
    item = fetched(1, 20)
    other = replace(fetched(2, 20), unit=replace(item.unit, object_version_id=2, size=7), size=7)
    once = OncePerContent(FirstPass(model), [item.unit, other.unit])
    once([item])
    once([other])
    assert (model.passed, once._known) == (2, {})


def test_a_copy_of_what_the_model_cannot_bear_has_its_own_try() -> None:
    model = Counting()
    once, items = passing(20, BAD, BAD, model=model)
    passed = once(items)
    rejected = [
        (some[0].unit.object_version_id, result.reason)
        for some, result in passed
        if isinstance(result, Reject)
    ]
    assert rejected == [(2, RejectReason.INTERNAL), (3, RejectReason.INTERNAL)]
    assert sorted(rows(passed)) == [1]


def test_memory_stays_flat_where_all_images_are_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Counting()
    once, items = passing(*range(20, 40), 39, 20, model=model)
    row = len(rows(OncePerContent(FirstPass(Counting()), [])(items[:1]))[1])
    monkeypatch.setattr(infra.duplicates, "MOST", 3 * row)
    found = {}
    for item in items:
        found |= rows(once([item]))
        assert len(once._known) <= 3
    assert once.copied == 1  # 39, which was last; 20 was forgotten and has passed again
    assert found[22] == found[1]
    assert np.frombuffer(found[21], np.uint8).tobytes() == found[20]


def test_what_may_be_equal_is_planned_side_by_side() -> None:
    units = [
        replace(fetched(number, 20).unit, size=size) for number, size in enumerate([5, 9, 7, 9, 5], start=1)
    ]
    assert [unit.object_version_id for unit in side_by_side(units)] == [1, 5, 2, 4, 3]
