"""Containers of tiny photos for tests, honest ones and others."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

from PIL import Image

from tests.houses import tiny_jpeg


def tar_of(members: Mapping[str, bytes], *, format: int = tarfile.PAX_FORMAT) -> bytes:
    """Uncompressed, in the given order."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def zip_of(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return sink.getvalue()


def photos_named(*names: str) -> dict[str, bytes]:
    return {name: tiny_jpeg(number) for number, name in enumerate(names)}


def tiff_of(*shades: int, compression: str | None = None) -> bytes:
    """A page of each shade of grey."""
    pages = [Image.new("L", (24, 16), shade) for shade in shades]
    sink = io.BytesIO()
    pages[0].save(sink, "TIFF", save_all=True, append_images=pages[1:], compression=compression)
    return sink.getvalue()
