"""A view as settings files say it: of an installation's collections, and of a training.

Knows names, kinds and defaults of the settings; what can be is ``view``'s to say. Imports no torch.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from fwd2bot_core.compressor.grey import Grey
from fwd2bot_core.compressor.view import Region, View


class ViewSettings(BaseModel):
    """How photos are looked at. Regions are the named boxes of ``view.Region``, in the order of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    k: int | None = Field(None, ge=1, description="summary tokens a crop; the bundle's if not given")
    size: tuple[int, int] | None = Field(
        None, description="width and height of a crop for the model, in pixels; the bundle's if not given"
    )
    thumbnail: bool = Field(True, description="the whole photo as the first crop")
    tiles: tuple[int, int] = Field((1, 1), description="columns and rows of equal tiles; 1x1 is none")
    overlap: float = Field(0.0, description="of neighbouring tiles, as a share of a tile")
    regions: dict[str, tuple[float, float, float, float]] = Field(
        {}, description="name = [left, top, width, height], shares of the upright photo"
    )

    grey: Grey = Field(
        "range",
        description="16-bit grey to 8 bits: by its whole range, or from the 0.5th to the 99.5th percentile",
        exclude_if=lambda grey: (
            grey == "range"
        ),  # a training that was begun before there was a choice goes on
    )

    def view(self) -> View:
        """Raises ``UsageError`` for what cannot be."""
        regions = tuple(Region(name, *box) for name, box in self.regions.items())
        return View(
            k=self.k,
            size=self.size,
            thumbnail=self.thumbnail,
            tiles=self.tiles,
            overlap=self.overlap,
            regions=regions,
            grey=self.grey,
        )
