"""Workers elsewhere, on a real scheduler with TLS: who is let in, what travels, and what is said when it goes wrong."""

from __future__ import annotations

import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest
from distributed import Client
from distributed.security import Security

import fwd2bot_core.compressor.nano
import infra.cluster
from fwd2bot_core.errors import BundleInvalid, ClusterError
from infra.certificate_pair import Pair
from infra.certificates import make
from infra.cluster import connected, slurm_options
from infra.cluster_link import check_same_software, security_of, try_out
from infra.cluster_settings import write_dask_settings
from infra.doctor import examine
from infra.executor import Finished, make_executor
from infra.installation import Installation
from infra.settings import ExecutionSettings
from infra.worker import compress_batch
from tests.houses import COLLECTION
from tests.servers.dask_cluster import TlsCluster, free_port, tls_cluster
from tests.tasks.steps import planned

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]
BUNDLE = Path(fwd2bot_core.compressor.nano.__file__).parent / "bundle"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsCluster]:
    with tls_cluster(tmp_path_factory.mktemp("dask")) as running:
        settings = execution(running)
        with connected(settings):  # the worker has come
            pass
        yield running


def execution(
    cluster: TlsCluster, address: str | None = None, start_seconds: float = 90
) -> ExecutionSettings:
    return ExecutionSettings(
        executor=address or cluster.address,
        certificates=str(cluster.certificates),
        start_seconds=start_seconds,
    )


def refused(cluster: TlsCluster, address: str) -> str:
    with pytest.raises(ClusterError) as error, connected(execution(cluster, address)):
        raise AssertionError("it was let in")
    return str(error.value)


def test_batches_run_on_the_worker_elsewhere(cluster: TlsCluster, house: BuildHouse, photos: Photos) -> None:
    photos(45)
    installation = house()
    _, _, batches = planned(installation)
    with make_executor(execution(cluster), installation.worker_config(COLLECTION)) as executor:
        outcomes = list(executor.run(batches))
    assert sorted(outcome.batch.batch_id for outcome in outcomes) == sorted(
        batch.batch_id for batch in batches
    )
    for outcome in outcomes:
        assert isinstance(outcome, Finished)
        assert installation.archive.stat(outcome.receipt.segment.path)


def test_who_has_no_certificate_is_not_let_in(cluster: TlsCluster) -> None:
    context = ssl.create_default_context(cafile=str(cluster.certificates / "ca.pem"))
    port = int(cluster.address.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
    ):
        wrapped.recv(1)


def test_who_has_a_foreign_certificate_is_not_let_in(cluster: TlsCluster, tmp_path: Path) -> None:
    make(tmp_path / "foreign", ["127.0.0.1"])
    foreign = Pair.of(tmp_path / "foreign", "client")
    mixed = Security(
        require_encryption=True,
        tls_ca_file=str(cluster.certificates / "ca.pem"),
        tls_client_cert=str(foreign.certificate),
        tls_client_key=str(foreign.key),
    )
    with pytest.raises(ClusterError, match="refuses our certificate"):
        try_out(cluster.address, mixed)
    with pytest.raises(OSError):  # noqa: PT011  (Dask's own client, too)
        Client(cluster.address, security=mixed, timeout=5)
    with pytest.raises(ClusterError, match=r"not to be trusted .*signed"):
        try_out(cluster.address, security_of(tmp_path / "foreign"))


def test_a_scheduler_under_another_name_is_not_trusted(cluster: TlsCluster) -> None:
    port = cluster.address.rpartition(":")[2]
    said = refused(cluster, f"tls://localhost:{port}")
    assert "not to be trusted" in said
    assert "--host localhost" in said
    lax, strict = security_of(cluster.certificates, named=False), security_of(cluster.certificates)
    with Client(f"tls://localhost:{port}", security=lax, timeout=10) as client:
        assert client.nthreads()
    with pytest.raises(OSError):  # noqa: PT011
        Client(f"tls://localhost:{port}", security=strict, timeout=5)


