"""``fwd2bot`` in a process of its own, with a compressor that needs no weights and is said to be made for use.

``BATCH`` items go between two checkpoints, so that a small list has several. All else is the command as it is.
"""

from __future__ import annotations

import sys

import infra.installation
import tasks.destroy
from flows.cli import main
from tests.tasks.disposals import Grown

BATCH = 3

if __name__ == "__main__":
    infra.installation.read_spec = lambda name, view: Grown().spec  # type: ignore[assignment]
    infra.installation.load = lambda name, **_: Grown()  # type: ignore[assignment]
    tasks.destroy.BATCH = BATCH
    main(sys.argv[1:])
