"""A file that lists photos with what names their versions: key, size, etag or version, modified; one a row.

For archives whose owner knows what is in them, so that nobody has to list or ask. Keys count from the store's root, as
in listings. Knows tables. Knows no store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fwd2bot_core.errors import UsageError
from infra.objects import ObjectInfo
from infra.sources.rows import Ours
from infra.sources.tables import form_of, rows


@dataclass(frozen=True, slots=True)
class Manifest:
    """As ``Source``: a CSV file with a line of names, JSON lines, Parquet or ORC."""

    file: Path
    versioned: bool  # whether its column of versions counts, as for the store

    @property
    def uri(self) -> str:
        return str(self.file)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        ours = Ours(None, "", self.versioned)
        try:
            with self.file.open("rb") as file:
                for row in rows(file, form_of(self.file.name)):
                    entry = ours.entry(row)
                    if entry is not None and entry.key.startswith(prefix):
                        yield entry
        except OSError as error:
            raise UsageError(f"cannot read the manifest {self.file}: {error.strerror}") from None
