"""The workers that a night may use, and the client that reaches them: processes here, one a GPU here, jobs of SLURM, or
those of a Dask scheduler elsewhere.

Off this machine everything is TLS with keys of our own authority, since whoever reaches a Dask port can run any code.
Knows nothing about batches; what a worker must be able to do is asked of it in ``infra.executor``.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_fixed

from fwd2bot_core.errors import ClusterError
from infra.cluster_link import check_same_software, security_of, try_out
from infra.cluster_settings import DASK_SETTINGS, HERE
from infra.settings import ExecutionSettings

CONNECT_SECONDS = 10.0  # that a scheduler which answered may take for the rest
CLOSE_SECONDS = 10.0  # that they may take to go
KNOCK_SECONDS = 1.0  # between two looks for a scheduler that died

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connected client; ``place`` is what a sentence calls it."""

    client: Any
    place: str
    wanted: int  # workers that must be there before a night begins
    patience: float  # seconds that they may take
    count: Callable[[], int]  # those there now

    def await_workers(self) -> None:
        try:
            self.client.wait_for_workers(self.wanted, timeout=self.patience)
        except TimeoutError:
            raise ClusterError(
                f"{self.place} has fewer than {self.wanted} worker(s) after {self.patience:.0f} s "
                "(execution.start_seconds); start them, nothing is lost"
            ) from None
        if not self.count():
            raise ClusterError(f"no worker of {self.place} offers a GPU; start them with --resources GPU=1")


@contextmanager
def connected(settings: ExecutionSettings) -> Iterator[Cluster]:
    """The cluster that the settings name, for as long as the block runs; own workers end with it, others stay.

    Raises ``ClusterError`` when it cannot be had.
    """
    _quieten()
    if "://" in settings.executor:
        with _attached(settings) as cluster:
            yield cluster
        return
    import dask

    with dask.config.set(HERE), _own(settings) as cluster:
        yield cluster


def _quieten() -> None:
    """A killed worker or scheduler is an outcome, told by us. Dask sets its levels when it is imported, so after that;
    its client has one of its own."""
    import distributed

    for name in ("", ".client"):
        logging.getLogger(distributed.__name__ + name).setLevel(logging.CRITICAL)


def patiently(start: Callable[[], T]) -> T:
    """A worker that dies while it starts is bad luck once, and a reason to give up the third time: going on
    would blame the images for it."""
    again = retry_if_exception_type((OSError, RuntimeError))
    return Retrying(stop=stop_after_attempt(3), retry=again, reraise=True)(start)


def when_back(start: Callable[[], T], settings: ExecutionSettings, tell: Callable[[str], None]) -> T:
    """What ``start`` gives once a scheduler elsewhere is there again, with workers: whoever looks after it starts it
    anew. Raises what ``start`` last raised when ``execution.start_seconds`` are over."""
    tell(
        f"again when the Dask scheduler at {settings.executor} is back; it died, and may be away for "
        f"{settings.start_seconds:.0f} s (execution.start_seconds)"
    )
    again = retry_if_exception_type(ClusterError)
    found = Retrying(
        stop=stop_after_delay(settings.start_seconds),
        wait=wait_fixed(KNOCK_SECONDS),
        retry=again,
        reraise=True,
    )(start)
    tell("compression")
    return found


@contextmanager
def _own(settings: ExecutionSettings) -> Iterator[Cluster]:
    """Workers that this process starts, and ends."""
    from distributed import Client

    start = {"local": _local, "local-cuda": _local_cuda, "slurm": _slurm}[settings.executor]
    try:
        made = patiently(lambda: start(settings))
    except RuntimeError as error:
        raise ClusterError(f"the worker processes do not start: {error.__cause__ or error}") from error
    # Jobs come when there is room for them: a night begins with the first.
    queues = settings.executor == "slurm"
    wanted = 1 if queues else len(made.worker_spec)
    with Client(made) as client:
        try:
            yield Cluster(
                client,
                f"the {settings.executor} cluster",
                wanted,
                settings.start_seconds,
                (lambda: _offering(client)) if queues else (lambda: wanted),
            )
        finally:
            _close(made, client, wanted)


