"""Small archives for tests: tiny distinct photos, and an installation with the fake compressor around them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image

from flows.nightly import Kind, run_night
from flows.screens import SilentScreen
from infra.installation import Installation
from infra.tables import compressors, object_versions, shards, summaries
from tasks.summary import NightSummary

COLLECTION = "line-1"
PLAIN: dict[str, dict[str, Any]] = {
    "archive": {"store": "archive", "ledger": "ledger.sqlite"},
    f"collections.{COLLECTION}": {"originals": "photos"},
    "compressor": {"bundle": "fake"},
    "execution": {"executor": "inline"},
    "night": {"engine": "direct", "batch_size": 20, "smallest_batch": 20},
}


def tiny_jpeg(number: int) -> bytes:
    """A valid JPEG of 24 x 16 pixels, another one for each number below 4,096."""
    colour = (number % 16 * 16, number // 16 % 16 * 16, number // 256 * 16)
    sink = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(sink, "JPEG", quality=95)
    return sink.getvalue()


def dated_photo(number: int, taken: str, offset: str | None = None, *, format: str = "JPEG") -> bytes:
    """A tiny photo that says in its EXIF header when it was taken, as ``2026:11:24 13:05:07``."""
    image = Image.open(io.BytesIO(tiny_jpeg(number)))
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769).update({0x9003: taken} | ({0x9011: offset} if offset else {}))
    exif[0x8769] = 0  # that there is such a directory; Pillow puts its place there
    sink = io.BytesIO()
    image.save(sink, format, exif=exif)
    return sink.getvalue()


def lay_out(folder: Path, count: int, *, start: int = 0) -> list[Path]:
    """``count`` tiny photos in ``folder``, numbered from ``start``."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{number:04}.jpg" for number in range(start, start + count)]
    for number, path in enumerate(made, start=start):
        path.write_bytes(tiny_jpeg(number))
    return made


def write_settings(file: Path, **sections: Mapping[str, Any]) -> Path:
    """A settings file: the plain house, with the given values of each section on top."""
    named = {name.replace("__", "."): values for name, values in sections.items()}
    lines: list[str] = []
    for name in dict.fromkeys([*PLAIN, *named]):
        lines.append(f"[{name}]")
        values = PLAIN.get(name, {}) | dict(named.get(name, {}))
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    return file


def night(house: Installation, kind: Kind = "night") -> NightSummary:
    """One run over the house's only collection, in this process."""
    return run_night(house.settings, None, SilentScreen(), kind=kind)


def compressed_once(house: Installation) -> int:
    """How many current object versions there are; each has exactly one committed row of the compressor in use."""
    with house.ledger.read() as connection:
        rows = connection.execute(
            sa.select(object_versions.c.id, sa.func.count(summaries.c.shard_id))
            .outerjoin(summaries, summaries.c.object_version_id == object_versions.c.id)
            .outerjoin(compressors, compressors.c.id == summaries.c.compressor_id)
            .where(
                object_versions.c.superseded_at.is_(None),
                sa.or_(
                    compressors.c.id.is_(None),
                    compressors.c.fingerprint == house.spec(COLLECTION).fingerprint,
                ),
            )
            .group_by(object_versions.c.id)
        ).all()
        places = connection.execute(sa.select(summaries.c.shard_id, summaries.c.row)).all()
        held = connection.execute(sa.select(sa.func.sum(shards.c.rows))).scalar_one()
    assert {row[1] for row in rows} == {1}
    assert len(set(places)) == len(places) == held
    return len(rows)


def fwd2bot(
    *arguments: str | Path, env: Mapping[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        command(*arguments),
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def command(*arguments: str | Path) -> list[str]:
    """How a process of its own is started: by the interpreter that runs the tests."""
    return [sys.executable, "-m", "flows.cli", *map(str, arguments)]
