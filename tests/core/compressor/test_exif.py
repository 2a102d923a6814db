"""DateTimeOriginal from headers, sound and hostile ones."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.exif import taken
from tests.houses import dated_photo, tiny_jpeg

LIMITS = DecodeLimits()
SAID = "2026:11:24 13:05:07"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_both_fields_are_read(format: str) -> None:
    assert taken(dated_photo(1, SAID, "+09:00", format=format), LIMITS) == (SAID, "+09:00")
    assert taken(dated_photo(1, SAID, format=format), LIMITS) == (SAID, None)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_no_field_is_no_date(format: str) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (8, 8)).save(sink, format)
    assert taken(sink.getvalue(), LIMITS) is None


def test_no_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {format: dated_photo(1, SAID, format=format) for format in ("JPEG", "PNG", "TIFF")}
    plain = tiny_jpeg(1)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    assert all(taken(one, LIMITS) == (SAID, None) for one in data.values())
    assert taken(plain, LIMITS) is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=12))
def test_damage_is_no_error(place: int, noise: bytes) -> None:
    data = bytearray(dated_photo(1, SAID, "+09:00"))
    place %= len(data)
    data[place : place + len(noise)] = noise
    found = taken(bytes(data), LIMITS)
    assert found is None or all(isinstance(one, str | None) for one in found)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"no image at all", tiny_jpeg(1)[:20]])
def test_what_is_no_image_says_nothing(data: bytes) -> None:
    assert taken(data, LIMITS) is None


def test_a_file_beyond_the_limit_is_not_looked_at() -> None:
    assert taken(dated_photo(1, SAID), DecodeLimits(max_bytes=10)) is None
