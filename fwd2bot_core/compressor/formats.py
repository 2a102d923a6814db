"""Which image format the first bytes of a file announce.

Knows magic numbers only: no file name and no decoder. What is not recognised here is never offered to one,
so a text file named .png, an EPS program or a PDF reaches no parser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# Pillow's names. Everything else Pillow can open (EPS, WMF, PDF, FITS, ...) is refused on purpose.
READABLE = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "AVIF", "PPM")

_READABLE_MAGIC = (
    ("JPEG", re.compile(rb"\xff\xd8\xff(?!\xf7)")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("JPEG2000", re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")),
    ("PPM", re.compile(rb"P[1-6f]\s+(#[^\n]*\n\s*)*\d+\s")),
    # two letters are too little to go by: the size of the header that follows must be a known one
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
)

_UNREADABLE_MAGIC = (
    ("camera raw (Canon CR2)", "rawpy", re.compile(rb"II\*\0.{4}CR", re.DOTALL)),
    ("camera raw (Fujifilm RAF)", "rawpy", re.compile(rb"FUJIFILMCCD-RAW")),
    ("camera raw (Olympus ORF)", "rawpy", re.compile(rb"IIR[OS]|MMOR")),
    ("camera raw (Panasonic RW2)", "rawpy", re.compile(rb"IIU\0")),
    ("JPEG XL", "pillow-jxl-plugin", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n")),
    ("JPEG XR", "imagecodecs", re.compile(rb"II\xbc\x01")),
    ("JPEG-LS", "pillow-jpls", re.compile(rb"\xff\xd8\xff\xf7")),
    ("OpenEXR", "openexr", re.compile(rb"\x76\x2f\x31\x01")),
    ("DICOM", "pydicom", re.compile(rb".{128}DICM", re.DOTALL)),
    ("Photoshop", "psd-tools", re.compile(rb"8BPS")),
    ("FITS", "astropy", re.compile(rb"SIMPLE  =")),
    ("SVG", "cairosvg", re.compile(rb"\s*(<\?xml[^>]*>\s*)?<svg[\s>]")),
)

# ISO base media files tell themselves apart by their brands.
_BRANDS = (
    ("AVIF", None, {b"avif", b"avis"}),
    ("HEIC", "pillow-heif", {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}),
    ("camera raw (Canon CR3)", "rawpy", {b"crx "}),
)

_OTHERS = (
    ("a PDF document", re.compile(rb"%PDF")),
    ("an EPS program", re.compile(rb"%!PS|\xc5\xd0\xd3\xc6")),
    ("a ZIP archive", re.compile(rb"PK\x03\x04")),
    ("a web page", re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)),
    ("a video", re.compile(rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", re.DOTALL)),
    ("a Git LFS pointer; fetch the real file", re.compile(rb"version https://git-lfs")),
    ("text", re.compile(rb"[\t\n\r\x20-\x7e]{4,}")),
    ("zero bytes, as a lost write leaves them", re.compile(rb"\0*\Z")),
)


@dataclass(frozen=True, slots=True)
class Sniffed:
    """A recognised image format; ``needs`` names a package that reads it, if Fwd2Bot cannot."""

    name: str
    needs: str | None = None


def sniff(data: bytes) -> Sniffed | None:
    """The image format that ``data`` begins like, or None."""
    head = data[:4096]
    for name, needs, magic in _UNREADABLE_MAGIC:  # first: some raw files are TIFFs on the surface
        if magic.match(head):
            return Sniffed(name, needs)
    for name, magic in _READABLE_MAGIC:
        if magic.match(head):
            return Sniffed(name)
    return _sniff_brands(head)


def _sniff_brands(head: bytes) -> Sniffed | None:
    if head[4:8] != b"ftyp":
        return None
    box = head[8 : max(16, min(int.from_bytes(head[:4], "big"), 256))]
    brands = {box[:4]} | {box[i : i + 4] for i in range(8, len(box), 4)}
    for name, needs, known in _BRANDS:
        if brands & known:
            return Sniffed(name, needs)
    return None


def describe(data: bytes) -> str:
    """What a file that is no image seems to be, for a reject's detail; quotes nothing of its content."""
    for what, pattern in _OTHERS:
        if pattern.match(data[:4096]):
            return what
    return f"bytes of no known format (they begin {data[:8].hex(' ')})"
