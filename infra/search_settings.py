"""The settings of search. Knows nothing about how anything is found."""

from __future__ import annotations

from pydantic import Field

from infra.setting_types import Section


class SearchSettings(Section):
    """How stored images are found; see docs/search.md."""

    index_above: int = Field(
        200_000, ge=0, description="images from which nights keep a collection's index; 0 = never"
    )
    cells: int = Field(128, ge=1, le=4096, description="cells of the index that a search looks into")
    rerank: int = Field(
        20, ge=0, le=1000, description="finds of a text that are compared token by token; 0 = none"
    )
