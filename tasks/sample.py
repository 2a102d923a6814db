"""The sample archive that `fwd2bot demo` lays out: real pictures, with a settings file and labels beside them.

Knows nothing about nights; what it makes is used like anybody's own archive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fwd2bot_core.compressor.nano import labels, samples
from fwd2bot_core.errors import UsageError

SEED = 2026
LABELS = "labels.jsonl"  # what a person would write down about the photos
SETTINGS = """\
# Written by `fwd2bot demo`. Each setting and its default: `fwd2bot config show --config {file}`.

[archive]                      # what Fwd2Bot makes
store = "archive"              # shards of summary tokens, audit segments, manifests; or s3://bucket/prefix
ledger = "ledger.sqlite"

[collections.line-1]           # what it reads: put your own folder here, or s3://bucket/prefix
originals = "photos"

[compressor]
bundle = "nano"                # the demonstration bundle; a folder for your own

[execution]
executor = "local"             # worker processes of a local Dask cluster
workers = 2

[audit.anchors.beside]         # where signed checkpoints of the audit log are kept; two or more that others
kind = "directory"             # administer are what protects it: `fwd2bot doctor` says more
place = "anchor"

[night]
cron = "0 1 * * *"             # for `fwd2bot serve`
zone = "UTC"
"""


def lay_out(folder: Path, *, images: int, add: int = 0) -> dict[str, Any]:
    """Make the sample archive in ``folder``, or leave the one that is there and ``add`` photos to it.

    Returns what was done and where, for the screen. Raises ``UsageError`` for a folder of somebody else's.
    """
    try:
        return _lay_out(folder, images, add)
    except OSError as error:
        raise UsageError(
            f"cannot lay out an archive in {folder}: {error.strerror}; name another folder"
        ) from None


def _lay_out(folder: Path, images: int, add: int) -> dict[str, Any]:
    photos, settings = folder / "photos", folder / "fwd2bot.toml"
    if not settings.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no sample archive; name a new folder")
        photos.mkdir(parents=True)
        (
            folder / "anchor"
        ).mkdir()  # a folder that is gone is a disk that is not mounted: nobody makes it later
        settings.write_text(SETTINGS.format(file=settings))
    present = sum(1 for _ in photos.rglob("tray-*.jpg"))
    wanted = add if present else images + add
    keys = samples.write_archive(photos, wanted, seed=SEED, start=present)
    total = present + len(keys)
    if keys:
        labels.write(folder / LABELS, photos.name, total, seed=SEED)
    return {
        "folder": str(folder),
        "settings": str(settings),
        "written": len(keys),
        "images": total,
        "labels": str(folder / LABELS),
        "message": f"{folder}: {len(keys):,} photos written, {total:,} in all; settings in {settings}, labels in "
        f"{folder / LABELS}",
    }
