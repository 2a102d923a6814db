"""The proof of destruction in short: one of its cases on each database."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.prove.destruction import cases, killed_once, killed_while_it_takes_back, prove
from tests.prove.destruction_site import site
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket("destruction", versioned=True)


@pytest.mark.slow
def test_a_run_that_is_killed_after_a_deletion_is_finished_by_the_next_one(
    tmp_path: Path, postgres_url: Callable[[], str], s3_server: S3Server, bucket: str
) -> None:
    with site(tmp_path / "site", postgres_url(), s3_server, bucket) as made:
        record = prove(made, "case", lambda made: killed_once("destroy.deleted#5", made))
    assert (record.problems, record.exits) == ([], [-9, 0])


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_takes_intents_back_destroys_nothing(
    tmp_path: Path, s3_server: S3Server, bucket: str
) -> None:
    folder = tmp_path / "site"
    with site(folder, f"sqlite:///{folder}/ledger.sqlite", s3_server, bucket) as made:
        record = prove(made, "case", killed_while_it_takes_back)
    assert (record.problems, record.exits) == ([], [-9, -9, 4])


def test_every_step_has_its_case_on_each_database() -> None:
    names = [name for name, _, _ in cases()]
    assert len(names) == len(set(names)) == 26
