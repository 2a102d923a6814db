"""Which files of a collection hold several photos, by their names. Reads none, and imports nothing that would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ContainerRules:
    """Which files of a collection hold several photos."""

    archives: bool = False  # tar and zip files
    pages: Literal["first", "all"] = "first"  # of a TIFF file

    def __bool__(self) -> bool:
        return self.archives or self.pages == "all"

    def opens(self, key: str) -> bool:
        """Whether a key is that of a container; what is in it shows when it is read."""
        end = key.rpartition(".")[2].lower()
        return (self.archives and end in ("tar", "zip")) or (self.pages == "all" and end in ("tif", "tiff"))


FILES_ARE_PHOTOS = ContainerRules()
