"""Certificates: what they allow, who may read them, what is never overwritten; real TLS is in test_cluster.py."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

import infra.certificates
from fwd2bot_core.errors import ClusterError, UsageError
from infra.certificate_pair import Pair, check
from infra.certificates import ROLES, make


def read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    made = make(tmp_path / "certs")
    assert made.folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in made.folder.iterdir()}
    assert modes == {f"{who}.key": 0o600 for who in ("ca", *ROLES)} | {
        f"{who}.pem": 0o644 for who in ("ca", *ROLES)
    }


def test_a_strict_verifier_accepts_the_scheduler_under_its_names_only(tmp_path: Path) -> None:
    make(tmp_path, ["scheduler.example", "10.0.0.5"])
    store = Store([read(tmp_path / "ca.pem")])
    verifier = PolicyBuilder().store(store)
    scheduler = read(tmp_path / "scheduler.pem")
    assert verifier.build_server_verifier(x509.DNSName("scheduler.example")).verify(scheduler, [])
    assert verifier.build_client_verifier().verify(scheduler, [])  # it speaks to workers as a client
    with pytest.raises(VerificationError):
        verifier.build_server_verifier(x509.DNSName("other.example")).verify(scheduler, [])
    for role in ("worker", "client"):
        with pytest.raises(VerificationError):
            verifier.build_server_verifier(x509.DNSName("scheduler.example")).verify(
                read(tmp_path / f"{role}.pem"), []
            )


def test_a_clients_certificate_is_none_for_a_server(tmp_path: Path) -> None:
    make(tmp_path)
    client = read(tmp_path / "client.pem")
    uses = client.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    may = client.extensions.get_extension_for_class(x509.KeyUsage)
    assert may.critical
    assert may.value.digital_signature
    assert not may.value.key_cert_sign


def test_the_authority_signs_and_does_nothing_else(tmp_path: Path) -> None:
    make(tmp_path)
    authority = read(tmp_path / "ca.pem")
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert limits.critical
    assert limits.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = authority.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="--renew"):
        make(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("renew", [False, True])
def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path, renew: bool) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    tmp_path.chmod(0o755)
    with pytest.raises(UsageError, match="other files"):
        make(tmp_path, renew=renew)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_renewal_keeps_authority_and_names(tmp_path: Path) -> None:
    make(tmp_path, ["scheduler.example", "::1"])
    before = contents(tmp_path)
    made = make(tmp_path, renew=True, days=30)
    assert made.hosts == ("scheduler.example", "::1")
    assert not made.new_authority
    after = contents(tmp_path)
    assert {name for name in after if after[name] == before[name]} == {"ca.pem", "ca.key"}
    assert abs(check(Pair.of(tmp_path, "client")) - datetime.now(UTC) - timedelta(days=30)) < timedelta(
        minutes=1
    )


def test_a_renewal_outlives_no_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra.certificates, "AUTHORITY_DAYS", 5)
    made = make(tmp_path)
    assert made.until == made.authority_until
    monkeypatch.setattr(infra.certificates, "AUTHORITY_DAYS", 0.5)
    make(tmp_path / "old")
    assert make(tmp_path / "old", renew=True).new_authority


def test_without_the_authoritys_key_nothing_is_renewed(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "ca.key").unlink()
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"no usable ca\.key"):
        make(tmp_path, renew=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("host", ["", "a b", "höst", "a..b", "*", "tls://host:1"])
def test_what_is_no_host(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="no host name"):
        make(tmp_path / "certs", [host])


def test_what_is_wrong_with_a_pair_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    make(one)
    make(two)
    with pytest.raises(ClusterError, match=r"cannot read .*nowhere.*No such file"):
        check(Pair.of(tmp_path / "nowhere", "client"))
    with pytest.raises(ClusterError, match="no certificate with its key"):
        check(Pair(one / "ca.pem", one / "client.pem", one / "worker.key"))
    with pytest.raises(ClusterError, match="was not signed by"):
        check(Pair(two / "ca.pem", one / "client.pem", one / "client.key"))
    (one / "client.pem").write_text("nothing")
    with pytest.raises(ClusterError, match="no certificate with its key"):
        check(Pair.of(one, "client"))
    monkeypatch.setattr(infra.certificates, "_EARLIER", timedelta(days=9))
    make(tmp_path / "old", days=-1)
    with pytest.raises(ClusterError, match=r"expired on .* --renew"):
        check(Pair.of(tmp_path / "old", "client"))


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_key_that_every_user_can_read_or_change_is_not_used(tmp_path: Path, mode: int) -> None:
    make(tmp_path)
    (tmp_path / "client.key").chmod(mode)
    with pytest.raises(ClusterError, match=r"run code on the whole cluster: chmod 600 .*client\.key"):
        check(Pair.of(tmp_path, "client"))
    (tmp_path / "client.key").chmod(0o640)  # as a secret is mounted for a container's group
    check(Pair.of(tmp_path, "client"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_a_key_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/") and "pytest" in str(folder):
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(ClusterError, match=r"client\.key: Permission denied\. Copy it from where"):
            check(Pair.of(tmp_path, "client"))
    finally:
        os.seteuid(0)
