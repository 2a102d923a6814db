"""Sites whose originals may go, under all that may happen to them, in any order: ``python -m tests.prove.orders``.

The stateful test of destruction (``tests.tasks.destroy_machine``) at length. Writes ``orders.json``: how much happened.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import cyclopts
import pytest

from tests.bench import evidence
from tests.bench.arguments import OUT, Out
from tests.flows.retentions import make_site
from tests.tasks.destroy_machine import PHOTOS, happened, run
from tests.tasks.disposals import Template

app = cyclopts.App(name="orders", help=__doc__)


@app.default
def main(
    *,
    examples: Annotated[int, cyclopts.Parameter(help="Sites.")] = 300,
    steps: Annotated[int, cyclopts.Parameter(help="Things that happen to each.")] = 25,
    out: Out = OUT,
) -> int:
    """Raises what went wrong, with the shortest way there; else exit code 0."""
    before, begun = evidence.begin(), time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="fwd2bot-orders-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        run(Template(Path(folder), patch, make=make_site, photos=PHOTOS), examples, steps)
    said = {
        "sites": examples,
        "steps": steps,
        "violations": 0,
        "happened": dict(sorted(happened.items())),
        "seconds": round(time.monotonic() - begun),
    }
    evidence.write(out / "orders.json", before, said)
    print(said)
    return 0


if __name__ == "__main__":
    raise SystemExit(app())
