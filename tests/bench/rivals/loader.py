"""A script around ``torch.utils.data.DataLoader``: a process for each model, each with its share of the photos.

Settings: ``loaders=0`` decodes between forward passes, ``loaders=1`` in one process more for each model.
"""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pyarrow.parquet as pq
from torch.utils.data import DataLoader, Dataset

from fwd2bot_core.tokens.shard import ROWS_PER_GROUP
from tests.bench.rivals.forwards import Forward, load_forward
from tests.bench.rivals.rows import Ready
from tests.bench.rivals.task import Task, asked, pass_gate


class Photos(Dataset[Ready]):
    """Photos on disk, prepared one by one."""

    def __init__(self, task: Task, keys: list[str], forward: Forward) -> None:
        self._task, self._keys, self._forward = task, keys, forward

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, number: int) -> Ready:
        key = self._keys[number]
        return self._forward.prepare(key, self._task.read(key))


def _share(task: Task, number: int) -> None:
    forward = load_forward(task)
    pass_gate(task)
    loaders = int(task.setting.removeprefix("loaders="))
    loader = DataLoader(
        Photos(task, task.keys[number :: task.models], forward),
        batch_size=task.micro_batch,
        num_workers=loaders,
        multiprocessing_context="fork"
        if loaders
        else None,  # a spawned parent would spawn: seconds of imports
        collate_fn=list,
    )
    writer = None
    batches = iter(loader)
    for _ in range(len(loader)):  # and not to its end, where it waits seconds for its processes to go
        table = forward.table(next(batches))
        writer = writer or pq.ParquetWriter(
            Path(task.out) / f"{number}.parquet", table.schema, compression="zstd"
        )
        writer.write_table(table, row_group_size=ROWS_PER_GROUP)
    if writer is not None:
        writer.close()


def main(task: Task) -> None:
    """Every photo once, in as many processes as models."""
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=_share, args=(task, number)) for number in range(task.models)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise SystemExit("a process of the DataLoader script failed")


if __name__ == "__main__":
    main(asked())
