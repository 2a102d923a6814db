"""The three stores, empty, behind one fixture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.objects import ObjectStore, S3Options
from infra.objects.file import FileStore
from infra.objects.memory import MemoryStore
from infra.objects.s3 import S3Store
from tests.servers.seaweedfs import S3Server

_fresh = itertools.count()


@pytest.fixture(scope="session")
def s3_options(s3_server: S3Server) -> S3Options:
    return S3Options(
        endpoint=s3_server.endpoint,
        region=s3_server.region,
        addressing="path",
        access_key_id=SecretStr(s3_server.access_key),
        secret_access_key=SecretStr(s3_server.secret_key),
        attempts=2,
    )


@pytest.fixture(scope="session")
def s3_bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket("plain")


@pytest.fixture(scope="session")
def s3_versioned_bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket("versioned", versioned=True)


@pytest.fixture
def s3_store(s3_bucket: str, s3_options: S3Options) -> S3Store:
    return S3Store(f"s3://{s3_bucket}/root {next(_fresh)}", s3_options)


@pytest.fixture
def s3_versioned(s3_versioned_bucket: str, s3_options: S3Options) -> S3Store:
    options = s3_options.model_copy(update={"versioned": True})
    return S3Store(f"s3://{s3_versioned_bucket}/root{next(_fresh)}", options)


@pytest.fixture
def file_store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "root", create_root=True)


@pytest.fixture(params=["memory", "memory-versioned", "file", "s3", "s3-versioned"])
def store(request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    made: dict[str, str] = {"file": "file_store", "s3": "s3_store", "s3-versioned": "s3_versioned"}
    if request.param in made:
        yield request.getfixturevalue(made[request.param])
    else:
        yield MemoryStore(versions=request.param == "memory-versioned")


@pytest.fixture
def has_versions(request: pytest.FixtureRequest) -> bool:
    return str(request.node.callspec.params["store"]).endswith("versioned")
