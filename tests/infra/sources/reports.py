"""S3 Inventory reports as AWS lays them down, for tests."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from infra.objects import ObjectInfo, ObjectStore

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"


def lay_down(
    store: ObjectStore,
    entries: Iterable[ObjectInfo],
    made_at: datetime,
    *,
    form: str = "CSV",
    bucket: str = "originals",
    below: str = "",
    older: Iterable[ObjectInfo] = (),
) -> str:
    """A report of current ``entries``, of ``older`` versions and markers; the key of its manifest."""
    latest = list(entries)
    rows = [_row(each, bucket, below, latest=True) for each in latest]
    rows += [_row(each, bucket, below, latest=False) for each in older]
    body = {"CSV": _csv, "Parquet": _parquet, "ORC": _orc}[form](rows)
    name = f"data/{made_at:%Y%m%d%H%M}.{ {'CSV': 'csv.gz', 'Parquet': 'parquet', 'ORC': 'orc'}[form] }"
    store.create(name, body)
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": "arn:aws:s3:::reports",
        "version": "2016-11-30",
        "creationTimestamp": str(int(made_at.timestamp() * 1000)),
        "fileFormat": form,
        "fileSchema": SCHEMA if form == "CSV" else "message s3.inventory { required binary key (STRING); }",
        "files": [
            {"key": f"some/where/{name}", "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()}
        ],
    }
    key = f"{made_at:%Y-%m-%dT%H-%MZ}/manifest.json"
    store.create(key, json.dumps(manifest).encode())
    return key


def _row(info: ObjectInfo, bucket: str, below: str, *, latest: bool) -> dict[str, object]:
    return {
        "bucket": bucket,
        "key": below + info.key,
        "version_id": info.version or "",
        "is_latest": latest,
        "is_delete_marker": info.marker,
        "size": None if info.marker else info.size,
        "last_modified_date": info.modified,
        "e_tag": info.etag,
        "storage_class": "STANDARD",
    }


def _csv(rows: list[dict[str, object]]) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL)
    for row in rows:
        modified = row["last_modified_date"]
        assert isinstance(modified, datetime)
        said = row | {
            "key": quote_plus(str(row["key"]), safe="/"),
            "last_modified_date": modified.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "is_latest": str(row["is_latest"]).lower(),
            "is_delete_marker": str(row["is_delete_marker"]).lower(),
            "size": "" if row["size"] is None else row["size"],
        }
        writer.writerow(said.values())
    return gzip.compress(sink.getvalue().encode())


def _parquet(rows: list[dict[str, object]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _orc(rows: list[dict[str, object]]) -> bytes:
    sink = io.BytesIO()
    orc.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()
