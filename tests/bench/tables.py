"""Figures as a table for people, wide enough to be read in a log.

Knows rich. Knows nothing of what the figures mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 120  # of a table that goes to a file or a pipe


def show(title: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Print ``rows`` under ``columns``: headings, each with the name of its value in a row. A column that no row has
    is left out."""
    table = Table(title=title)
    shown = {heading: name for heading, name in columns.items() if any(name in row for row in rows)}
    for heading in shown:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(_said(row.get(name)) for name in shown.values()))
    screen = Console()
    (screen if screen.is_terminal else Console(width=WIDTH)).print(table)


def _said(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
