from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.pixels import to_rgb
from tests.core.compressor.pictures import gradient, saved

LIMITS = DecodeLimits()


def greys(data: bytes) -> list[int]:
    image = np.asarray(decode(data, LIMITS).image)
    assert (image[..., 0] == image[..., 1]).all()
    assert (image[..., 0] == image[..., 2]).all()
    return [int(value) for value in image[..., 0].reshape(-1)]


def row(values: list[float], dtype: Any) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=dtype))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "JPEG2000"])
def test_16_bits_are_divided_by_257_and_not_clipped(format: str) -> None:
    picture = Image.fromarray(np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]] * 4, np.uint16))
    assert greys(saved(picture, format))[:8] == [0, 0, 1, 1, 128, 254, 255, 255]


def test_a_big_endian_16_bit_tiff() -> None:
    little = saved(row([0, 257, 65535], np.uint16), "TIFF")
    picture = Image.frombytes("I;16B", (3, 1), np.array([0, 257, 65535], ">u2").tobytes())
    assert greys(saved(picture, "TIFF", big_tiff=False)) == greys(little) == [0, 1, 255]


def test_a_16_bit_pgm() -> None:
    assert greys(b"P5 3 1 65535\n" + np.array([0, 257, 65535], ">u2").tobytes()) == [0, 1, 255]
    assert greys(b"P5 3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes()) == [0, 128, 255]


def test_a_dark_16_bit_picture_stays_dark() -> None:
    assert greys(saved(row([0, 200, 255], np.uint16), "PNG")) == [0, 1, 1]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_by_percentiles_a_dark_16_bit_picture_shows_and_a_hot_pixel_does_not_count(format: str) -> None:
    values = [*range(1000, 2000), 65535, 0]
    decoded = decode(saved(row(values, np.uint16), format), LIMITS, grey="percentile")
    shown = list(np.asarray(decoded.image)[0, :, 0])
    low, high = 1004, 1995  # five of 1,002 lie below, and five above
    assert decoded.notes == (f"grey values stretched from {low}..{high}",)
    assert shown[:5] == [0] * 5
    assert shown[995:1001] == [255] * 6
    assert shown[500] == round((1500 - low) * 255 / (high - low))


def test_by_percentiles_any_numbers_and_none() -> None:
    def greys_by(values: list[float]) -> list[int]:
        shown = decode(saved(row(values, np.float32), "TIFF"), LIMITS, grey="percentile").image
        return [int(value) for value in np.asarray(shown)[0, :, 0]]

    assert greys_by([0.25, 0.5, 0.75]) == [0, 128, 255]
    assert greys_by([np.nan, 3.0, 4.0]) == [0, 0, 255]
    assert greys_by([np.nan, np.inf]) == [0, 0]
    assert greys_by([7.0, 7.0]) == [0, 0]


def test_8_bits_are_never_stretched() -> None:
    data = saved(Image.fromarray(np.array([[100, 101]], np.uint8)), "PNG")
    assert list(np.asarray(decode(data, LIMITS, grey="percentile").image)[0, :, 0]) == [100, 101]


def test_12_bits_in_a_tiff_fill_the_range() -> None:
    image = Image.frombytes("I;16", (3, 1), np.array([0, 2048, 4095], "<u2").tobytes())
    assert list(np.asarray(to_rgb(image, grey_bits=12)[0])[0, :, 0]) == [0, 128, 255]


def test_white_is_zero_in_a_deep_tiff_is_turned_over() -> None:
    data = bytearray(saved(row([0, 257, 65535], np.uint16), "TIFF"))
    tag = data.index((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[tag + 8] = 0
    assert greys(bytes(data)) == [255, 254, 0]


@pytest.mark.parametrize(
    ("values", "dtype", "expected", "note"),
    [
        ([0, 257, 65535], np.int32, [0, 1, 255], None),
        ([-100, 0, 100], np.int32, [0, 128, 255], "grey values stretched from -100..100"),
        ([0, 1_000_000, 2_000_000], np.int32, [0, 128, 255], "grey values stretched from 0..2e+06"),
        ([0.0, 0.5, 1.0], np.float32, [0, 128, 255], None),
        ([0.0, 100.0, 255.0], np.float32, [0, 100, 255], None),
        ([0.0, 257.0, 65535.0], np.float32, [0, 1, 255], None),
        ([-1.0, 0.0, 1.0], np.float32, [0, 128, 255], "grey values stretched from -1..1"),
        ([7.5, 7.5, 7.5], np.float32, [8, 8, 8], None),
        ([-5.0, -5.0, -5.0], np.float32, [0, 0, 0], "grey values stretched from -5..-5"),
        ([np.nan, 0.5, 1.0], np.float32, [128, 128, 255], None),
        ([np.inf, 0.5, -np.inf], np.float32, [128, 128, 128], None),
        ([np.nan, np.nan, np.nan], np.float32, [0, 0, 0], None),
    ],
)
def test_32_bit_greys_are_scaled_by_their_range(
    values: list[float], dtype: Any, expected: list[int], note: str | None
) -> None:
    data = saved(row(values, dtype), "TIFF")
    assert greys(data) == expected
    assert decode(data, LIMITS).notes == ((note,) if note else ())


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_lies_on_white(mode: str) -> None:
    black = Image.new(mode, (3, 1))
    black.putalpha(Image.fromarray(np.array([[0, 128, 255]], np.uint8)))
    for format in ("PNG", "WEBP") if mode == "RGBA" else ("PNG",):
        options = {"lossless": True} if format == "WEBP" else {}
        assert greys(saved(black, format, **options)) == [255, 127, 0]


def test_a_transparent_palette_entry_lies_on_white() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putdata([0, 1])
    for format in ("PNG", "GIF"):
        shown = decode(saved(picture, format, transparency=0), LIMITS).image
        assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (200, 100, 50)]
        plain = decode(saved(picture, format), LIMITS).image
        assert [plain.getpixel((x, 0)) for x in (0, 1)] == [(10, 20, 30), (200, 100, 50)]


def test_several_half_transparent_palette_entries() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 0, 0, 0])
    picture.putdata([0, 1])
    assert greys(saved(picture, "PNG", transparency=bytes([128, 255]))) == [127, 0]


