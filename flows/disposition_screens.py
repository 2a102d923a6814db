"""Disposition lists as tables for people and plain values for machines. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows.render import table
from tasks.units import size, visible

if TYPE_CHECKING:
    from rich.console import Console

    from tasks.disposition_view import Overview, Shown


def show_lists(console: Console, found: Sequence[Overview]) -> None:
    rows = [
        (
            one.id,
            one.collection,
            f"{one.policy} {one.version}",
            one.state,
            f"{one.objects:,}",
            size(one.bytes),
            f"{one.approvals} of {one.needed}" if one.needed else "automatic",
            _day(one.grace_until),
            _day(one.expires_at),
        )
        for one in found
    ]
    columns = (
        "list",
        "collection",
        "policy",
        "state",
        "photos",
        "bytes",
        "approvals",
        "grace until",
        "expires",
    )
    console.print(table("disposition lists", columns, rows))


def show_list(console: Console, found: Shown) -> None:
    one = found.overview
    for line in (
        f"list {one.id}, {one.state}: {one.objects:,} photos of {one.collection}, {size(one.bytes)}",
        f"  sha256 {found.sha256}",
        f"  policy {one.policy} version {one.version}, sha256 {found.policy_sha256}",
        f"  periods that were over between {found.first_end} and {found.last_end}",
        f"  grace until {_day(one.grace_until)}, expires {_day(one.expires_at)}",
    ):
        console.print(visible(line), highlight=False, markup=False, soft_wrap=True)
    console.print(table("by state", ("state", "photos"), list(found.states.items())))
    rules = [(rule, objects, size(total)) for rule, (objects, total) in found.rules.items()]
    console.print(table("by rule", ("rule", "photos", "bytes"), rules))
    samples = [(line["key"], size(line["size"]), line["not_before"], line["state"]) for line in found.samples]
    console.print(table("samples", ("key", "bytes", "period over", "state"), samples))
    said = [
        (
            each.person.name,
            "approved" if each.approved else "refused",
            each.reason,
            _day(each.signed_at),
            "counts" if each.counts else "does not count",
        )
        for each in found.said
    ]
    title = f"{one.approvals} of {one.needed} approvals"
    console.print(table(title, ("person", "said", "reason", "when", ""), said))


def shown_as_json(found: Shown) -> dict[str, Any]:
    said = [
        {
            "person": one.person.name,
            "approved": one.approved,
            "reason": one.reason,
            "signed_at": one.signed_at,
            "counts": one.counts,
        }
        for one in found.said
    ]
    plain = {name: getattr(found, name) for name in ("sha256", "policy_sha256", "states", "rules", "samples")}
    ends = {"first_end": found.first_end, "last_end": found.last_end}
    return asdict(found.overview) | plain | ends | {"signatures": said}


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z" if at else "-"
