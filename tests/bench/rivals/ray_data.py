"""Ray Data: photos through a pool of actors that hold a model each, written by Ray's own Parquet sink.

Settings: ``paths`` reads files inside the actors, ``files`` with Ray's own source before them. Nobody is told that
this runs: Ray's usage statistics are off in the environment that ``running`` gives.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ray
import ray.data

from fwd2bot_core.tokens.shard import ROWS_PER_GROUP
from tests.bench.rivals.forwards import load_forward
from tests.bench.rivals.task import Task, asked, pass_gate

MEMORY = 256 * 2**20  # of the object store; all that flows here is smaller


class Model:
    """One actor."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._forward = load_forward(task)
        pass_gate(task)

    def __call__(self, batch: Any) -> Any:
        keys = batch.column("key").to_pylist() if "key" in batch.column_names else self._named(batch)
        bodies = (
            batch.column("bytes").to_pylist() if "bytes" in batch.column_names else map(self._task.read, keys)
        )
        photos = [self._forward.prepare(key, body) for key, body in zip(keys, bodies, strict=True)]
        return self._forward.table(photos)

    def _named(self, batch: Any) -> list[str]:
        root = Path(self._task.root)
        return [str(Path(path).relative_to(root)) for path in batch.column("path").to_pylist()]


def main(task: Task) -> None:
    """Every photo once. One processor more than the actors ask for, or reading and writing would wait for them."""
    ray.init(
        address="local",
        num_cpus=task.models + 1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=MEMORY,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    made = _source(task).map_batches(
        Model,
        fn_constructor_args=(task,),
        batch_size=task.micro_batch,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=task.models),
        num_cpus=1,
    )
    made.write_parquet(task.out, compression="zstd", row_group_size=ROWS_PER_GROUP)
    ray.shutdown()


def _source(task: Task) -> Any:
    blocks = max(task.models, len(task.keys) // (4 * task.micro_batch))  # each some micro-batches
    if task.setting == "files":
        paths = [str(Path(task.root) / key) for key in task.keys]
        return ray.data.read_binary_files(paths, include_paths=True, override_num_blocks=blocks)
    return ray.data.from_items([{"key": key} for key in task.keys], override_num_blocks=blocks)


if __name__ == "__main__":
    main(asked())
