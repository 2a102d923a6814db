"""How far another machine's clock may be from ours, and how full a disk may be; each past its limit in one sentence.

Periods of retention end, certificates expire and S3 accepts requests by clocks; a full disk refuses commits. Knows
nothing about who keeps the clock or what lies on the disk.
"""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

TOLERANCE = timedelta(seconds=60)  # S3 itself refuses at 15 minutes
ROOM = 1024**3  # bytes
_GRAIN = timedelta(seconds=1)  # of an HTTP date, which is cut off


def clock_problem(whose: str, theirs: datetime, before: datetime, after: datetime) -> str | None:
    """What is wrong with a clock that said ``theirs`` at some time between our two moments; all aware."""
    off = max(before - (theirs + _GRAIN), theirs - after)
    if off <= TOLERANCE:
        return None
    ahead = "ahead of" if theirs > after else "behind"
    return (
        f"the clock of {whose} is {off.total_seconds():,.0f} s {ahead} ours: let both machines follow one time server "
        "(chronyc tracking, timedatectl) before anything is decided by them"
    )


def disk_problem(what: str, folder: Path) -> str | None:
    """What is wrong with the room on a disk of this machine."""
    free = shutil.disk_usage(folder).free
    if free >= ROOM:
        return None
    return (
        f"the disk of {what} has {free / 1024**2:,.0f} MiB left, and a full one refuses commits: make room at "
        f"{folder}, or move it to a larger disk; {ROOM / 1024**2:,.0f} MiB is the least"
    )
