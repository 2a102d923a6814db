from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from fwd2bot_core.compressor import decode as module
from fwd2bot_core.compressor.decode import Decoded, DecodeLimits, decode
from fwd2bot_core.compressor.formats import READABLE
from fwd2bot_core.errors import ImageRejected, RejectReason
from tests.core.compressor.pictures import gradient, png_bomb, png_chunk, saved, valid_files, with_png_chunk

LIMITS = DecodeLimits()
VALID = valid_files()


def pixels(found: Decoded) -> np.ndarray[Any, Any]:
    return np.asarray(found.image).astype(int)


def rejection(data: bytes, limits: DecodeLimits = LIMITS) -> ImageRejected:
    with pytest.raises(ImageRejected) as caught:
        decode(data, limits)
    return caught.value


@pytest.mark.parametrize("name", VALID)
def test_every_readable_format_gives_the_picture_that_was_saved(name: str) -> None:
    found = decode(VALID[name], LIMITS)
    assert (found.image.mode, found.image.size) == ("RGB", (24, 16))
    assert (found.width, found.height, found.format) == (24, 16, name.split()[0])
    if name != "PNG 16 bits":
        tolerance = 60 if "palette" in name or "GIF" in name else 24
        difference = np.abs(pixels(found) - np.asarray(gradient()).astype(int))
        assert np.median(difference) <= tolerance / 2
        assert np.percentile(difference, 90) <= tolerance


def test_the_files_above_cover_every_readable_format() -> None:
    assert {name.split()[0] for name in VALID} == set(READABLE)


@pytest.mark.parametrize("name", [n for n in VALID if "animated" in n or "pages" in n or "MPO" in n])
def test_the_first_of_several_frames_is_used_and_noted(name: str) -> None:
    found = decode(VALID[name], LIMITS)
    assert found.notes == ("the first of several frames or pages",)
    first = pixels(found)
    assert first[0, 0, 0] < 80
    assert first[0, -1, 0] > 175  # the second frame is the first one turned around


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "AVIF"])
def test_a_single_picture_needs_no_note(name: str) -> None:
    assert decode(VALID[name], LIMITS).notes == ()


def test_a_broken_second_frame_does_not_cost_the_first() -> None:
    cut = decode(VALID["GIF animated"][:-60], LIMITS)
    assert cut.notes == ("the first of several frames or pages",)
    assert (pixels(cut) == pixels(decode(VALID["GIF animated"], LIMITS))).all()


@pytest.mark.parametrize(
    ("data", "reason", "says"),
    [
        (b"", RejectReason.EMPTY, "no bytes"),
        (b"Shift report, line 4: all well.\n" * 20, RejectReason.NOT_AN_IMAGE, "text"),
        (b"<!DOCTYPE html><title>404</title>", RejectReason.NOT_AN_IMAGE, "web page"),
        (b"%PDF-1.7\n", RejectReason.NOT_AN_IMAGE, "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", RejectReason.NOT_AN_IMAGE, "EPS"),
        (b"BMW 320d, paint shop", RejectReason.NOT_AN_IMAGE, "text"),
        (b"P5 is the fifth press", RejectReason.NOT_AN_IMAGE, "text"),
        (bytes(5000), RejectReason.NOT_AN_IMAGE, "zero bytes"),
        (b"\x01\x02\x03", RejectReason.NOT_AN_IMAGE, "01 02 03"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", RejectReason.NOT_AN_IMAGE, "video"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), RejectReason.NO_DECODER, "pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix" + bytes(99), RejectReason.NO_DECODER, "HEIC"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", RejectReason.NO_DECODER, "rawpy"),
        (b"\xff\x0a" + bytes(99), RejectReason.NO_DECODER, "pillow-jxl-plugin"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), RejectReason.NO_DECODER, "JPEG XL"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), RejectReason.NO_DECODER, "CR2"),
        (bytes(128) + b"DICM" + bytes(99), RejectReason.NO_DECODER, "pydicom"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', RejectReason.NO_DECODER, "SVG"),
        (b"8BPS\0\x01", RejectReason.NO_DECODER, "Photoshop"),
    ],
)
def test_what_is_no_readable_picture_says_what_it_is(data: bytes, reason: RejectReason, says: str) -> None:
    found = rejection(data)
    assert found.reason is reason
    assert says in found.detail


