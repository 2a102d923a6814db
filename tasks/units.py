"""Sizes, times and hostile names as people read them. Knows nothing about where they come from."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for a formula


def size(value: float) -> str:
    """Bytes in powers of 1,000: 850 B, 1.25 kB, 35.1 MB."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0
    while abs(value) >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return (
        f"{value:.0f} {units[power]}" if power == 0 or abs(value) >= 99.95 else f"{value:.3g} {units[power]}"
    )


def duration(seconds: float) -> str:
    """0.42 s, 12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def visible(text: str) -> str:
    """``text`` with every character that does not show, or that reorders its neighbours, as a \\u escape.

    A file name may hold line breaks, terminal commands or marks that make ``gpj.exe`` read as ``exe.jpg``.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def cell(value: object) -> object:
    """``value`` as a spreadsheet is to take it: a number as it is, nothing as empty, a text never as a formula."""
    if value is None or isinstance(value, int | float):
        return "" if value is None else value
    text = visible(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text
