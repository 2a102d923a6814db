"""How the photos of a collection are found: the sections ``[collections.NAME.discovery]`` and ``.containers``.

Without them every night lists all that is there, and a file is a photo. Knows names, types and defaults only.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from infra.setting_types import Cron, Location, Section
from infra.sources.rules import ContainerRules


class ContainerSettings(Section):
    """Which of its files hold several photos; see docs/archives.md."""

    archives: bool = Field(False, description="look into tar and zip files, WebDataset shards among them")
    pages: Literal["first", "all"] = Field(
        "first", description="of a TIFF file of several pages: the first is the photo, or each is one"
    )

    def rules(self) -> ContainerRules:
        return ContainerRules(archives=self.archives, pages=self.pages)


class DiscoverySettings(Section):
    """How nights find what is new; see docs/archives.md."""

    ordered: bool = Field(
        False, description="list only recent days, which capture.name must begin with; sweeps list everything"
    )
    events: Location | None = Field(
        None, description="where event notifications are laid down, one or more a file"
    )
    late_hours: float = Field(
        48.0, ge=0, description="how far a night looks back beyond the one before, for what came late"
    )
    full_sweep: Cron = Field(
        "0 2 * * 0", description="from when on the next night lists everything, in night.zone"
    )
    inventory: Location | None = Field(
        None, description="folder of S3 Inventory reports, which sweeps read instead of listing"
    )
