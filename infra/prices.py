"""What things cost, each price with where it comes from; one that is not given is not guessed, but left out.

``[prices]`` of the settings, or of a file of its own. Prices are decimal numbers in one currency. Knows nothing about
what is counted.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from fwd2bot_core.errors import SettingsError
from infra.setting_types import Section

GB = 10**9  # bytes, as stores bill them

_Price = Decimal | None


class PriceSettings(Section):
    """Assumptions about money, so that a figure can be traced to each."""

    currency: str = Field("EUR", min_length=1, max_length=10, description="what all prices are in")
    original_gb_month: _Price = Field(
        None, ge=0, description="keeping 1 GB (10^9 bytes) of originals for a month"
    )
    archive_gb_month: _Price = Field(None, ge=0, description="keeping 1 GB of summary tokens for a month")
    write_1000: _Price = Field(None, ge=0, description="1,000 requests that write or list")
    read_1000: _Price = Field(None, ge=0, description="1,000 requests that read")
    transfer_gb: _Price = Field(None, ge=0, description="1 GB that leaves the store")
    gpu_hour: _Price = Field(None, ge=0, description="one GPU for an hour")
    ledger_gb_month: _Price = Field(None, ge=0, description="keeping 1 GB of database for a month")
    sources: dict[str, str] = Field(
        {}, description="by price: who says so, such as a list of prices and its date"
    )

    @model_validator(mode="after")
    def _sources_are_of_prices(self) -> PriceSettings:
        known = type(self).model_fields.keys() - {"currency", "sources"}
        if strange := sorted(self.sources.keys() - known):
            raise ValueError(f"prices.sources names {strange[0]!r}, which is no price")
        return self

    def said(self, name: str) -> str:
        """A price with where it comes from, for people."""
        return (
            f"{getattr(self, name)} {self.currency} ({self.sources.get(name, 'assumed; no source is named')})"
        )


def read_prices(path: Path) -> PriceSettings:
    """The section ``[prices]`` of a TOML file, whatever else stands there. Raises ``SettingsError``."""
    try:
        section = tomllib.loads(path.read_text(encoding="utf-8")).get("prices")
    except OSError as error:
        raise SettingsError(f"cannot read the prices in {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML file: {error}") from None
    if section is None:
        raise SettingsError(f"{path} holds no section [prices]; docs/capacity.md shows one")
    try:
        return PriceSettings.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("prices", *first["loc"]))
        raise SettingsError(f"{path}: {where}: {first['msg']}") from None
