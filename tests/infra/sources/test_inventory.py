"""S3 Inventory: reports in each of their forms, the newest of them, and what is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fwd2bot_core.errors import IntegrityError, UsageError
from infra.objects import ObjectInfo
from infra.objects.memory import MemoryStore
from infra.sources.inventory import newest, opened
from infra.sources.rows import Ours
from tests.infra.sources.reports import lay_down

MADE = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
TAKEN = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
OURS = Ours("originals", "line 1/", versioned=True)
ENTRIES = [
    ObjectInfo(key, 1000 + number, f"{number:032x}", f"ver{number}", TAKEN)
    for number, key in enumerate(["a.jpg", "b+c d.jpg", "日本/é%.jpg", 'x,"y\n.jpg'])
]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.mark.parametrize("form", ["CSV", "Parquet", "ORC"])
def test_a_report_lists_current_versions_as_the_store_would(store: MemoryStore, form: str) -> None:
    gone = replace(ENTRIES[0], version="old"), replace(ENTRIES[1], key="deleted.jpg", marker=True)
    lay_down(store, ENTRIES, MADE, form=form, below="line 1/", older=gone)
    report = newest(store, OURS)
    assert report is not None
    assert list(report.list()) == ENTRIES
    assert list(report.list("日本/")) == [ENTRIES[2]]
    assert report.made_at == MADE


def test_without_versions_etag_and_size_name_it(store: MemoryStore) -> None:
    lay_down(store, ENTRIES, MADE, below="line 1/")
    report = newest(store, replace(OURS, versioned=False))
    assert report is not None
    assert [entry.identity for entry in report.list()] == [f"e:{e.etag}:{e.size}" for e in ENTRIES]


def test_other_keys_of_the_bucket_are_not_ours(store: MemoryStore) -> None:
    lay_down(store, ENTRIES, MADE, below="line 2/")
    report = newest(store, OURS)
    assert report is not None
    assert list(report.list()) == []


def test_the_newest_report_is_taken(store: MemoryStore) -> None:
    assert newest(store, OURS) is None
    keys = [lay_down(store, ENTRIES[:n], MADE.replace(day=n), below="line 1/") for n in (1, 3, 2)]
    report = newest(store, OURS)
    assert report is not None
    assert (report.key, len(list(report.list()))) == (keys[1], 3)


def test_a_data_file_that_changed_is_refused(store: MemoryStore) -> None:
    key = lay_down(store, ENTRIES, MADE, below="line 1/")
    (data,) = [info.key for info in store.list("data/")]
    store.replace(data, store.read(data) + b" ")
    with pytest.raises(IntegrityError, match="is not the file that"):
        list(opened(store, key, OURS).list())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"files": 3, "fileFormat": "CSV", "fileSchema": "Key"}']
)
def test_what_is_no_manifest_is_refused(store: MemoryStore, body: bytes) -> None:
    store.create("manifest.json", body)
    with pytest.raises(UsageError, match="no manifest"):
        opened(store, "manifest.json", OURS)


def test_a_report_of_another_bucket_is_refused(store: MemoryStore) -> None:
    key = lay_down(store, ENTRIES, MADE, bucket="others")
    with pytest.raises(UsageError, match="of the bucket 'others', not of 'originals'"):
        opened(store, key, OURS)


def test_a_report_without_what_names_a_version_is_refused() -> None:
    with pytest.raises(UsageError, match=r"does not say size, etag .* it has Bucket, Key"):
        OURS.entry({"Bucket": "originals", "Key": "line 1/a.jpg"})
