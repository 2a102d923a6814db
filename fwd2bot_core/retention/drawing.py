"""Stable shares of photos, drawn by content: the same photo is always in or always out, on every database.

A photo's sha256 is as good as a lot. Its first 16 hex digits draw the sample that is kept, the next 16 the pilot, so
that one says nothing about the other. A larger share only adds photos. Both are comparisons of texts, which SQL makes
as Python does. Knows nothing of policies.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

DIGITS = 16
_ALL = 16**DIGITS
_EVERY = "g"  # greater than every hex digit


def sample_bound(share: Decimal) -> str:
    """Photos whose sha256 is less than this text are kept; rounded so that more are."""
    return _bound(int((share * _ALL).to_integral_value(ROUND_CEILING)))


def pilot_bound(share: Decimal) -> str:
    """Photos whose sha256, from its 17th digit, is less than this text are in the pilot; rounded so that fewer are."""
    return _bound(int((share * _ALL).to_integral_value(ROUND_FLOOR)))


def in_sample(content: str, share: Decimal) -> bool:
    return content[:DIGITS] < sample_bound(share)


def in_pilot(content: str, share: Decimal) -> bool:
    return content[DIGITS : 2 * DIGITS] < pilot_bound(share)


def _bound(count: int) -> str:
    return _EVERY if count >= _ALL else f"{count:0{DIGITS}x}"
