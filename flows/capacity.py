"""``fwd2bot plan --images``: what an archive would take, before there is one. Needs no settings, no store, no ledger.

Imports what it needs inside, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from flows.app import Common, terminal
from fwd2bot_core.errors import ExitCode, UsageError
from fwd2bot_core.tokens.codec_name import CodecName

if TYPE_CHECKING:
    from rich.console import Console

    from fwd2bot_core.capacity.figures import Figures
    from fwd2bot_core.capacity.reckoning import Load
    from tasks.capacity import Capacity

_MANY = re.compile(r"(\d+\.?\d*|\.\d+)(e\d+)? *([kmg])?", re.IGNORECASE)
_TIMES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
CAPACITY = Group("Capacity", help="What so many images would take, whatever the ledger holds.", sort_key=1)


@Parameter(name="*", group=CAPACITY)
@dataclass(frozen=True)
class Supposed:
    """What is supposed, instead of looking at what is there."""

    images: Annotated[str | None, Parameter(help="How many, such as 100M.")] = None
    gpus: Annotated[int, Parameter(help="Workers with a GPU each.", validator=Number(gte=1))] = 1
    model: Annotated[str, Parameter(help="Whose first pass it is.")] = "llava-1.5-7b"
    known: Annotated[str, Parameter(help="Images in the collection already, which a listing passes.")] = "0"
    batch: Annotated[int, Parameter(help="Images a shard.", validator=Number(gte=1))] = 1000
    codec: Annotated[CodecName, Parameter(help="How tokens are stored.")] = "exact"
    database: Annotated[Literal["postgresql", "sqlite"], Parameter(help="Where the ledger is.")] = (
        "postgresql"
    )
    prices: Annotated[
        Path | None, Parameter(help="A TOML file with [prices] [default: those of the settings].")
    ] = None
    set: Annotated[
        tuple[str, ...], Parameter(help="A figure as you know it better: image_bytes=300e3. May be repeated.")
    ] = ()
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Write a page to be printed, too.")] = (
        None
    )

    def load(self) -> Load:
        """Raises ``UsageError``."""
        from fwd2bot_core.capacity import models
        from fwd2bot_core.capacity.reckoning import Load

        return Load(
            images=many(self.images or "", "--images"),
            gpus=self.gpus,
            model=models.model(self.model),
            batch=self.batch,
            known=many(self.known, "--known"),
            codec=self.codec,
            database=self.database,
        )

    def figures(self) -> Figures:
        """The shipped ones with those given in place. Raises ``UsageError``."""
        from fwd2bot_core.capacity.figures import shipped

        given = {}
        for text in self.set:
            name, _, value = text.partition("=")
            try:
                given[name.strip()] = float(value)
            except ValueError:
                raise UsageError(f"--set {text!r} is no NAME=NUMBER, such as image_bytes=300e3") from None
        return shipped().replaced(given)


NOTHING_SUPPOSED = Supposed()


def many(text: str, option: str) -> int:
    """A count such as 5000, 100M, 1e9, 2.5G. Raises ``UsageError``."""
    found = _MANY.fullmatch(text.strip().replace("_", ""))
    if found is None:
        raise UsageError(f"{option} {text!r} is no number of images; write one such as 250000, 100M or 1e9")
    return round(float(found[1] + (found[2] or "")) * _TIMES[(found[3] or "").lower()])


def show_capacity(supposed: Supposed, common: Common) -> int:
    """Reckon, and show it as JSON, as a page, or here."""
    from infra.prices import read_prices
    from infra.settings import load_settings
    from tasks.capacity import as_html, capacity
    from tasks.page import write_page

    prices = read_prices(supposed.prices) if supposed.prices else load_settings(common.config).prices
    plan = capacity(supposed.load(), supposed.figures(), prices)
    if supposed.out is not None:
        write_page(as_html(plan), supposed.out)
    if common.json:
        print(json.dumps(plan.as_json(), sort_keys=True))
    else:
        _show(terminal(), plan)
        if supposed.out is not None:
            terminal().print(f"written to {supposed.out}", highlight=False, soft_wrap=True)
    return ExitCode.OK


def _show(console: Console, plan: Capacity) -> None:
    from flows.render import table
    from tasks.units import duration, size

    found = plan.found
    console.print(f"{plan.sentence}.", highlight=False, soft_wrap=True)
    console.print(
        table(
            "time",
            ("phase", "takes", "together", "what makes it shorter"),
            [(one.name, duration(one.seconds), one.beside, one.cure) for one in found.phases],
        )
    )
    amounts = [
        ("GPU-hours", f"{found.gpu_hours:,.1f} (busy {found.gpu_busy:.0%})"),
        ("requests", f"{found.reads:,} that read, {found.writes:,} that write or list"),
        ("originals read", size(found.bytes_in)),
        ("tokens and audit segments written", size(found.bytes_out)),
        ("read back and checked", size(found.bytes_checked)),
        ("database grows by", size(found.ledger_bytes)),
    ]
    console.print(table("amounts", ("", ""), amounts))
    if plan.money:
        rows = [(one.what, one.per, f"{one.amount:,.2f}", one.assumption) for one in plan.money]
        console.print(table("money", ("", "per", plan.currency, "assumption"), rows))
    else:
        console.print("no price is given in [prices] or by --prices, so nothing is said of money")
    figures = [(one.name, f"{one.value:,.6g}", one.unit, one.kind, one.source) for one in found.used]
    console.print(table("reckoned with", ("figure", "value", "unit", "kind", "source"), figures))
