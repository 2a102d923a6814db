"""Money: only what a price is given for, each line with its assumption, sums that add up."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from infra.prices import PriceSettings
from tasks.kpi import Holdings
from tasks.kpi_money import lines, monthly

NOW = Holdings(
    originals=900,
    original_bytes=900 * 10**6,
    destroyed=100,
    freed_bytes=100 * 10**6,
    images=1000,
    token_bytes=10 * 10**6,
)


def test_without_prices_nothing_is_said() -> None:
    assert lines(NOW, PriceSettings()) == []
    assert monthly([]) is None


def test_each_line_follows_from_bytes_and_a_price_that_is_named() -> None:
    prices = PriceSettings.model_validate(
        {
            "original_gb_month": "0.02",
            "archive_gb_month": "0.1",
            "transfer_gb": "0.09",
            "sources": {"original_gb_month": "list of 2026-10"},
        }
    )
    kept, gone, tokens, reading = lines(NOW, prices)
    assert (kept.amount, gone.amount, tokens.amount) == (
        Decimal("0.018"),
        Decimal("-0.002"),
        Decimal("0.001"),
    )
    assert monthly([kept, gone, tokens, reading]) == Decimal("0.017")
    assert "list of 2026-10" in kept.assumption
    assert "no source is named" in tokens.assumption
    assert (reading.per, reading.amount) == ("1,000 questions", Decimal("-0.0891"))  # 1 MB against 10 kB


@pytest.mark.parametrize("wrong", [{"gpu_hour": -1}, {"sources": {"gold": "x"}}, {"unknown": 1}])
def test_a_price_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PriceSettings.model_validate(wrong)
