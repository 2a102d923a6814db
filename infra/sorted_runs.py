"""Sorting more records than memory holds: sorted runs in temporary files, merged while they are read.

Knows records of one width, compared as bytes. Knows nothing about what they say.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import BinaryIO, cast

AT_ONCE = 200_000  # records in memory
_READ = 1_000  # records of each run that a merge reads at once


def sorted_records(records: Iterable[bytes], width: int, *, at_once: int = AT_ONCE) -> Iterator[bytes]:
    """Every record, each ``width`` bytes, in ascending order. Needs temporary disk of as many bytes as they are."""
    source = iter(records)
    with ExitStack() as files:
        runs: list[BinaryIO] = []
        while run := sorted(islice(source, at_once)):
            if len(run) < at_once and not runs:  # all of them fit
                yield from run
                return
            runs.append(cast(BinaryIO, files.enter_context(tempfile.TemporaryFile())))
            runs[-1].write(b"".join(run))
            runs[-1].seek(0)
        yield from heapq.merge(*(_read(file, width) for file in runs))


def _read(file: BinaryIO, width: int) -> Iterator[bytes]:
    while data := file.read(width * _READ):
        yield from (data[at : at + width] for at in range(0, len(data), width))
