"""What every store promises, on each of them."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fwd2bot_core.errors import KeyRefused, ObjectChanged, ObjectExists, ObjectMissing
from infra.objects import ObjectStore, Versions
from infra.objects.memory import MemoryStore

ODD_KEYS = [
    "a b/c  d.png",
    "100%/%20%41.png",
    "a+b&c=d?e#f.png",
    "a..b/...png",
    "..a/b../c",
    "検査/画像 №1 😀.jpeg",
    "e\u0301 and \u00e9",  # two spellings of one letter are two keys
    "?versionId=7",
    "line\nbreak",
    "~[x]{y}|^`\"<>*'!$,;:@",
    "-rf",
    ".hidden/.file",
]
ESCAPES = ["", ".", "..", "../x", "a/../../x", "a/../x", "a/./x", "..\0", "a\0b", "half \ud800"]
UNHOLDABLE = ["/etc/passwd", "a//b", "a/", "x" * 256, "é" * 128, "/".join(["y" * 250] * 5)]

_examples = itertools.count()


def test_what_was_created_is_there(store: ObjectStore) -> None:
    made = store.create("a/b.png", b"bytes")
    assert (made.key, made.size) == ("a/b.png", 5)
    assert store.read("a/b.png") == store.read("a/b.png", identity=made.identity) == b"bytes"
    assert store.stat("a/b.png").identity == made.identity
    [listed] = store.list()
    assert listed == store.stat("a/b.png")
    assert listed.identity == made.identity
    assert listed.modified.tzinfo is UTC
    assert abs(listed.modified - made.modified) <= timedelta(seconds=1)


def test_an_empty_object_is_an_object(store: ObjectStore) -> None:
    assert store.create("empty.png", b"").size == 0
    assert [info.key for info in store.list()] == ["empty.png"]
    assert store.read("empty.png") == b""


def test_versions_name_objects_where_there_are_any(store: ObjectStore, has_versions: bool) -> None:
    info = store.create("k", b"1")
    assert (info.version is not None) == has_versions
    assert info.identity.startswith("v:" if has_versions else "e:")


def test_create_never_overwrites(store: ObjectStore) -> None:
    first = store.create("k", b"first")
    with pytest.raises(ObjectExists, match="'k'"):
        store.create("k", b"second")
    assert store.read("k", identity=first.identity) == b"first"


def test_replace_overwrites(store: ObjectStore) -> None:
    first = store.replace("k", b"first")
    second = store.replace("k", b"second one")
    assert store.read("k") == b"second one"
    assert first.identity != second.identity
    assert [info.identity for info in store.list()] == [second.identity]


def test_a_read_gets_the_version_it_asked_for_or_none(store: ObjectStore, has_versions: bool) -> None:
    first = store.create("k", b"first")
    store.replace("k", b"second one")
    if has_versions:
        assert store.read("k", identity=first.identity) == b"first"
    else:
        with pytest.raises(ObjectChanged, match="'k'"):
            store.read("k", identity=first.identity)


@pytest.mark.parametrize("identity", [None, "e:abc:3"])
def test_a_missing_object_is_missing_everywhere(store: ObjectStore, identity: str | None) -> None:
    for ask in (store.stat, store.open, store.sha256, lambda key: store.read(key, identity=identity)):
        with pytest.raises(ObjectMissing, match="no/such thing"):
            ask("no/such thing")


def test_an_object_deleted_after_the_listing_is_missing(store: ObjectStore) -> None:
    info = store.create("k", b"1")
    store.delete_version(info)
    with pytest.raises(ObjectMissing):
        store.read("k", identity=info.identity)
    assert list(store.list()) == []


def test_only_the_named_version_is_deleted(store: ObjectStore, has_versions: bool) -> None:
    first = store.create("k", b"first")
    second = store.replace("k", b"second one")
    if has_versions:
        store.delete_version(first)
        with pytest.raises(ObjectMissing):
            store.delete_version(first)
    else:
        with pytest.raises(ObjectChanged):
            store.delete_version(first)
    assert store.read("k", identity=second.identity) == b"second one"
    store.delete_version(second)
    with pytest.raises(ObjectMissing):
        store.delete_version(second)


def test_a_deleted_newest_version_uncovers_the_one_before(store: ObjectStore, has_versions: bool) -> None:
    first = store.create("k", b"first")
    store.delete_version(store.replace("k", b"second one"))
    assert [info.identity for info in store.list()] == ([first.identity] if has_versions else [])


def test_sha256_is_of_the_bytes(store: ObjectStore) -> None:
    store.create("k", b"abc")
    assert store.sha256("k") == hashlib.sha256(b"abc").hexdigest()


def test_a_parquet_file_can_be_read_through_open(store: ObjectStore) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"a": range(3000), "b": [f"row {n}" for n in range(3000)]})
    pq.write_table(table, sink, row_group_size=500)
    store.create("t/é.parquet", sink.getvalue().to_pybytes())
    with store.open("t/é.parquet") as file, pq.ParquetFile(file) as parquet:
        assert parquet.read_row_group(2, columns=["b"]) == table.select(["b"]).slice(1000, 500)


def test_a_prefix_is_the_beginning_of_the_key(store: ObjectStore) -> None:
    keys = {"2026/11/a", "2026/11b/c", "2026/1/x/y/z", "2027/11/a"}
    for key in keys:
        store.create(key, b"1")
    for prefix in [
        "",
        "2",
        "2026/",
        "2026/1",
        "2026/11",
        "2026/11/",
        "2026/11/a",
        "2026/11/a/",
        "none/",
        "none",
    ]:
        found = [info.key for info in store.list(prefix)]
        assert sorted(found) == sorted(key for key in keys if key.startswith(prefix)), prefix


def test_a_listing_is_a_stream(store: ObjectStore) -> None:
    assert inspect.isgenerator(store.list())


def test_keys_that_could_leave_the_root_are_refused(store: ObjectStore) -> None:
    for key in ESCAPES:
        for ask in (store.stat, store.open, store.sha256, store.read):
            with pytest.raises(KeyRefused):
                ask(key)
        for put in (store.create, store.replace):
            with pytest.raises(KeyRefused):
                put(key, b"1")
    for prefix in ["..", "../", "a/../..", "\0"]:
        with pytest.raises(KeyRefused):
            next(store.list(prefix), None)


@pytest.mark.parametrize("key", UNHOLDABLE)
def test_keys_that_not_every_store_can_hold_are_not_created(store: ObjectStore, key: str) -> None:
    for put in (store.create, store.replace):
        with pytest.raises(KeyRefused):
            put(key, b"1")
    assert list(store.list()) == []


def _segments() -> st.SearchStrategy[str]:
    # The S3 server at hand lists control characters wrongly where there are versions, and turns a backslash
    # into a slash; both are tried on files in test_file_listing.py.
    characters = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="/\\")
    return st.text(characters, min_size=1, max_size=255).filter(
        lambda text: text not in {".", ".."} and len(text.encode()) <= 255
    )


KEYS = (
    st.lists(_segments(), min_size=1, max_size=6).map("/".join).filter(lambda key: len(key.encode()) <= 980)
)


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_are_kept_exactly(store: ObjectStore, key: str) -> None:
    _round_trip(store, "", key)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=KEYS)
@example(key="/".join(["z" * 255, "ü" * 127, "y" * 255, "x" * 200]))
def test_any_key_is_kept_exactly(store: ObjectStore, key: str) -> None:
    _round_trip(store, f"{next(_examples)}/", key)


def _round_trip(store: ObjectStore, below: str, key: str) -> None:
    made = store.create(below + key, key.encode())
    [listed] = store.list(below)
    assert listed.key == below + key
    assert json.loads(json.dumps(listed.key).encode()) == listed.key
    assert store.stat(listed.key).identity == made.identity == listed.identity
    assert store.read(listed.key, identity=listed.identity) == key.encode()
    store.delete_version(listed)
    assert list(store.list(below)) == []


def test_of_eight_racing_threads_one_creates(store: ObjectStore) -> None:
    bodies = [bytes([n]) * 10_000 for n in range(8)]

    def attempt(key: str, body: bytes) -> bytes | None:
        try:
            store.create(key, body)
        except ObjectExists:
            return None
        return body

    with ThreadPoolExecutor(8) as pool:
        for key in (
            ("x/1",) if store.uri.startswith("s3") else ("x/1", "y/2", "z/3")
        ):  # its losers wait seconds
            winners = [body for body in pool.map(lambda body, key=key: attempt(key, body), bodies) if body]
            assert len(winners) == 1
            assert store.read(key) == winners[0]


def test_a_store_travels_to_another_process(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("k", b"1")
    options = getattr(store, "options", None)
    if options is not None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", options.access_key_id.get_secret_value())
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options.secret_access_key.get_secret_value())
    again = pickle.loads(pickle.dumps(store))
    assert again.uri == store.uri
    assert again.read("k") == b"1"


@pytest.mark.parametrize("store", ["memory-versioned", "s3-versioned"], indirect=True)
def test_every_version_of_a_key_is_told_and_no_other_key(store: ObjectStore) -> None:
    assert isinstance(store, Versions)
    assert store.versions_of("k") == []
    first = store.create("k", b"first")
    store.create("k2", b"other")
    store.create("k/below", b"other")
    second = store.replace("k", b"second")
    assert {(info.identity, info.size, info.etag) for info in store.versions_of("k")} == {
        (info.identity, info.size, info.etag) for info in (first, second)
    }
    assert not any(info.marker for info in store.versions_of("k"))
    store.delete_version(second)
    assert [info.identity for info in store.versions_of("k")] == [first.identity]


def test_a_delete_marker_hides_and_is_told() -> None:
    store = MemoryStore(versions=True)
    first = store.create("k", b"first")
    marker = store.hide("k")
    assert [(info.version, info.marker) for info in store.versions_of("k")] == [
        (marker.version, True),
        (first.version, False),
    ]
    assert list(store.list()) == []
    assert store.read("k", identity=first.identity) == b"first"
    for ask in (store.stat, store.read, store.open, lambda key: store.read(key, identity=marker.identity)):
        with pytest.raises(ObjectMissing):
            ask("k")
    store.delete_version(marker)
    assert store.read("k") == b"first"
    store.hide("k")
    assert store.create("k", b"new").version != first.version
