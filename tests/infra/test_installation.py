"""One opened installation serves one compressor, whatever happens to the bundle's folder meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.errors import CompressorMismatch
from infra.installation import Installation
from tests.core.compressor import models
from tests.houses import COLLECTION


def test_a_bundle_that_was_replaced_since_it_was_looked_up_answers_nothing(
    house: Callable[..., Installation], tmp_path: Path
) -> None:
    folder = models.saved(tmp_path / "bundle")
    installation = house(compressor={"bundle": str(folder)})
    planned = installation.spec(COLLECTION)
    assert installation.compressor(COLLECTION).spec == planned
    models.saved(folder, seed=1)
    with pytest.raises(CompressorMismatch, match=f"was {planned.short} and is now .* run again"):
        installation.compressor(COLLECTION)
