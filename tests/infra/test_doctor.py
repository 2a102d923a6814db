"""The doctor uses each part once, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import make_url

from fwd2bot_core.errors import ExitCode
from infra import certificates
from infra.doctor import examine
from infra.installation import Installation
from infra.objects import ObjectInfo
from infra.objects.file import FileStore
from tests.houses import COLLECTION, fwd2bot, write_settings
from tests.servers.dask_cluster import free_port

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


class Changes:
    """Whether anybody has committed to a SQLite file since."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file)
        self._then = self._version()

    def any(self) -> bool:
        changed = self._version() != self._then
        self._connection.close()
        return changed

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


def wrong(house: Installation) -> dict[str, str]:
    return {check.part: check.detail for check in examine(house) if not check.ok}


def wrong_places(house: Installation) -> dict[str, str]:
    """Only of ledger, archive and originals, which are looked at first."""
    return {check.part: check.detail for check in islice(examine(house), 3) if not check.ok}


def test_a_sound_house_is_well_and_nothing_is_left_in_it(house: BuildHouse, photos: Photos) -> None:
    photos(2)
    installation = house()
    assert wrong(installation) == {}
    assert [check.part for check in examine(installation)] == [
        "ledger", "archive store", f"originals of {COLLECTION}", "compressor", "anchors", "cluster"
    ]  # fmt: skip
    assert list(installation.archive.list()) == []


def test_originals_that_are_gone(house: BuildHouse, tmp_path: Path) -> None:
    installation = house()
    (tmp_path / "photos").rmdir()
    assert "There is no folder" in wrong(installation)[f"originals of {COLLECTION}"]


def test_a_bundle_that_is_none_does_not_hide_the_rest(house: BuildHouse, tmp_path: Path) -> None:
    found = wrong(house(compressor={"bundle": str(tmp_path / "nothing")}))
    assert found.keys() == {"compressor", "cluster"}


def test_a_store_that_overwrites_is_no_archive(house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(store: FileStore, key: str, data: bytes) -> ObjectInfo:
        return store.replace(key, data)

    installation = house()
    monkeypatch.setattr(FileStore, "create", careless)
    assert "let a create-only put overwrite an object" in wrong(installation)["archive store"]
    assert list(installation.archive.list()) == []


def test_a_ledger_that_takes_no_writes_is_not_well(house: BuildHouse) -> None:
    installation = house()
    with installation.ledger.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER closed BEFORE UPDATE ON audit_head BEGIN SELECT RAISE(ABORT, 'closed'); END"
        )
    assert "closed" in wrong(installation)["ledger"]


def test_a_postgresql_that_only_reads_is_not_well(house: BuildHouse, postgres_url: Callable[[], str]) -> None:
    url = postgres_url()
    installation = house(archive={"ledger": url})
    assert "ledger" not in wrong(installation)
    with installation.ledger.write() as connection:
        connection.exec_driver_sql(
            f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on"
        )
    found = wrong(house(archive={"ledger": url}))["ledger"]
    assert "read-only transaction" in found
    assert str(make_url(url).password) not in found


def test_looking_at_the_ledger_changes_nothing(house: BuildHouse, tmp_path: Path) -> None:
    installation = house()
    assert installation.ledger.name
    changes = Changes(tmp_path / "ledger.sqlite")
    assert "ledger" not in wrong(installation)
    assert not changes.any()


def test_what_nobody_expected_hides_nothing_else(house: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> list[str]:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("infra.doctor.self_check", fail)
    assert wrong(house()) == {"compressor": "unexpected, and our fault: ZeroDivisionError: by nothing"}


def test_a_ledger_of_a_newer_software(house: BuildHouse, tmp_path: Path) -> None:
    installation = house()
    assert installation.ledger.name
    newer = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    newer.execute("UPDATE alembic_version SET version_num = '9999'")
    newer.close()
    assert wrong(house())["ledger"].startswith("the ledger ")


def test_probes_of_every_collection_are_read(house: BuildHouse) -> None:
    second = {"originals": "photos"}
    fidelity = {"probes": ["bag " * 65]}
    found = wrong(house(**{"collections.line-2": second, "collections.line-2.fidelity": fidelity}))
    assert found.keys() == {"probes of line-2"}
    assert "1 to 64 words" in found["probes of line-2"]


def test_each_anchor_is_used_and_too_few_are_told(house: BuildHouse, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    installation = house(
        audit__anchors__vault={"kind": "directory", "place": "vault"},
        audit__anchors__far={"kind": "directory", "place": "far"},
    )
    for _ in range(2):
        found = {check.part: check for check in examine(installation)}
        assert "anchors" not in found
        assert found["anchor vault"].ok
        assert "holds 0 checkpoints" in found["anchor vault"].detail
        assert "on the ledger's own disk" in found["anchor vault"].detail
        assert (found["anchor far"].ok, "mount its disk" in found["anchor far"].detail) == (False, True)
    assert [path.name for path in (tmp_path / "vault").rglob("*") if path.is_file()] == ["probe"]
    [few] = [check for check in examine(house()) if check.part == "anchors"]
    assert few.ok
    assert "No anchor is configured" in few.detail


def expired(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(certificates, "_EARLIER", timedelta(days=9))
        certificates.make(folder, days=-1)


def read_by_all(folder: Path) -> None:
    certificates.make(folder)
    (folder / "client.key").chmod(0o644)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (
            lambda folder: None,
            "No such file or directory. Copy it from where `fwd2bot cluster certs`",
        ),
        (expired, "--renew` where ca.key is, and hand the new files out"),
        (read_by_all, "chmod 600"),
        (certificates.make, "Start it, or correct execution.executor"),
    ],
    ids=["missing", "expired", "readable", "nobody answers"],
)
def test_what_is_wrong_with_the_cluster_and_its_certificates(
    house: BuildHouse, tmp_path: Path, prepare: Callable[[Path], object], said: str
) -> None:
    prepare(tmp_path / "certs")
    address = f"tls://127.0.0.1:{free_port()}"
    found = wrong(house(execution={"executor": address, "certificates": "certs"}))
    assert found.keys() == {"cluster"}
    assert said in found["cluster"]


def test_dask_without_tls_on_another_machine_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    file = write_settings(tmp_path / "fwd2bot.toml", execution={"executor": "tcp://10.0.0.7:8786"})
    done = fwd2bot("doctor", "--config", file)
    assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
    assert "make certificates with `fwd2bot cluster certs DIR`, start the scheduler with them, and write" in (
        " ".join(done.stderr.split())
    )
