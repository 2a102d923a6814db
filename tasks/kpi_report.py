"""Figures for management in one object, and as a page that needs nothing beside itself and prints well.

Gathers what ``kpi``, ``kpi_fidelity``, ``kpi_money`` and ``kpi_pilot`` know. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra import audit_log, history
from infra.installation import Installation
from tasks import kpi, kpi_fidelity, kpi_money, policies
from tasks.kpi import Holdings, Month
from tasks.kpi_fidelity import Trend
from tasks.kpi_money import Line
from tasks.kpi_pilot import Pilot
from tasks.page import page, write_page
from tasks.policies import PolicyState


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """Everything that the page shows; ``collection`` None: all together."""

    collection: str | None
    at: datetime
    holdings: Holdings
    months: Sequence[Month]
    trends: Sequence[Trend]
    money: Sequence[Line]
    currency: str
    pilot: Pilot | None = None

    @property
    def monthly(self) -> Decimal | None:
        """What all of it costs in a month; None where nothing is priced."""
        return kpi_money.monthly(self.money)

    @property
    def alerts(self) -> list[str]:
        """One sentence for each drift."""
        return [trend.message for trend in self.trends if trend.drifts]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        trends = [
            {
                name: getattr(one, name)
                for name in ("collection", "compressor", "recent", "before", "fall", "error")
            }
            | {"recent_images": one.recent_images, "before_images": one.before_images, "drifts": one.drifts}
            for one in self.trends
        ]
        derived = {"net_saved_bytes": self.holdings.net_saved_bytes, "ratio": self.holdings.ratio}
        return {
            "collection": self.collection,
            "at": self.at.isoformat(),
            "holdings": asdict(self.holdings) | derived,
            "months": [asdict(month) for month in self.months],
            "fidelity": trends,
            "money": [asdict(line) | {"amount": str(line.amount)} for line in self.money],
            "currency": self.currency,
            "pilot": _plain(self.pilot) if self.pilot else None,
            "alerts": self.alerts,
        }


def gather(house: Installation, collection: str | None = None, pilot: Pilot | None = None) -> Kpi:
    """Raises ``SettingsError`` for a collection that neither the ledger nor the settings know."""
    prices = house.settings.prices
    if collection is not None and not history.is_registered(house.ledger, collection):
        house.settings.collection(collection)
    with house.ledger.read() as connection:
        now = kpi.holdings(connection, collection)
        return Kpi(
            collection=collection,
            at=audit_log.now(),
            holdings=now,
            months=kpi.months(connection, collection),
            trends=kpi_fidelity.trends(connection, collection),
            money=kpi_money.lines(now, prices),
            currency=prices.currency,
            pilot=pilot,
        )


def stage_of(house: Installation, collection: str) -> str:
    """Of the policy in force that is about a collection; "none" without one."""
    with house.ledger.read() as connection:
        for one in policies.versions(connection):
            document = policies.stored(connection, one.id, one.version)
            if one.state is PolicyState.ACTIVE and collection in document.policy.collections:
                return document.policy.rollout.stage
    return "none"


def figures(found: Kpi) -> dict[str, Any]:
    """By name, as markup; those without data are missing."""
    from markupsafe import Markup

    from tasks import kpi_plots

    drawn = {"kept": kpi_plots.bytes_by_month(found.months)} if found.months else {}
    for number, trend in enumerate(found.trends):
        drawn[f"drift-{number}"] = kpi_plots.fidelity_by_night(trend, number)
    return {name: Markup(text) for name, text in drawn.items()}  # noqa: S704 - drawn by us, texts escaped there


def as_html(found: Kpi) -> str:
    """One page."""
    return page("kpi.html", found=found, figures=figures(found))


def _plain(found: Pilot) -> dict[str, Any]:
    checked = dict(found.labels or {})
    if checked:
        checked["checked_at"] = checked["checked_at"].isoformat()
    return asdict(found) | {"share": found.share, "labels": checked or None}


def write(found: Kpi, path: Path) -> None:
    """The page as a file, whole or not at all. Raises ``UsageError``."""
    write_page(as_html(found), path)
