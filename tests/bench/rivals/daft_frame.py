"""Daft: photos through a class of its own processes, each with a model, written by Daft's own Parquet sink.

Settings: ``paths`` reads files inside those processes, ``download`` with Daft's own reader before them. Nobody is told
that this runs: Daft's analytics are off in the environment that ``running`` gives.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import daft
import pyarrow as pa

from tests.bench.rivals.forwards import load_forward
from tests.bench.rivals.rows import columns
from tests.bench.rivals.task import Task, asked, pass_gate


class Model:
    """What each process holds."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._forward = load_forward(task)
        pass_gate(task)

    def __call__(self, keys: Any, *bodies: Any) -> Any:
        """A struct for each photo."""
        names = keys.to_pylist()
        found = bodies[0].to_pylist() if bodies else map(self._task.read, names)
        photos = [self._forward.prepare(key, body) for key, body in zip(names, found, strict=True)]
        return self._forward.table(photos).to_struct_array().combine_chunks()


def main(task: Task) -> None:
    """Every photo once."""
    schema = columns(task.token_bytes, task.d)
    model = daft.udf(
        return_dtype=daft.DataType.from_arrow_type(pa.struct(schema)),
        concurrency=task.models,
        batch_size=task.micro_batch,
        use_process=True,
    )(Model).with_init_args(task)
    frame = daft.from_pydict({"key": task.keys, "path": [str(Path(task.root) / key) for key in task.keys]})
    given = [daft.col("key")]
    if task.setting == "download":
        given.append(daft.col("path").download())
    made = frame.select(model(*given).alias("made"))
    fields = [daft.col("made")[name].alias(name) for name in schema.names]
    made.select(*fields).write_parquet(task.out, compression="zstd")


if __name__ == "__main__":
    main(asked())
