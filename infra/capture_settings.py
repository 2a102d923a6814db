"""How the capture dates of a collection's photos are found: the section ``[collections.NAME.capture]``.

Without it nothing is found, and what no date is known of is kept. Knows names, types and defaults only.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from fwd2bot_core.capture import CaptureRules, check_pattern
from fwd2bot_core.errors import UsageError
from infra.setting_types import Section, Zone


class CaptureSettings(Section):
    """When its photos were taken, for retention policies; see docs/retention.md."""

    exif: bool = Field(False, description="believe the EXIF date of files (DateTimeOriginal)")
    zone: Zone | None = Field(None, description="IANA time zone of dates that do not say theirs")
    name: str | None = Field(
        None, description="pattern of keys that name a date, such as */%Y-%m-%d/*_%H%M%S.jpg"
    )

    @model_validator(mode="after")
    def _the_pattern_tells_a_moment(self) -> Self:
        if self.name is not None:
            try:
                check_pattern(self.name, self.zone)
            except UsageError as error:
                raise ValueError(str(error)) from None
        return self

    def rules(self) -> CaptureRules:
        return CaptureRules(exif=self.exif, zone=self.zone, name=self.name)
