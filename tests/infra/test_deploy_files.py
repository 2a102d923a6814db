"""What stands in infra/deploy: each file is put to use as far as that goes without containers and without root."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import yaml

from flows.cluster import _commands, _files
from infra.certificates import Made
from infra.database import open_ledger
from infra.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "infra" / "deploy"
UNITS = DEPLOY / "systemd"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z0-9_]+)(:\?)?\}")


def example(name: str) -> dict[str, str]:
    """The variables of an env file."""
    lines = (DEPLOY / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def environment(service: str) -> dict[str, str]:
    """What the service's process sees, with every secret filled in."""
    given = SERVICES[service].get("environment", {})
    return {name: VARIABLE.sub("s3cret", value) for name, value in given.items()}


def settings_with(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FWD2BOT_CONFIG", str(DEPLOY / "fwd2bot.toml"))
    return load_settings()


def command(service: str) -> list[str]:
    given = SERVICES[service]["command"]
    return given.split() if isinstance(given, str) else given


def as_printed(folder: str, host: str) -> dict[str, list[str]]:
    """What `fwd2bot cluster certs` says is to be started, without the leading DASK_CONFIG=..."""
    now = datetime.now(UTC)
    made = Made(Path(folder), (host,), now, now, True)
    return {role: line.split()[1:] for role, line in _commands(made).items()}


def test_every_variable_of_compose_is_required_and_in_the_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert {required for _, required in VARIABLE.findall(text)} == {":?"}
    assert {name for name, _ in VARIABLE.findall(text)} == set(example("compose.env.example"))


@pytest.mark.parametrize("service", ["deploy", "prefect-worker"])
def test_composes_variables_are_settings(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(monkeypatch, environment(service))
    assert settings.archive.ledger == "postgresql+psycopg://ledger:s3cret@postgres/ledger"
    scheduler, port = settings.execution.executor.removeprefix("tls://").split(":")
    assert scheduler in SERVICES
    assert command(scheduler)[command(scheduler).index("--port") + 1] == port
    assert SERVICES["dask-worker"]["deploy"]["replicas"] == settings.execution.workers
    for s3 in (settings.archive.s3, settings.collection("line-1")[1].s3):
        host, port = str(s3.endpoint).removeprefix("http://").split(":")
        assert f"-s3.port={port}" in command(host)
        credentials = s3.credentials()  # refused if a named variable is not among the service's
        assert credentials is not None
        assert credentials.secret_access_key == "s3cret"
    assert settings.execution.certificates is not None
    mounted = [volume.split(":")[1] for volume in SERVICES[service]["volumes"]]
    assert {settings.execution.certificates, str(Path(settings.audit.key).parent)} <= set(mounted)
    assert environment(service)["FWD2BOT_CONFIG"] in mounted


def test_the_policies_name_the_buckets_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(monkeypatch, environment("deploy"))
    for location, policy in (
        (settings.archive.store, "s3-policy-archive.json"),
        (settings.collection("line-1")[1].originals, "s3-policy-originals.json"),
    ):
        bucket = location.removeprefix("s3://").split("/")[0]
        assert f'"arn:aws:s3:::{bucket}/*"' in (DEPLOY / policy).read_text()
        assert f"s3.bucket.create -name {bucket}" in (DEPLOY / "store-setup.sh").read_text()


def test_a_worker_has_the_credentials_that_it_reads_with(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with(monkeypatch, environment("deploy"))
    for s3 in (settings.archive.s3, settings.collection("line-1")[1].s3):
        assert {s3.access_key_id_env, s3.secret_access_key_env} <= set(environment("dask-worker"))


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_dask_starts_as_our_command_says(role: str) -> None:
    printed = as_printed(f"/certs/{role}", "dask-scheduler")[role]
    assert command(f"dask-{role}") == printed
    assert environment(f"dask-{role}")["DASK_CONFIG"] == f"/certs/{role}/dask.yaml"
    unit = unit_of(f"dask-{role}.service" if role == "scheduler" else "dask-worker@.service")
    started = unit["ExecStart"][0].replace("/opt/fwd2bot/bin/", "").split()
    assert started == [
        part.replace(f"/certs/{role}/", "/etc/fwd2bot/certs/").replace(
            "tls://dask-scheduler:8786", "${DASK_SCHEDULER_ADDRESS}"
        )
        for part in printed
    ]


def test_each_role_gets_its_files_and_only_one_service_the_authoritys_key(tmp_path: Path) -> None:
    """The script of `certs` is really run, twice, with folders of this test instead of volumes."""
    script = SERVICES["certs"]["command"][0].replace("$$", "$").replace("/certs", str(tmp_path))
    script = script.replace("fwd2bot cluster", f"{sys.executable} -m flows.cli cluster")
    for role in ("authority", "scheduler", "worker", "client"):
        (tmp_path / role).mkdir()
    for _ in range(2):
        subprocess.run(["sh", "-ec", script], check=True, cwd=ROOT, capture_output=True, timeout=120)
    for role in ("scheduler", "worker", "client"):
        there = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / role).iterdir()}
        assert set(there) == {*_files(role), "dask.yaml"}
        assert there[f"{role}.key"] == 0o600
    holders = [name for name, service in SERVICES.items() if "authority:" in str(service.get("volumes"))]
    assert holders == ["certs"]


def test_composes_references_hold_and_nothing_but_the_screen_is_published() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]
        assert service["image"] in ("fwd2bot", "postgres:17", "chrislusf/seaweedfs:4.48"), name
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:4200:4200"]


