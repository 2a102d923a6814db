"""The same night on a real S3 server: originals in a versioned bucket, tokens in a plain one."""

from __future__ import annotations

import io
import json
import secrets
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.errors import ExitCode, StoreUnreachable
from infra import archive
from infra.installation import Installation, opened
from infra.settings import Settings, load_settings
from tasks.publish import pointer_path
from tasks.verify import verify
from tests.servers.seaweedfs import S3Server


def _jpeg(shade: int) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 255 - shade, 90)).save(body, "JPEG")
    return body.getvalue()


@pytest.fixture
def settings(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    photos = s3_server.make_bucket(f"photos-{secrets.token_hex(4)}", versioned=True)
    tokens = s3_server.make_bucket(f"tokens-{secrets.token_hex(4)}")
    monkeypatch.setenv("TEST_S3_KEY", s3_server.access_key)
    monkeypatch.setenv("TEST_S3_SECRET", s3_server.secret_key)
    reached = f"""
endpoint = "{s3_server.endpoint}"
region = "{s3_server.region}"
addressing = "path"
access_key_id_env = "TEST_S3_KEY"
secret_access_key_env = "TEST_S3_SECRET"
"""
    file = tmp_path / "fwd2bot.toml"
    file.write_text(
        f"""
[archive]
store = "s3://{tokens}/plant"
[archive.s3]{reached}
[collections.line]
originals = "s3://{photos}/line"
[collections.line.s3]{reached}versioned = true
[compressor]
bundle = "fake"
[execution]
executor = "inline"
[night]
batch_size = 4
smallest_batch = 1
"""
    )
    return load_settings(file)


def _night(settings: Settings, code: ExitCode = ExitCode.OK) -> int:
    summary = run_night(settings, None, SilentScreen())
    assert summary.exit_code == code, summary.to_json()
    return summary.compressed


def test_a_night_on_s3(settings: Settings, s3_server: S3Server) -> None:
    client = s3_server.client()
    bucket = settings.collections["line"].originals.split("/")[2]
    for number in range(9):
        client.put_object(Bucket=bucket, Key=f"line/a b%2Fü {number}.jpg", Body=_jpeg(number))
    assert _night(settings) == 9
    assert _night(settings) == 0

    client.put_object(Bucket=bucket, Key="line/a b%2Fü 3.jpg", Body=_jpeg(200))
    client.put_object(Bucket=bucket, Key="line/empty.jpg", Body=b"")
    assert _night(settings, ExitCode.PARTLY_FAILED) == 1

    with opened(settings) as house:
        scrub = verify(house.ledger, house.archive)
        assert (scrub.findings, scrub.objects) == ((), 4 + 5)  # shards, segments
        old, new = archive.life(house, "a b%2Fü 3.jpg")
        assert old["superseded_at"]
        assert not new["superseded_at"]
        assert old["identity"].startswith("v:")
        assert old["sha256"] != new["sha256"]
        _, answer = archive.ask(house, "a b%2Fü 3.jpg", "what is it ?")
        assert answer.text
        _assert_manifest_is_the_ledger(house)


def _assert_manifest_is_the_ledger(house: Installation) -> None:
    manifest = json.loads(house.archive.read(pointer_path("line", house.spec("line"))))
    keys: list[str] = []
    for shard in manifest["shards"]:
        with house.archive.open(shard["path"]) as file:
            keys += pq.read_table(file, columns=["key"]).column(0).to_pylist()
    assert sorted(keys) == sorted([*(f"a b%2Fü {n}.jpg" for n in range(9)), "a b%2Fü 3.jpg"])


def test_originals_that_do_not_answer_fail_no_image(settings: Settings, s3_server: S3Server) -> None:
    gone = settings.model_copy(
        update={
            "collections": {
                "line": settings.collections["line"].model_copy(update={"originals": "s3://no-such-bucket/x"})
            }
        }
    )
    with pytest.raises(StoreUnreachable, match="no-such-bucket"):
        run_night(gone, None, SilentScreen())
    with opened(gone) as house:
        assert archive.status(house)["failures"] == []
        assert archive.status(house)["runs"][0]["state"] == "failed"