def test_a_format_that_this_pillow_was_built_without_is_not_called_damaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("PIL.features.check", lambda feature: feature != "avif")
    found = rejection(VALID["AVIF"])
    assert found.reason is RejectReason.NO_DECODER
    assert "AVIF" in found.detail


@pytest.mark.parametrize("name", VALID)
def test_the_beginning_of_a_file_is_truncated(name: str) -> None:
    beginning = VALID[name][: max(16, len(VALID[name]) // 8)]
    assert rejection(beginning).reason is RejectReason.TRUNCATED


def test_a_photo_cut_off_near_its_end_is_not_filled_with_grey() -> None:
    noise = np.random.default_rng(7).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), "JPEG", quality=90)
    found = rejection(data[:-2000])
    assert found.reason is RejectReason.TRUNCATED
    assert "truncated" in found.detail
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_only_magic_bytes_are_truncated() -> None:
    for data in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"RIFF\0\0\0\0WEBP"):
        assert rejection(data).reason is RejectReason.TRUNCATED


def test_a_bomb_is_refused_from_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: object) -> None:
        raise AssertionError("a pixel was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    found = rejection(png_bomb(30_000, 30_000))
    assert found.reason is RejectReason.TOO_MANY_PIXELS
    assert found.detail == "30,000 x 30,000 pixels; the limit is 100,000,000"


def test_the_limit_is_ours_and_may_lie_above_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    picture = saved(gradient(30, 20), "WEBP")
    assert decode(picture, DecodeLimits(max_pixels=600)).image.size == (30, 20)
    assert rejection(picture, DecodeLimits(max_pixels=599)).reason is RejectReason.TOO_MANY_PIXELS


def test_a_file_above_the_byte_limit_is_not_parsed() -> None:
    found = rejection(VALID["BMP"], DecodeLimits(max_bytes=100))
    assert found.reason is RejectReason.TOO_MANY_BYTES
    assert "100" in found.detail


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    upright = gradient(32, 16)
    undo: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda i: i,
        2: lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda i: i.transpose(Image.Transpose.ROTATE_180),
        4: lambda i: i.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda i: i.transpose(Image.Transpose.TRANSPOSE),
        6: lambda i: i.transpose(Image.Transpose.ROTATE_90),
        7: lambda i: i.transpose(Image.Transpose.TRANSVERSE),
        8: lambda i: i.transpose(Image.Transpose.ROTATE_270),
    }
    found = decode(saved(undo[orientation](upright), format, exif=exif), LIMITS)
    assert (found.width, found.height) == found.image.size == (32, 16)
    corners = (slice(2, None, 11), slice(2, None, 27))
    assert np.abs(pixels(found)[corners] - np.asarray(upright).astype(int)[corners]).max() < 50


def test_broken_exif_does_not_cost_a_readable_picture() -> None:
    broken = b"Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(range(200))
    for format in ("JPEG", "PNG", "WEBP"):
        data = saved(gradient(), format, exif=broken if format != "PNG" else broken[6:])
        assert decode(data, LIMITS).image.size == (24, 16)


def test_a_broken_colour_profile_does_not_cost_a_readable_picture() -> None:
    for format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        data = saved(gradient(), format, icc_profile=b"no profile" * 20)
        assert decode(data, LIMITS).image.size == (24, 16)


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"iCCP", b"huge\0\0" + zlib.compress(bytes(80_000_000))),
        png_chunk(b"zTXt", b"huge\0\0" + zlib.compress(bytes(80_000_000))),
        png_chunk(b"tEXt", b"wrong checksum\0x")[:-1] + b"\0",
        png_chunk(b"pHYs", b"short"),
    ],
    ids=["profile bomb", "text bomb", "wrong checksum", "short chunk"],
)
def test_damaged_metadata_of_a_png_is_left_out_and_noted(chunk: bytes) -> None:
    found = decode(with_png_chunk(VALID["PNG"], chunk), LIMITS)
    assert (pixels(found) == np.asarray(gradient())).all()
    assert found.notes in (("metadata unreadable",), ())


