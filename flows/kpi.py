"""The verb of figures for management: bytes, fidelity, what to be alarmed about.

Imports what a verb needs inside the verb, so that ``--help`` comes at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.app import DEFAULTS, Common, app, terminal
from flows.signing import say
from fwd2bot_core.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from infra.installation import Installation
    from tasks.kpi_pilot import Pilot
    from tasks.kpi_report import Kpi


@app.command
def kpi(
    collection: str | None = None,
    *,
    out: Annotated[
        Path | None, Parameter(name=["--out", "-o"], help="Write a page to be read and printed, too.")
    ] = None,
    pilot: Annotated[
        int | None,
        Parameter(
            help="Also ask and search so many originals, drawn at random, as if there were no tokens.",
            validator=Number(gte=1, lte=100_000),
        ),
    ] = None,
    common: Common = DEFAULTS,
) -> int:
    """What the archive keeps and saves, month by month, and whether tokens still say what the photos said.

    Exit code 4 if fidelity drifts.

    Example: fwd2bot kpi line-1 --pilot 200 -o kpi.html

    Parameters
    ----------
    collection
        Which collection; all together if none is named.
    """
    from infra.installation import opened
    from tasks.kpi_report import gather, write

    with opened(common.settings()) as house:
        compared = _compared(house, collection, pilot, common) if pilot is not None else None
        found = gather(house, collection, compared)
    if out is not None:
        write(found, out)
    if common.json:
        print(json.dumps(found.as_json(), sort_keys=True))
    else:
        _show(terminal(), found)
        if out is not None:
            say(f"written to {out}")
    return ExitCode.BLOCKED_BY_POLICY if found.alerts else ExitCode.OK


def _compared(house: Installation, collection: str | None, sample: int, common: Common) -> Pilot:
    from flows.screens import counting
    from tasks.kpi_pilot import pilot
    from tasks.kpi_report import stage_of

    name, _ = house.settings.collection(collection)
    with counting(terminal(), "comparing", common.json) as progress:
        return pilot(house, name, sample, stage=stage_of(house, name), progress=progress)


def _show_pilot(console: Console, found: Pilot) -> None:
    low, high = found.interval
    share = f"{found.share:.3f} ({low:.3f} to {high:.3f})" if found.share is not None else "-"
    near = f"{found.neighbours:.3f}" if found.neighbours is not None else "-"
    console.print(
        f"pilot of {found.collection} (stage {found.stage}): {found.judged:,} of {found.drawn:,} images judged; "
        f"answers alike {share}; same nearest images {near}",
        highlight=False,
        soft_wrap=True,
    )


def _show(console: Console, found: Kpi) -> None:
    from flows.render import table
    from tasks.units import size

    now = found.holdings
    rows = [
        ("originals kept", f"{now.originals:,}", size(now.original_bytes)),
        ("tokens stored", f"{now.images:,}", size(now.token_bytes)),
        ("originals destroyed", f"{now.destroyed:,}", size(now.freed_bytes)),
        ("net saved", "", size(now.net_saved_bytes)),
    ]
    console.print(table(found.collection or "all collections", ("", "images", "bytes"), rows))
    months = [
        (m.name, m.originals, size(m.original_bytes), m.images, size(m.token_bytes), size(m.freed_bytes))
        for m in found.months
    ]
    columns = ("month", "originals", "bytes", "compressed", "token bytes", "freed")
    console.print(table("month by month", columns, months))
    trends = [
        (
            one.collection,
            one.compressor[:12],
            f"{one.recent:.3f}",
            f"{one.before:.3f}" if one.before is not None else "-",
            "DRIFTS" if one.drifts else "not enough yet" if one.fall is None else "steady",
        )
        for one in found.trends
    ]
    if trends:
        console.print(table("fidelity", ("collection", "compressor", "newest nights", "before", ""), trends))
    if found.money:
        priced = [(one.what, one.per, f"{one.amount:,.4f}", one.assumption) for one in found.money]
        console.print(table("money", ("", "per", found.currency, "assumption"), priced))
    if found.pilot:
        _show_pilot(console, found.pilot)
    for sentence in found.alerts:
        console.print(f"[red]{sentence}[/]", highlight=False)
