"""Dask's settings, as our work needs them: in this process, and in a file for schedulers and workers elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DASK_SETTINGS = "dask.yaml"
_HEAD = (
    "# Written by `fwd2bot cluster certs`; for `DASK_CONFIG=dask.yaml dask scheduler` and `dask worker`.\n"
)

# For glibc. Dask has it give back each freed megabyte at once, so that each tensor faults its pages in anew: the
# same forward pass then takes 1.6 times the processor time. A worker may keep 128 MiB instead.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": 32 * 1024**2, "MALLOC_TRIM_THRESHOLD_": 128 * 1024**2}

# Wherever scheduler and workers run. Dask's defaults are wrong for this work: with several strikes before it gives up,
# one poison batch takes innocent ones with it; a worker absent for 15 s is never replaced.
EVERYWHERE: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.no-workers-timeout": "10m",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "15m",
    "distributed.deploy.lost-worker-timeout": "30m",
    "distributed.worker.memory.target": False,  # a paused worker would keep its batch, and nobody takes it over
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.preload": ["infra.worker"],
    # Dask watches itself a hundred times a second: 3 % of two busy cores, for graphs that nobody looks at.
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "500ms",
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    **{f"distributed.nanny.pre-spawn-environ.{name}": size for name, size in ALLOCATOR.items()},
}
HERE = EVERYWHERE | {
    "distributed.worker.daemon": True,  # workers end with the driver, also when it is killed
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",  # what they log, we say
}


def write_dask_settings(folder: Path) -> Path:
    """``EVERYWHERE`` as a file that DASK_CONFIG can name on other machines, where plain tcp:// is refused, too."""
    import dask
    import yaml

    tree: dict[str, Any] = {}
    with dask.config.set(EVERYWHERE | {"distributed.comm.require-encryption": True}, config=tree):
        file = folder / DASK_SETTINGS
        file.write_text(_HEAD + yaml.safe_dump(tree))
    return file