def test_one_colour_declared_transparent_in_a_picture_without_alpha() -> None:
    picture = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    shown = decode(saved(picture, "PNG", transparency=(1, 2, 3)), LIMITS).image
    assert [shown.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (4, 5, 6)]


def test_one_bit() -> None:
    picture = Image.new("1", (2, 1))
    picture.putpixel((1, 0), 1)
    for format in ("PNG", "TIFF", "BMP", "PPM"):
        assert greys(saved(picture, format)) == [0, 255]


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_printers_colours_come_out_right_and_not_inverted(format: str) -> None:
    cyan = decode(saved(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), format), LIMITS).image
    red, green, blue = np.asarray(cyan)[8, 8]
    assert red < 10 < 245 < green
    assert blue > 245


def test_lab_becomes_rgb() -> None:
    white = Image.new("LAB", (2, 2), (255, 128, 128))
    shown = decode(saved(white, "TIFF"), LIMITS).image
    assert np.asarray(shown).min() > 250


def test_the_result_is_a_picture_of_its_own() -> None:
    source = gradient()
    shown, _ = to_rgb(source)
    source.putpixel((0, 0), (1, 1, 1))
    assert shown.getpixel((0, 0)) != (1, 1, 1)


def test_premultiplied_alpha_is_undone() -> None:
    assert np.asarray(to_rgb(Image.new("RGBa", (1, 1), (64, 64, 64, 128)))[0]).tolist() == [[[191, 191, 191]]]
    assert np.asarray(to_rgb(Image.new("La", (1, 1), (64, 128)))[0]).tolist() == [[[191, 191, 191]]]
