"""When an answer is right, and how sure a share of right answers is.

Knows words and counts. Knows nothing of models; imports no torch.
"""

from __future__ import annotations

import math
import re


def same_words(said: str, wanted: str) -> bool:
    """Exactly the expected words, whatever the case and the space before punctuation."""
    return _plain(said) == _plain(wanted)


def wilson(count: float, among: float, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of the share ``count`` of ``among``, at least 1: right near 0 and 1, too.

    Neither need be whole: where answers depend on each other they count as fewer.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    p, scale = count / among, 1 + z * z / among
    middle = (p + z * z / (2 * among)) / scale
    half = z * math.sqrt(p * (1 - p) / among + z * z / (4 * among * among)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def _plain(text: str) -> str:
    return re.sub(r"\s+([.,?!])", r"\1", text.lower().strip())
