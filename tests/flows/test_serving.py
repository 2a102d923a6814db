"""The console as operators start it: a process that says where it is, with TLS or without, and ends on a signal."""

from __future__ import annotations

import json
import re
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from flows.cli import main
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.settings import load_settings
from tasks import people
from tests.houses import command, write_settings
from tests.tasks.signers import Signer


@contextmanager
def console(config: Path) -> Iterator[str]:
    process = subprocess.Popen(
        command("console", "--port", "0", "--config", config),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"the console is at (https?://\S+)/;", said)
        assert found, said + process.stdout.read()
        yield found[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) in (0, 1)
    finally:
        process.kill()
        process.communicate()


def run(*arguments: object) -> int:
    """The command in this process."""
    with pytest.raises(SystemExit) as ended:
        main([str(one) for one in arguments])
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_a_token_of_the_command_opens_the_console_over_tls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    (tmp_path / "photos").mkdir()
    config = write_settings(
        tmp_path / "fwd2bot.toml",
        service={"certificate": "cert.pem", "key": "key.pem", "webhook": "http://127.0.0.1:9/"},
    )
    house = Installation(load_settings(config))
    people.register(house.ledger, "Ivo", Signer().public, [Role.AUDITOR])
    house.ledger.close()
    assert run("people", "token", "Ivo", "--json", "--config", config) == 0
    secret = json.loads(capsys.readouterr().out)["token"]
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with console(config) as address, httpx.Client(verify=trust, base_url=address) as client:
        assert address.startswith("https://")
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.post("/sign-in", data={"token": secret})
        assert answer.status_code == 303
        assert answer.headers["set-cookie"].startswith("__Host-fwd2bot=")
        assert "Nights" in client.get("/").text
        assert "server" not in answer.headers
    assert run("people", "token", "Ivo", "--revoke", "--config", config) == 0
    assert "1 tokens of Ivo are revoked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("service", "says"),
    [
        ({"host": "0.0.0.0"}, "tokens would travel in clear"),
        ({"certificate": "none.pem", "key": "none.pem"}, "cannot be used"),
        ({"certificate": "none.pem"}, "TLS needs both"),
        ({"host": "192.0.2.1", "proxies": ["127.0.0.1"]}, "cannot listen at 192.0.2.1"),
        ({"webhook": "ftp://x"}, "no web address"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(
    tmp_path: Path, service: dict[str, object], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_settings(tmp_path / "fwd2bot.toml", service=service)
    assert run("console", "--config", config) == 2
    assert says in capsys.readouterr().err


def test_figures_for_management_from_the_command(
    house: Callable[..., Installation],
    photos: Callable[..., list[Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos(2)
    house()
    for arguments in (["night"], ["kpi", "-o", str(tmp_path / "kpi.html")], ["kpi", "--json"]):
        capsys.readouterr()
        assert run(*arguments, "--config", tmp_path / "fwd2bot.toml") == 0
    assert json.loads(capsys.readouterr().out)["holdings"]["images"] == 2
    assert (tmp_path / "kpi.html").read_text().startswith("<!DOCTYPE html>")
