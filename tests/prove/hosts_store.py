"""The store's host of ``tests.prove.hosts``: a real S3 server that its neighbours reach, filled with photos; and a
copy of what it holds afterwards.

    python -m tests.prove.hosts_store serve ADDRESS PHOTOS SAID      until its input ends
    python -m tests.prove.hosts_store fetch SAID FOLDER

``SAID`` is a JSON file: endpoint, keys, buckets.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.servers import seaweedfs as weed

PHOTOS, TOKENS = "photos", "tokens"


def serve(address: str, photos: Path, said: Path) -> None:
    """Listens on every address of its host; its parts talk to each other over loopback."""
    plain = weed.command
    weed.command = lambda home, ports: [
        *plain(home, ports),
        "-ip.bind=0.0.0.0",
    ]  # of two flags the last counts
    with weed.seaweedfs() as server:
        server.make_bucket(TOKENS)
        server.make_bucket(PHOTOS, versioned=True)
        client = server.client()
        files = sorted(path for path in photos.rglob("*") if path.is_file())
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(lambda path: client.upload_file(path, PHOTOS, str(path.relative_to(photos))), files)
            )
        there = {
            "endpoint": f"http://{address}:{server.ports['s3.port']}",
            "region": server.region,
            "key": server.access_key,
            "secret": server.secret_key,
        }
        said.with_suffix(".part").write_text(json.dumps(there))
        said.with_suffix(".part").rename(said)
        sys.stdin.read()


def fetch(said: dict[str, Any], folder: Path) -> None:
    """The archive's objects as files, for checks that use none of the product's code."""
    client = boto3.session.Session().client(
        "s3", endpoint_url=said["endpoint"], region_name=said["region"], aws_access_key_id=said["key"],
        aws_secret_access_key=said["secret"], config=Config(s3={"addressing_style": "path"}),
    )  # fmt: skip
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=TOKENS):
        for entry in page.get("Contents", []):
            file = folder / entry["Key"]
            file.parent.mkdir(parents=True, exist_ok=True)
            client.download_file(TOKENS, entry["Key"], str(file))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        fetch(json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]))
