"""Event notifications: plain, wrapped, twice, unordered, broken; and what they say is only a claim."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.objects.file import FileStore
from infra.sources.event_records import EventRecords
from infra.sources.rows import Ours

NOW = datetime(2026, 11, 24, 1, tzinfo=UTC)


def record(
    key: str, *, name: str = "ObjectCreated:Put", bucket: str = "originals", **told: Any
) -> dict[str, Any]:
    thing = {"key": key, "size": 10, "eTag": "abc", "versionId": "v1", "sequencer": "00"} | told
    when = "2026-11-23T22:10:00.123Z"
    return {"eventName": name, "eventTime": when, "s3": {"bucket": {"name": bucket}, "object": thing}}


def wrapped(*records: dict[str, Any]) -> dict[str, Any]:
    return {"Records": list(records)}


Lay = Callable[..., EventRecords]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    def laid(*files: Any, age: timedelta = timedelta(0), versioned: bool = True) -> EventRecords:
        for number, body in enumerate(files):
            file = tmp_path / f"{number}.json"
            file.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
            os.utime(file, ((NOW - age).timestamp(),) * 2)
        return EventRecords(
            FileStore(tmp_path), NOW - timedelta(hours=48), Ours("originals", "line-1/", versioned)
        )

    return laid


def test_a_record_is_an_entry(lay: Lay) -> None:
    (entry,) = lay(wrapped(record("line-1/a+b%2F%E6%97%A5.jpg"))).list()
    assert (entry.key, entry.size, entry.version, entry.identity) == ("a b/日.jpg", 10, "v1", "v:v1")
    (entry,) = lay(wrapped(record("line-1/a.jpg")), versioned=False).list()
    assert entry.identity == "e:abc:10"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda said: said,
        lambda said: {"Type": "Notification", "Message": json.dumps(said)},
        lambda said: {"Messages": [], "Body": json.dumps({"Message": json.dumps(said)})},
        lambda said: [said],
        lambda said: (json.dumps(said) + "\n\n" + json.dumps({"Event": "s3:TestEvent"}) + "\n").encode(),
    ],
)
def test_however_it_is_wrapped(lay: Lay, wrap: Callable[[Any], Any]) -> None:
    source = lay(wrap(wrapped(record("line-1/a.jpg"), record("line-1/b.jpg"))))
    assert [entry.key for entry in source.list()] == ["a.jpg", "b.jpg"]
    assert source.unreadable == 0


def test_what_is_not_ours_or_not_new_is_left_out(lay: Lay) -> None:
    source = lay(
        wrapped(
            record("line-1/a.jpg", name="ObjectRemoved:Delete"),
            record("line-1/b.jpg", bucket="others"),
            record("line-2/c.jpg"),
            record("line-1/d.jpg", name="s3:ObjectCreated:CompleteMultipartUpload"),
        )
    )
    assert [entry.key for entry in source.list()] == ["d.jpg"]
    assert list(source.list("x")) == []


def test_old_files_are_not_read_again(lay: Lay) -> None:
    assert list(lay(wrapped(record("line-1/a.jpg")), age=timedelta(hours=49)).list()) == []


def test_what_cannot_be_read_is_counted_and_stops_nothing(lay: Lay) -> None:
    deep: Any = wrapped(record("line-1/deep.jpg"))
    for _ in range(50):
        deep = [deep]
    source = lay(
        b"\xff\xfe no text",
        b"{broken\n" + json.dumps(wrapped(record("line-1/a.jpg"))).encode(),
        wrapped({"eventName": "ObjectCreated:Put", "s3": {}}, record("line-1/b.jpg", size=None)),
        deep,
        wrapped(record("line-1/z.jpg")),
    )
    assert [entry.key for entry in source.list()] == ["a.jpg", "z.jpg"]
    assert source.unreadable == 4
