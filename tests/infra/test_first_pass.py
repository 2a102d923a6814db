"""A full device gets fewer images at a time; a bad image is found among good ones all the same."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Prepared, Summary
from fwd2bot_core.errors import DeviceMemoryFull
from fwd2bot_core.work import Reject, Unit
from infra.first_pass import FirstPass
from infra.reading import Fetched
from tests.core.compressor.pictures import gradient, saved

FAKE = FakeCompressor()
BAD = 13  # the width of a picture that the model cannot bear


class Small(FakeCompressor):
    """Holds ``most`` images at a time; counts what it was given."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.sizes: list[int] = []

    def compress(self, images: Sequence[Prepared]) -> Summary:
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise DeviceMemoryFull(f"{len(images)} images at a time are too many for the GPU")
        if any(image.width == BAD for image in images):
            raise RuntimeError("no such picture")
        return super().compress(images)


def group(*widths: int) -> list[Fetched]:
    return [fetched(number, width) for number, width in enumerate(widths, start=1)]


def fetched(number: int, width: int) -> Fetched:
    written = datetime(2026, 11, 24, tzinfo=UTC)
    unit = Unit(number, "line-1", f"{number}.png", "v1", 1, written, bytes(16))
    picture = FAKE.prepare(saved(gradient(width, 8), "PNG"))
    return Fetched(unit, "0" * 64, 1, picture, None, fetch_seconds=0, decode_seconds=0)


def test_a_full_device_gets_half_as_many_and_goes_on_with_those(caplog: pytest.LogCaptureFixture) -> None:
    small = Small(3)
    forward = FirstPass(small)
    items = group(*range(20, 32))
    with caplog.at_level(logging.WARNING):
        passed = forward(items)
    assert [item for some, _ in passed for item in some] == items
    assert all(isinstance(result, Summary) for _, result in passed)
    assert small.sizes == [12, 6, 3, 3, 3, 3]
    assert forward.most == 3
    assert "going on with 3" in caplog.text
    small.sizes.clear()
    forward(items[:7])
    assert small.sizes == [3, 3, 1]  # remembered: the device is not filled again


def test_the_next_batch_begins_with_whole_micro_batches_again() -> None:
    small = Small(2)
    FirstPass(small)(group(20, 21, 22))
    small.most, small.sizes = 8, []
    FirstPass(small)(group(20, 21, 22))
    assert small.sizes == [3]


def test_tokens_are_those_of_a_device_that_holds_all() -> None:
    items = group(20, 21, 22, 23, 24)
    ((_, whole),) = FirstPass(FAKE)(items)
    parts = FirstPass(Small(1))(items)
    assert isinstance(whole, Summary)
    for row, (_, part) in enumerate(parts):
        assert isinstance(part, Summary)
        assert (part.tokens[0] == whole.tokens[row]).all()


def test_a_bad_image_among_good_ones_on_a_small_device() -> None:
    items = group(20, 21, BAD, 22, 23)
    passed = FirstPass(Small(2))(items)
    refused = [some for some, result in passed if isinstance(result, Reject)]
    assert refused == [[items[2]]]
    assert sum(len(some) for some, _ in passed) == 5


def test_one_image_that_never_fits_is_rejected_and_says_so() -> None:
    """When another one went through before: only then it is the image that is too large."""

    class Wide(FakeCompressor):
        def compress(self, images: Sequence[Prepared]) -> Summary:
            if any(image.width == BAD for image in images):
                raise DeviceMemoryFull("1 images at a time are too many for the GPU")
            return super().compress(images)

    items = group(20, BAD)
    passed = FirstPass(Wide())(items)
    ((_, reject),) = [one for one in passed if isinstance(one[1], Reject)]
    assert isinstance(reject, Reject)
    assert "too many for the GPU" in reject.detail


def test_a_device_that_another_program_fills_is_the_batchs_error_and_no_images() -> None:
    small = Small(8)
    forward = FirstPass(small)
    forward(group(20, 21))
    small.most = 0
    with pytest.raises(DeviceMemoryFull):
        forward(group(22, 23))
