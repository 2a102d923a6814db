"""The way to a Dask scheduler elsewhere: is it there, does it take our key, has it our software? Each answer is one
sentence, where Dask itself would try for half a minute and end in a traceback.

Knows nothing about who starts schedulers or what runs on workers.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fwd2bot_core.errors import ClusterError
from infra.certificate_pair import Pair, check

ANSWER_SECONDS = 5.0
OURS = "fwd2bot"
_SAME = ("python", "dask", "distributed", OURS)  # what both ends must have in one version


def security_of(folder: Path, *, named: bool = True) -> Any:
    """Dask's security with the keys of ``folder``; those of scheduler and worker only where they lie there.
    ``named``: the scheduler must prove the name under which it is asked for."""
    from distributed.security import Security

    client = Pair.of(folder, "client")
    check(client)

    class NamedSecurity(Security):  # type: ignore[misc]
        """Dask accepts whatever its authority signed; our client also wants the name that it asked for."""

        __slots__ = Security.__slots__  # where Dask looks its settings up

        def get_connection_args(self, role: str) -> dict[str, Any]:
            found: dict[str, Any] = super().get_connection_args(role)
            if named and role == "client" and found["ssl_context"] is not None:
                found["ssl_context"].check_hostname = True
            return found

    files = {
        "tls_client_cert": client.certificate,
        "tls_client_key": client.key,
        "tls_ca_file": client.authority,
    }
    for role in ("scheduler", "worker"):
        pair = Pair.of(folder, role)
        if pair.key.exists():
            files |= {f"tls_{role}_cert": pair.certificate, f"tls_{role}_key": pair.key}
    return NamedSecurity(require_encryption=True, **{name: str(file) for name, file in files.items()})


def try_out(address: str, security: Any) -> None:
    """One connection: the name is known, the port answers, both ends accept the other's certificate."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or 0
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as plain:
            if security is None:
                _first_byte(plain, address)
                return
            context = security.get_connection_args("client")["ssl_context"]
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                _first_byte(wrapped, address)  # it has seen our certificate only now
    except ssl.SSLCertVerificationError as error:
        raise ClusterError(
            f"the certificate of the Dask scheduler at {address} is not to be trusted ({error.verify_message}). Give "
            f"it one of the same `fwd2bot cluster certs`, made with --host {host}."
        ) from error
    except ssl.SSLError as error:
        raise ClusterError(_refusal(address, error)) from error
    except OSError as error:
        raise ClusterError(
            f"no Dask scheduler answers at {address} ({error.strerror or error}). Start it, or correct "
            "execution.executor; nothing is lost."
        ) from error


def _first_byte(connection: socket.socket, address: str) -> None:
    """Dask's scheduler speaks first; a foreign program, or one that does not like our key, hangs up."""
    try:
        spoken = connection.recv(1)
    except TimeoutError:
        spoken = b""
    if not spoken:
        raise ClusterError(
            f"what listens at {address} does not greet us: it is no Dask scheduler, or wants tls://"
        )


def _refusal(address: str, error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "wrong version" in reason or "record layer" in reason:
        return f"what listens at {address} does not speak TLS; start the scheduler with --protocol tls and its keys"
    return (
        f"the Dask scheduler at {address} refuses our certificate ({reason}). Use client.pem and client.key of the "
        "`fwd2bot cluster certs` that made the scheduler's."
    )


def check_same_software(client: Any, address: str) -> None:
    """The scheduler and each worker have our Python, our Dask and this Fwd2Bot; else they misunderstand each other in
    the middle of a night. And the scheduler blames one batch for a death, not all that were near."""
    found = client.get_versions(packages=[OURS])
    ours = _versions(found["client"])
    theirs = {f"the scheduler at {address}": found["scheduler"]} | {
        f"worker {name}": versions for name, versions in found["workers"].items()
    }
    for who, versions in theirs.items():
        differ = [
            f"{name} {there or 'missing'} instead of {ours[name]}"
            for name, there in _versions(versions).items()
            if there != ours[name]
        ]
        if differ:
            raise ClusterError(
                f"{who} has {', '.join(differ)}; install the same there as here, and start it again"
            )
    strikes = client.run_on_scheduler(_allowed_failures)
    if strikes:
        raise ClusterError(
            f"the scheduler at {address} lets a bad batch kill {strikes} more workers, and innocent batches with them; "
            "start it with DASK_CONFIG naming the dask.yaml that `fwd2bot cluster certs` writes"
        )


def _versions(said: dict[str, Any]) -> dict[str, str | None]:
    """Python to its minor version: a patch may differ."""
    packages = dict(said["packages"])
    packages["python"] = ".".join(packages["python"].split(".")[:2])
    return {name: packages.get(name) for name in _SAME}


def _allowed_failures(dask_scheduler: Any) -> int:
    return int(dask_scheduler.allowed_failures)