def _local(settings: ExecutionSettings) -> Any:
    """Worker processes on this machine."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=settings.workers,
        threads_per_worker=1,
        processes=True,
        resources={"GPU": 1},
        memory_limit=settings.memory_limit,
        dashboard_address="127.0.0.1:0",  # unauthenticated, so never beyond this machine
        host="127.0.0.1",
    )


def _local_cuda(settings: ExecutionSettings) -> Any:
    """One worker process a GPU of this machine, or of CUDA_VISIBLE_DEVICES; each sees only its own."""
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise ClusterError(
            f"execution.executor = 'local-cuda' needs dask-cuda ({error}): pip install 'fwd2bot[gpu]'"
        ) from None
    try:
        return LocalCUDACluster(
            threads_per_worker=1,
            resources={"GPU": 1},
            memory_limit=settings.memory_limit,
            device_memory_limit=0,  # it would spill what Dask holds, and Dask holds no tensors
            rmm_pool_size=None,  # a pool would compete with torch's own
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
        )
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "pynvml":
            raise
        raise ClusterError(
            f"execution.executor = 'local-cuda' finds no GPU: {error}. Install NVIDIA's driver (nvidia-smi must list "
            "the GPU), or set execution.executor = 'local'"
        ) from None


def _slurm(settings: ExecutionSettings) -> Any:
    """``execution.workers`` jobs of one worker each; the scheduler is in this process, and everything is TLS."""
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ClusterError(
            f"execution.executor = 'slurm' needs dask-jobqueue ({error}): pip install 'fwd2bot[slurm]'"
        ) from None
    made = SLURMCluster(**slurm_options(settings))
    try:
        made.scale(settings.workers)
    except BaseException:
        made.close()
        raise
    return made


def slurm_options(settings: ExecutionSettings) -> dict[str, Any]:
    """What ``SLURMCluster`` is made with: what the settings say, and what our work needs. The certificates lie on a
    file system that the nodes share, and Dask's settings beside them."""
    folder = _certificates(settings)
    theirs = dict(settings.slurm)
    return {
        "cores": 1,
        "memory": "4GiB" if settings.memory_limit == "auto" else settings.memory_limit,
        **theirs,
        "processes": 1,
        "n_workers": 0,
        "protocol": "tls://",
        "security": security_of(folder, named=False),  # scheduler and client are both this process
        "scheduler_options": {"dashboard_address": "127.0.0.1:0"},
        "worker_extra_args": [*theirs.get("worker_extra_args", []), "--resources", "GPU=1", "--no-dashboard"],
        "job_script_prologue": [
            *theirs.get("job_script_prologue", []),
            f"export DASK_CONFIG={shlex.quote(str(folder / DASK_SETTINGS))}",
        ],
    }


@contextmanager
def _attached(settings: ExecutionSettings) -> Iterator[Cluster]:
    """The client of a scheduler that others run; workers come and go there while we work."""
    from distributed import Client

    address = settings.executor
    security = security_of(_certificates(settings)) if address.startswith("tls://") else None
    try_out(address, security)
    try:
        client = Client(address, security=security, timeout=CONNECT_SECONDS)
    except OSError as error:
        raise ClusterError(f"the Dask scheduler at {address} answers, and then does not: {error}") from error
    with client:
        cluster = Cluster(client, address, 1, settings.start_seconds, lambda: _offering(client))
        try:
            cluster.await_workers()
            check_same_software(client, address)
        except OSError as error:  # it died, or a worker did, while it was asked
            raise ClusterError(f"the Dask scheduler at {address} answers no more: {error}") from error
        yield cluster


def _offering(client: Any) -> int:
    """Workers that take our batches: those with the resource that each batch asks for."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(worker["resources"].get("GPU", 0) >= 1 for worker in workers)


def _certificates(settings: ExecutionSettings) -> Path:
    assert settings.certificates is not None  # the settings see to it
    return Path(settings.certificates)


def _close(cluster: Any, client: Any, workers: int) -> None:
    """End the workers, soon. Dask's own closing waits for ever for a worker that it is just replacing: so that one
    may come up first, and what has not ended then dies with this process."""
    with suppress(TimeoutError):
        client.wait_for_workers(workers, timeout=CLOSE_SECONDS)
    try:
        cluster.close(timeout=CLOSE_SECONDS)
    except TimeoutError:
        cluster.shutdown_on_close = False  # nor does it get a second chance when Python exits