def test_a_worker_cannot_pass_for_the_scheduler(cluster: TlsCluster) -> None:
    files = Pair.of(cluster.certificates, "worker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files.authority))
    context.load_cert_chain(files.certificate, files.key)
    strict = security_of(cluster.certificates).get_connection_args("client")["ssl_context"]
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)not valid for"):
        shake_hands(strict, context)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """A TLS handshake in memory."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(5):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_a_scheduler_that_goes_while_it_is_asked_is_named(
    cluster: TlsCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(client: Any, address: str) -> None:
        raise OSError("Stream is closed")

    monkeypatch.setattr(infra.cluster, "check_same_software", gone)
    with (
        pytest.raises(ClusterError, match="answers no more: Stream is closed"),
        connected(execution(cluster)),
    ):
        pass


def test_without_tls_nobody_is_let_in(cluster: TlsCluster) -> None:
    port = cluster.address.rpartition(":")[2]
    assert "or wants tls://" in refused(cluster, f"tcp://127.0.0.1:{port}")


def test_where_nothing_listens_or_something_else(cluster: TlsCluster) -> None:
    assert "no Dask scheduler answers at tls://127.0.0.1" in refused(
        cluster, f"tls://127.0.0.1:{free_port()}"
    )
    assert "no Dask scheduler answers at tls://nowhere.invalid" in refused(cluster, "tls://nowhere.invalid:1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(cluster, f"tls://127.0.0.1:{silent.getsockname()[1]}")
        assert "timed out" in said


def test_the_doctor_says_what_is_wrong_with_the_way_there(cluster: TlsCluster, house: BuildHouse) -> None:
    def cluster_check(**settings: str) -> str:
        checks = examine(house(execution={"executor": cluster.address, **settings}))
        return next(f"{check.ok} {check.detail}" for check in checks if check.part == "cluster")

    there = str(cluster.certificates)
    assert cluster_check(certificates=there).startswith(f"True 1 worker(s) of {cluster.address}")
    assert "False cannot read" in cluster_check(certificates=str(cluster.certificates / "nothing"))
    gone = f"tls://127.0.0.1:{free_port()}"
    assert "False no Dask scheduler answers" in cluster_check(certificates=there, executor=gone)


def test_only_names_travel_and_no_model(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    installation = house(compressor={"bundle": "nano"})
    config = installation.worker_config(COLLECTION)
    _, _, batches = planned(installation)
    sent = cloudpickle.dumps((compress_batch, batches[0], config))
    assert len(sent) < 20_000 < (BUNDLE / "model.safetensors").stat().st_size
    assert b"torch" not in sent.replace(b"torch_threads", b"")


def test_a_worker_reads_the_bundle_where_it_runs_and_checks_its_bytes(
    cluster: TlsCluster, house: BuildHouse, tmp_path: Path
) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    installation = house(compressor={"bundle": str(tmp_path / "bundle")})
    config = installation.worker_config(COLLECTION)  # planned while it was whole
    weights = tmp_path / "bundle" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    with pytest.raises(BundleInvalid), make_executor(execution(cluster), config):
        raise AssertionError("it was loaded")
    other = replace(config, bundle="fake")
    with pytest.raises(ClusterError, match="has fingerprint"), make_executor(execution(cluster), other):
        raise AssertionError("another one was taken for it")


@pytest.mark.long
def test_a_scheduler_that_dies_and_stays_away_is_named_in_the_end(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(200)
    installation = house()
    _, _, batches = planned(installation)
    config = installation.worker_config(COLLECTION)
    killed: list[float] = []
    told: list[str] = []

    def night(mortal: TlsCluster) -> None:
        with make_executor(execution(mortal, start_seconds=10), config, tell=told.append) as executor:
            for _ in executor.run(batches):
                mortal.scheduler.kill()
                killed.append(time.monotonic())

    with tls_cluster(tmp_path / "dask") as mortal:
        with pytest.raises(ClusterError, match=f"no Dask scheduler answers at {mortal.address}"):
            night(mortal)
        assert killed
        assert time.monotonic() - killed[0] < 60
    (waits,) = told
    assert waits.startswith(f"again when the Dask scheduler at {mortal.address} is back")


# --- what both ends must have


class Talking:
    """A client whose scheduler and worker say that they are of certain versions."""

    def __init__(self, strikes: int = 0, **differs: str | None) -> None:
        same = {"python": "3.12.1.final.0", "dask": "1", "distributed": "1", "fwd2bot": "0.1"}
        self._mine, self._theirs, self._strikes = {"packages": same}, {"packages": same | differs}, strikes

    def get_versions(self, packages: list[str]) -> dict[str, Any]:
        assert packages == ["fwd2bot"]
        return {"client": self._mine, "scheduler": self._mine, "workers": {"tls://w:1": self._theirs}}

    def run_on_scheduler(self, question: object) -> int:
        return self._strikes


def test_the_same_software_everywhere() -> None:
    check_same_software(Talking(python="3.12.9.final.0"), "tls://s:1")  # a patch may differ
    with pytest.raises(
        ClusterError, match=r"worker tls://w:1 has python 3\.13 instead of 3\.12, dask 2 instead of 1"
    ):
        check_same_software(Talking(python="3.13.0.final.0", dask="2"), "tls://s:1")
    with pytest.raises(ClusterError, match=r"fwd2bot missing instead of 0\.1"):
        check_same_software(Talking(fwd2bot=None), "tls://s:1")


def test_a_scheduler_that_blames_the_innocent_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"lets a bad batch kill 3 more workers.*dask\.yaml"):
        check_same_software(Talking(strikes=3), "tls://s:1")


# --- GPUs here, and SLURM


def test_without_dask_cuda_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_cuda", None)
    with pytest.raises(ClusterError, match=r"pip install 'fwd2bot\[gpu\]'"), connected(here("local-cuda")):
        raise AssertionError("it ran")


def test_without_a_gpu_that_is_said(monkeypatch: pytest.MonkeyPatch, house: BuildHouse) -> None:
    class NVMLError(Exception):
        __module__ = "pynvml"

    given: dict[str, Any] = {}

    def start(**options: Any) -> None:
        given.update(options)
        raise NVMLError("NVML Shared Library Not Found")

    stub = ModuleType("dask_cuda")
    stub.LocalCUDACluster = start  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_cuda", stub)
    checks = {check.part: check for check in examine(house(execution={"executor": "local-cuda"}))}
    assert not checks["cluster"].ok
    assert "finds no GPU: NVML Shared Library Not Found" in checks["cluster"].detail
    assert given["rmm_pool_size"] is None
    assert given["resources"] == {"GPU": 1}
    assert "n_workers" not in given  # one a GPU


def here(executor: str, **settings: Any) -> ExecutionSettings:
    return ExecutionSettings(executor=executor, start_seconds=20, **settings)


def test_slurm_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with (
        pytest.raises(ClusterError, match=r"pip install 'fwd2bot\[slurm\]'"),
        connected(here("slurm", certificates=str(tmp_path))),
    ):
        raise AssertionError("it ran")


def test_a_job_of_slurm_has_keys_and_our_settings(tmp_path: Path) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue")
    make(tmp_path)
    write_dask_settings(tmp_path)
    own = {
        "queue": "gpu",
        "walltime": "08:00:00",
        "memory": "16GiB",
        "job_script_prologue": ["module load cuda"],
    }
    options = slurm_options(here("slurm", certificates=str(tmp_path), slurm=own))
    with jobqueue.SLURMCluster(**options) as made:
        script = made.job_script()
        assert made.scheduler_address.startswith("tls://")
    for part in (
        "#SBATCH -p gpu",
        "#SBATCH -t 08:00:00",
        "#SBATCH --mem=16G",
        "module load cuda",
        f"export DASK_CONFIG={tmp_path}/dask.yaml",
        f"--tls-key {tmp_path}/worker.key",
        "--resources GPU=1",
    ):
        assert part in script


def test_workers_without_the_resource_take_no_batches() -> None:
    class Idle:
        def wait_for_workers(self, count: int, timeout: float) -> None: ...

        def scheduler_info(self, n_workers: int) -> dict[str, Any]:
            return {"workers": {"a": {"resources": {}}, "b": {"resources": {"GPU": 0.0}}}}

    client = Idle()
    waiting = infra.cluster.Cluster(client, "tls://s:1", 1, 5.0, lambda: infra.cluster._offering(client))
    with pytest.raises(ClusterError, match="start them with --resources GPU=1"):
        waiting.await_workers()
