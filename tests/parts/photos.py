"""Sample photos in the plant's bucket of originals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.bench import photos
from tests.parts.store import ORIGINALS, Store

FOLDER = "photos/"
HANDS = 8


def fill(store: Store, count: int) -> list[str]:
    """At least ``count`` photos lie there afterwards; the keys of those that are put now, without their folder."""
    client = store.server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=ORIGINALS, Prefix=FOLDER)
    there = {found["Key"].removeprefix(FOLDER) for page in pages for found in page.get("Contents", [])}
    if len(there) >= count:
        return []
    root, keys = photos.lay_out(count)
    missing = [key for key in keys if key not in there]

    def put(key: str) -> None:
        client.put_object(Bucket=ORIGINALS, Key=FOLDER + key, Body=(root / key).read_bytes())

    with ThreadPoolExecutor(HANDS) as hands:
        list(hands.map(put, missing))
    client.close()
    return missing
