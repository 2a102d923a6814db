"""A bundle's figures, whatever they are, as tables for people: what repeats becomes a table, the rest a list.

Knows shapes of JSON values. Knows nothing of what the figures mean, but for a table of goals, which comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.units import visible


def show_figures(console: Console, name: str, figures: Mapping[str, Any]) -> None:
    """Goals first, if there are any, then tables, then everything else by its full name."""
    figures = dict(figures)
    if goals := figures.pop("goals", None):
        console.print(_goals(goals))
    tables = dict(_tables("", figures))
    for title, rows in tables.items():
        console.print(_table(title, rows))
    show_facts(console, {"bundle": name, **dict(_plain("", figures, frozenset(tables)))})


def _goals(goals: Sequence[Mapping[str, Any]]) -> Table:
    """Each figure beside what was asked of it."""
    drawn = Table(title="goals", title_justify="left", header_style="bold")
    for column in ("figure", "goal", "measured"):
        drawn.add_column(column, overflow="fold")
    drawn.add_column("")
    for row in goals:
        verdict = {True: "[green]met[/]", False: "[red]missed[/]"}.get(row["met"], "")
        drawn.add_row(*(_cell(row[name]) for name in ("figure", "goal", "measured")), verdict)
    return drawn


def show_facts(console: Console, facts: Mapping[str, Any]) -> None:
    """Names and values, one a line; those of groups by their full names."""
    drawn = Table(show_header=False, box=None, padding=(0, 2))
    drawn.add_column()
    drawn.add_column(overflow="fold")
    for name, value in _plain("", facts, frozenset()):
        drawn.add_row(escape(name.replace("_", " ")), _cell(value))
    console.print(drawn)


def _tables(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Mapping[str, Any]]]]:
    for name, value in values.items():
        if _is_rows(value):
            yield prefix + name, {str(number): row for number, row in enumerate(value, 1)}
        elif isinstance(value, Mapping) and value:
            if _repeats(value):
                yield prefix + name, value
            else:
                yield from _tables(f"{prefix}{name}: ", value)


def _repeats(value: Mapping[str, Any]) -> bool:
    """Whether its members are alike, and not themselves shares with an interval."""
    rows = list(value.values())
    alike = all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows)
    return alike and len(rows) > 1 and not _is_share(rows[0])


def _is_rows(value: Any) -> bool:
    """Whether it is a list of rows with the same columns."""
    return isinstance(value, list) and bool(value) and _repeats({str(n): row for n, row in enumerate(value)})


def _is_share(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"share", "interval"}


def _plain(prefix: str, values: Mapping[str, Any], but: frozenset[str]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if prefix + name in but:
            continue
        if isinstance(value, Mapping) and not _is_share(value):
            yield from _plain(f"{prefix}{name}: ", value, but)
        else:
            yield prefix + name, value


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    flat = {name: dict(_plain("", row, frozenset())) for name, row in rows.items()}
    columns = list(dict.fromkeys(column for row in flat.values() for column in row))
    drawn = Table(title=escape(title.replace("_", " ")), title_justify="left", header_style="bold")
    drawn.add_column("", overflow="fold")
    for column in columns:
        drawn.add_column(escape(column.replace("_", " ").replace(":", "")), justify="right")
    for name, row in flat.items():
        drawn.add_row(escape(visible(name)), *(_cell(row.get(column)) for column in columns))
    return drawn


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.3f}"
        case {"share": share, "interval": [low, high]}:
            return f"{share:.3f} ({low:.3f} to {high:.3f})"
        case list():
            return escape(visible(", ".join(map(str, value)))) or "-"
        case _:
            return escape(visible(str(value)))
