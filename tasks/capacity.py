"""A capacity plan: what so many images take, in time, bytes and money, as a screen, JSON or a page shows it.

Knows figures and prices. Asks no store and no ledger, so that it can be made before there is either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from fwd2bot_core.capacity.figures import Figures
from fwd2bot_core.capacity.reckoning import Load, Reckoning, reckon
from infra.prices import GB, PriceSettings
from tasks.kpi_money import Line
from tasks.page import page
from tasks.units import duration


@dataclass(frozen=True, slots=True)
class Capacity:
    """The plan. ``money`` has lines only for prices that were given."""

    found: Reckoning
    money: list[Line]
    currency: str

    @property
    def once(self) -> Decimal | None:
        """What compressing costs, all lines together; None without any price."""
        mine = [line.amount for line in self.money if line.per == "once"]
        return sum(mine, Decimal(0)) if mine else None

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        slow, load = self.found.bottleneck, self.found.load
        return (
            f"{load.images:,} images on {load.gpus:,} GPU(s) take {duration(self.found.seconds)}; "
            f"the bottleneck is {slow.name} ({duration(slow.seconds)}): {slow.cure}"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values; seconds, bytes, counts."""
        found, load = self.found, self.found.load
        return {
            "images": load.images,
            "gpus": load.gpus,
            "model": load.model.name,
            "batches": load.batches,
            "seconds": found.seconds,
            "gpu_hours": found.gpu_hours,
            "gpu_busy": found.gpu_busy,
            "bottleneck": found.bottleneck.name,
            "phases": {
                one.name: {"seconds": one.seconds, "beside": one.beside, "cure": one.cure}
                for one in found.phases
            },
            "requests": {"reads": found.reads, "writes": found.writes},
            "bytes": {
                "in": found.bytes_in,
                "out": found.bytes_out,
                "checked": found.bytes_checked,
                "ledger": found.ledger_bytes,
            },
            "money": [asdict(line) | {"amount": str(line.amount)} for line in self.money],
            "currency": self.currency,
            "figures": [asdict(figure) for figure in found.used],
        }


def capacity(load: Load, figures: Figures, prices: PriceSettings) -> Capacity:
    """Raises ``UsageError`` for a figure that nobody knows."""
    found = reckon(load, figures)
    return Capacity(found, list(_money(found, prices)), prices.currency)


def _money(found: Reckoning, prices: PriceSettings) -> Iterator[Line]:
    amounts = (
        ("GPUs", "once", "gpu_hour", Decimal(found.gpu_hours), "a GPU for an hour"),
        ("requests that read", "once", "read_1000", Decimal(found.reads) / 1000, "1,000 requests"),
        ("requests that write or list", "once", "write_1000", Decimal(found.writes) / 1000, "1,000 requests"),
        (
            "bytes out of the store",
            "once",
            "transfer_gb",
            Decimal(found.bytes_in + found.bytes_checked) / GB,
            "1 GB out of the store",
        ),
        ("tokens", "month", "archive_gb_month", Decimal(found.bytes_out) / GB, "1 GB of tokens a month"),
        (
            "originals",
            "month",
            "original_gb_month",
            Decimal(found.bytes_in) / GB,
            "1 GB of originals a month",
        ),
        (
            "database",
            "month",
            "ledger_gb_month",
            Decimal(found.ledger_bytes) / GB,
            "1 GB of database a month",
        ),
    )
    for what, per, price, quantity, unit in amounts:
        if (each := getattr(prices, price)) is not None:
            yield Line(what, per, quantity * each, f"{unit}: {prices.said(price)}")


def as_html(plan: Capacity) -> str:
    """One page to be read and printed."""
    return page("capacity.html", plan=plan, found=plan.found, load=plan.found.load)
