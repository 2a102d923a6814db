"""Bytes as money: what keeping costs a month, what destroyed originals and reading tokens instead of photos save.

Only what a price was given for; each line names the price, and that price's source. Inference is not among them: what a
question costs from tokens and from a photo depends on the server, and is measured, not priced. Knows arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from infra.prices import GB, PriceSettings
from tasks.kpi import Holdings

QUESTIONS = 1000  # that are compared


@dataclass(frozen=True, slots=True)
class Line:
    """One amount. Costs are above zero, savings below."""

    what: str
    per: str  # "month", or such as "1,000 questions"
    amount: Decimal
    assumption: str


def lines(now: Holdings, prices: PriceSettings) -> list[Line]:
    """Empty where no price is given."""
    return [*_kept(now, prices), *_reading(now, prices)]


def monthly(found: Sequence[Line]) -> Decimal | None:
    """All that is kept and saved in a month together; None without any."""
    mine = [line.amount for line in found if line.per == "month"]
    return sum(mine, Decimal(0)) if mine else None


def _kept(now: Holdings, prices: PriceSettings) -> Iterator[Line]:
    if prices.original_gb_month is not None:
        said = f"1 GB of originals a month: {prices.said('original_gb_month')}"
        yield Line(
            "originals that are kept", "month", _gb(now.original_bytes) * prices.original_gb_month, said
        )
        yield Line(
            "originals that are destroyed", "month", -_gb(now.freed_bytes) * prices.original_gb_month, said
        )
    if prices.archive_gb_month is not None:
        said = f"1 GB of tokens a month: {prices.said('archive_gb_month')}"
        yield Line("tokens", "month", _gb(now.token_bytes) * prices.archive_gb_month, said)


def _reading(now: Holdings, prices: PriceSettings) -> Iterator[Line]:
    photos = now.originals + now.destroyed
    if prices.transfer_gb is None or not photos or not now.images:
        return
    photo, tokens = (now.original_bytes + now.freed_bytes) / photos, now.token_bytes / now.images
    less = _gb(round(QUESTIONS * (tokens - photo)))
    said = f"1 GB out of the store: {prices.said('transfer_gb')}"
    said += f"; {photo:,.0f} bytes a photo, {tokens:,.0f} an image's tokens"
    yield Line(
        "reading tokens instead of photos", f"{QUESTIONS:,} questions", less * prices.transfer_gb, said
    )


def _gb(size: int) -> Decimal:
    return Decimal(size) / GB