def test_prefects_two_ends_agree() -> None:
    server, worker = environment("prefect-server"), environment("prefect-worker")
    assert server["PREFECT_SERVER_API_AUTH_STRING"] == worker["PREFECT_API_AUTH_STRING"]
    assert "/prefect" in server["PREFECT_API_DATABASE_CONNECTION_URL"]
    assert "CREATE DATABASE prefect OWNER prefect" in COMPOSE["configs"]["databases"]["content"]
    assert command("prefect-worker")[-1] == Settings().prefect.pool


@pytest.mark.parametrize("name", ["Containerfile", "Containerfile.cuda"])
def test_what_an_image_copies_is_there_and_its_extras_are_declared(name: str) -> None:
    text = (DEPLOY / name).read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if re.match(r"COPY (?!--from)", line)]
    assert {source for sources in copied for source in sources} >= {"pyproject.toml", "infra", "flows"}
    assert all((ROOT / source).exists() for sources in copied for source in sources)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11-slim"}
    extras = re.search(r"'\.\[(.+)\]'", text)
    assert extras is not None
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras[1].split(","))


def unit_of(name: str) -> dict[str, list[str]]:
    """Every value of a unit, by its name, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(key, []).append(value)
    return found


def test_the_units_environment_is_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = example("systemd/environment.example")
    settings = settings_with(monkeypatch, variables)
    assert settings.execution.executor == variables["DASK_SCHEDULER_ADDRESS"]
    assert settings.archive.s3.credentials() is not None
    used = {name for unit in UNITS.glob("*.service") for name in VARIABLE.findall(unit.read_text())}
    assert {name for name, _ in used} <= set(variables)


def test_the_audit_is_signed_only_after_it_was_verified() -> None:
    assert [line.split(maxsplit=1)[1] for line in unit_of("fwd2bot-audit.service")["ExecStart"]] == [
        "audit verify",
        "audit checkpoint",
    ]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """With the programs of this environment, since systemd asks whether they are there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    names = sorted(path.name for path in UNITS.iterdir() if path.suffix in (".service", ".timer"))
    assert len(names) == 7
    for name in names:
        text = (UNITS / name).read_text().replace("/opt/fwd2bot/bin", str(Path(sys.executable).parent))
        (tmp_path / name).write_text(text)
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    said = subprocess.run(
        [*verify, *(tmp_path / name.replace("@.", "@1.") for name in names)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    ours = [line for line in said.stderr.splitlines() if any(name.split("@")[0] in line for name in names)]
    assert (said.returncode, ours) == (0, []), said.stderr


def test_the_databases_of_compose_serve_the_ledger_and_prefect(postgres_url: Callable[[], str]) -> None:
    """Each statement as the image's first start runs it; then both owners do what they need their database for."""
    script = VARIABLE.sub("s3cret", COMPOSE["configs"]["databases"]["content"])
    url = sa.make_url(postgres_url())
    admin = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        try:
            for statement in script.split(";"):
                connection.execute(statement.encode())
            own = url.set(username="ledger", password="s3cret", database="ledger")
            open_ledger(own.render_as_string(hide_password=False)).close()
            prefect = url.set(
                drivername="postgresql", username="prefect", password="s3cret", database="prefect"
            )
            with psycopg.connect(prefect.render_as_string(hide_password=False)) as theirs:
                theirs.execute("CREATE EXTENSION pg_trgm")  # as Prefect's own migrations do
            stranger = prefect.set(database="ledger").render_as_string(hide_password=False)
            with pytest.raises(psycopg.OperationalError, match="permission denied"):
                psycopg.connect(stranger)
        finally:
            for database, role in (("ledger", "ledger"), ("prefect", "prefect")):
                connection.execute(f"DROP DATABASE IF EXISTS {database}".encode())
                connection.execute(f"DROP ROLE IF EXISTS {role}".encode())
