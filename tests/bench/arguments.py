"""Command-line arguments that several benches take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import cyclopts

from tests.bench.evidence import FOLDER

Sizes = Annotated[tuple[int, ...], cyclopts.Parameter(help="Batch sizes.", consume_multiple=True)]
Names = Annotated[tuple[str, ...], cyclopts.Parameter(help="Several may follow.", consume_multiple=True)]
Rounds = Annotated[int, cyclopts.Parameter(help="Times that each way runs.")]
Out = Annotated[Path, cyclopts.Parameter(help="Folder of the JSON and the plot.")]
OUT = FOLDER
