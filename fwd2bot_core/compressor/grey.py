"""What becomes of grey values of more than 8 bits. A name only: whoever computes with pixels imports more."""

from __future__ import annotations

from typing import Literal

Grey = Literal["range", "percentile"]
