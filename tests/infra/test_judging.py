"""Which images are judged, and what a comparison that fails costs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Prepared
from fwd2bot_core.errors import UsageError
from fwd2bot_core.tokens.fidelity import Finding
from fwd2bot_core.work import Unit
from infra.judging import UNJUDGED, Probing, judged
from tests.houses import tiny_jpeg

PROBES = ("is it whole ?",)


def unit(number: int) -> Unit:
    return Unit(1, "a", "a.jpg", "v", 1, datetime(2026, 1, 1, tzinfo=UTC), number.to_bytes(16, "big"))


def test_nobody_is_judged_unless_it_is_asked_for() -> None:
    assert UNJUDGED.asked(FakeCompressor()) == ()
    assert not any(UNJUDGED.chooses(unit(n)) for n in range(100))


def test_a_share_is_a_share_and_a_larger_one_holds_it() -> None:
    few, more = ({n for n in range(2000) if Probing(s).chooses(unit(n))} for s in (0.1, 0.3))
    assert len(few) == pytest.approx(200, abs=60)
    assert few < more
    assert few == {n for n in range(2000) if Probing(0.1).chooses(unit(n))}
    assert all(Probing(1.0).chooses(unit(n)) for n in range(100))


def test_a_collections_own_probes_come_before_the_bundles() -> None:
    fake = FakeCompressor()
    assert Probing(1.0).asked(fake) == fake.fidelity_probes
    assert Probing(1.0, PROBES).asked(fake) == PROBES


class Failing(FakeCompressor):
    """Cannot compare pictures whose first byte of pixels it was told."""

    def __init__(self, bad: set[int], error: Exception | None = None) -> None:
        super().__init__()
        self.bad, self.error = bad, error or RuntimeError("out of memory")

    def compare(
        self, tokens: npt.NDArray[Any], images: Sequence[Prepared], questions: Sequence[str]
    ) -> list[list[Finding]]:
        if any(image.width in self.bad for image in images):
            raise self.error
        return super().compare(tokens, images, questions)


def pictures(fake: FakeCompressor) -> tuple[list[Prepared], npt.NDArray[Any]]:
    found = [fake.prepare(tiny_jpeg(number)) for number in range(4)]
    images = [Prepared(p.pixels, number, p.height, p.format) for number, p in enumerate(found)]
    return images, fake.compress(images).tokens


def test_an_image_is_as_faithful_as_its_own_tokens() -> None:
    images, stored = pictures(FakeCompressor())
    assert [f.score for f in judged(FakeCompressor(), images, stored, PROBES) if f] == [1.0] * 4
    stored[2] += np.float32(0.5)
    scores = [f.score for f in judged(FakeCompressor(), images, stored, PROBES) if f]
    assert scores[2] <= 0.76
    assert judged(FakeCompressor(), [], stored[:0], PROBES) == []


def test_one_image_that_cannot_be_compared_is_unknown_and_takes_nobody_with_it() -> None:
    fake = Failing({2})
    images, stored = pictures(fake)
    assert [f is None for f in judged(fake, images, stored, PROBES)] == [False, False, True, False]
    assert judged(fake, images[2:3], stored[2:3], PROBES) == [None]


def test_several_that_cannot_be_compared_are_unknown_and_fail_nothing() -> None:
    fake = Failing({0, 1, 2, 3})
    assert judged(fake, *pictures(fake), PROBES) == [None] * 4


def test_a_probe_that_cannot_be_read_is_the_askers_fault_at_once() -> None:
    fake = Failing({0}, UsageError("the text is 99 tokens long"))
    images, stored = pictures(fake)
    with pytest.raises(UsageError):
        judged(fake, images[:1], stored[:1], PROBES)
