"""Settings of where batches run: workers, their devices and memory, and how they are reached.

Knows nothing about what the values are used for.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from fwd2bot_core.compressor.loading import Device
from infra.setting_types import Executor, Folder, Memory, Section


class ExecutionSettings(Section):
    """Where batches run."""

    executor: Executor = Field(
        "local", description="inline, local, local-cuda, slurm, or the tls:// address of a Dask scheduler"
    )
    workers: int = Field(
        2,
        ge=1,
        le=256,
        description="worker processes; as many are expected of a scheduler, or of the GPUs here",
    )
    device: Device = Field(
        "auto",
        description="cpu, cuda, or auto: the GPU if there is one, but with executor local the processor",
    )
    torch_threads: int = Field(1, ge=0, le=512, description="threads of one forward pass; 0 = torch's own")
    fetch_threads: int = Field(4, ge=1, le=256, description="concurrent reads and decodes a worker")
    memory_limit: Memory = Field("auto", description="of a worker, such as 8GiB; 'auto' shares the machine's")
    certificates: Folder | None = Field(
        None, description="folder of `fwd2bot cluster certs`, for tls:// and slurm"
    )
    start_seconds: float = Field(300.0, gt=0, description="that workers may take to be there")
    slurm: dict[str, Any] = Field(
        {}, description="what dask_jobqueue.SLURMCluster takes: queue, walltime, ..."
    )

    @property
    def worker_device(self) -> Device:
        """What a worker computes on. Workers of ``local`` all see the same GPUs, so each would put its copy of the
        model on the first one: that happens only where "cuda" is said."""
        return "cpu" if self.device == "auto" and self.executor == "local" else self.device

    @model_validator(mode="after")
    def _beyond_this_machine_is_tls(self) -> Self:
        if self.certificates is None and (self.executor == "slurm" or self.executor.startswith("tls://")):
            raise ValueError(
                f"executor = {self.executor!r} needs certificates, the folder that `fwd2bot cluster certs DIR` makes"
            )
        return self