def test_the_png_without_its_metadata_must_still_be_whole() -> None:
    cut = with_png_chunk(VALID["PNG"], png_chunk(b"tEXt", b"bad\0x")[:-1] + b"\0")[:-60]
    assert rejection(cut).reason is RejectReason.TRUNCATED


def test_the_preview_inside_a_camera_raw_file_is_not_mistaken_for_the_picture() -> None:
    data = saved(gradient(), "TIFF", tiffinfo={254: 1})
    found = rejection(data)
    assert found.reason is RejectReason.NO_DECODER
    assert "rawpy" in found.detail


def test_a_tiff_layout_that_nobody_here_reads_is_not_called_damaged() -> None:
    data = bytearray(saved(gradient(), "TIFF"))
    bits = data.index(struct.pack("<HHI", 258, 3, 3))
    offset = struct.unpack_from("<I", data, bits + 8)[0]
    struct.pack_into("<HHH", data, offset, 24, 24, 24)
    assert rejection(bytes(data)).reason is RejectReason.NO_DECODER


def test_one_pixel_is_a_picture() -> None:
    found = decode(saved(Image.new("RGB", (1, 1), (9, 200, 77)), "PNG"), LIMITS)
    assert found.image.getpixel((0, 0)) == (9, 200, 77)
    assert decode(saved(Image.new("RGB", (1, 1)), "JPEG"), LIMITS, target=(64, 64)).width == 1


@pytest.mark.parametrize("target", [(16, 16), (64, 64), (100, 30), (2000, 2000)])
def test_a_jpeg_is_scaled_while_decoding_but_never_below_twice_the_target(target: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = saved(gradient(900, 640), "JPEG", quality=95, exif=exif)
    found = decode(data, LIMITS, target=target)
    assert (found.width, found.height) == (640, 900)
    for have, want, original in zip(found.image.size, target, (640, 900), strict=True):
        assert have >= min(2 * want, original)
    if target == (16, 16):
        assert found.image.size == (80, 113)
    again = decode(data, LIMITS, target=target)
    assert again.image.tobytes() == found.image.tobytes()


def test_a_target_changes_no_other_format() -> None:
    assert decode(VALID["PNG"], LIMITS, target=(2, 2)).image.size == (24, 16)


def test_pillows_warnings_decide_nothing_whatever_the_filters_are() -> None:
    warned = saved(gradient(), "TIFF", tiffinfo={270: "x" * 50})
    tag = warned.index(struct.pack("<HH", 270, 2))
    warned = warned[: tag + 4] + struct.pack("<I", 2**31) + warned[tag + 8 :]  # data larger than the file
    outcomes = []
    for action in ("error", "ignore", "default"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            outcomes.append(decode(warned, LIMITS).image.tobytes())
            before = len(warnings.filters)
            decode(warned, LIMITS)
            assert len(warnings.filters) == before
    assert outcomes == [gradient().tobytes()] * 3


def test_the_same_from_many_threads() -> None:
    files = list(VALID.values())
    expected = [decode(data, LIMITS).image.tobytes() for data in files]
    start = threading.Barrier(4)

    def work(_: int) -> list[bytes]:
        start.wait()
        return [decode(data, LIMITS).image.tobytes() for data in files]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [expected] * 4


@pytest.mark.parametrize("error", [MemoryError(), SyntaxError("odd"), struct.error("odd"), RecursionError()])
def test_no_exception_of_a_decoder_escapes(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(module._OPEN, "GIF", fail)
    found = rejection(VALID["GIF"])
    assert found.reason is RejectReason.TRUNCATED
    assert (str(error) or type(error).__name__) in found.detail
    assert found.__cause__ is error


def test_an_interrupt_does_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    fake: Callable[..., Any] = interrupt
    monkeypatch.setitem(module._OPEN, "GIF", fake)
    with pytest.raises(KeyboardInterrupt):
        decode(VALID["GIF"], LIMITS)
