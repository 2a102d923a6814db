"""``fwd2bot`` in a process of its own, with a compressor that needs no weights and is said to be made for use.

``BATCH`` items go between two checkpoints and ``AT_ONCE`` of them together, so that a small list has several of both.
All else is the command as it is.
"""

from __future__ import annotations

import sys

import infra.installation
import tasks.destroy
from flows.cli import main
from tests.tasks.disposals import Grown

BATCH, AT_ONCE = 3, 2

if __name__ == "__main__":
    infra.installation.read_spec = lambda name, view: Grown().spec  # type: ignore[assignment]
    infra.installation.load = lambda name, **_: Grown()  # type: ignore[assignment]
    tasks.destroy.BATCH, tasks.destroy.AT_ONCE = BATCH, AT_ONCE
    main(sys.argv[1:])
