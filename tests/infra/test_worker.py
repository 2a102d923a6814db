"""One batch on one worker: every bad file becomes a reason, and takes nobody with it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import infra.worker
from fwd2bot_core.audit.segment import read_segment, verify_subroot
from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Prepared, Summary
from fwd2bot_core.errors import (
    ClusterError,
    CompressorMismatch,
    IntegrityError,
    RejectReason,
    StoreUnreachable,
    UsageError,
)
from fwd2bot_core.tokens.shard import ShardWriter, read_rows, read_tokens
from fwd2bot_core.work import Batch, ImageFact, Receipt, Unit, batch_id_of
from infra.judging import Probing
from infra.objects import ObjectStore, S3Options, open_store
from infra.objects.file import FileStore
from infra.worker import WorkerConfig, compress_batch, load_compressor
from tests.core.compressor.pictures import gradient, png_bomb, saved, valid_files
from tests.houses import lay_out, tiny_jpeg

FAKE = FakeCompressor()
NOBODY = 65534
_fresh = itertools.count()


@pytest.fixture(autouse=True)
def _fresh_tools() -> Iterator[None]:
    infra.worker._tools.cache_clear()
    yield
    infra.worker._tools.cache_clear()


@pytest.fixture
def config(tmp_path: Path) -> WorkerConfig:
    (tmp_path / "photos").mkdir()
    return WorkerConfig(
        bundle="fake",
        fingerprint=FAKE.spec.fingerprint,
        originals=(tmp_path / "photos").as_uri(),
        originals_s3=S3Options(),
        archive=f"memory://worker-{next(_fresh)}",
        archive_s3=S3Options(),
        micro_batch=4,
        torch_threads=1,
        fetch_threads=2,
        limits=DecodeLimits(max_pixels=100_000_000, max_bytes=1_000_000),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def listed(config: WorkerConfig) -> Batch:
    """Everything that lies there now, as one batch in the order of the keys."""
    entries = sorted(open_store(config.originals).list(), key=lambda entry: entry.key)
    units = tuple(
        Unit(
            number,
            "line-1",
            entry.key,
            entry.identity,
            entry.size,
            entry.modified,
            bytes([number % 256]) * 16,
        )
        for number, entry in enumerate(entries, start=1)
    )
    return Batch(batch_id_of(units, config.fingerprint), config.fingerprint, date(2026, 11, 24), units)


def outcomes(batch: Batch, receipt: Receipt) -> dict[str, RejectReason | None]:
    """Key to reason; None is compressed."""
    keys = {unit.object_version_id: unit.key for unit in batch.units}
    return {keys[i.object_version_id]: i.reject.reason if i.reject else None for i in receipt.images}


def facts(batch: Batch, receipt: Receipt) -> dict[str, ImageFact]:
    keys = {unit.object_version_id: unit.key for unit in batch.units}
    return {keys[image.object_version_id]: image for image in receipt.images}


def shard(config: WorkerConfig, receipt: Receipt) -> io.BytesIO:
    assert receipt.shard is not None
    return io.BytesIO(open_store(config.archive).read(receipt.shard.path))


def use(monkeypatch: pytest.MonkeyPatch, compressor: FakeCompressor) -> None:
    monkeypatch.setattr(infra.worker, "load", lambda name, *, view, threads, limits, device: compressor)


def rotated(angle: int) -> bytes:
    exif = Image.Exif()
    exif[274] = angle
    return saved(gradient(24, 16), "JPEG", exif=exif)


BAD = {
    "truncated.jpg": (tiny_jpeg(1)[:-200], RejectReason.TRUNCATED),
    "cut header.jpg": (tiny_jpeg(1)[:20], RejectReason.TRUNCATED),
    "empty.jpg": (b"", RejectReason.EMPTY),
    "text.png": ("これは写真ではない".encode(), RejectReason.NOT_AN_IMAGE),
    "bomb.png": (png_bomb(30_000, 30_000), RejectReason.TOO_MANY_PIXELS),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), RejectReason.NO_DECODER),
    "huge.jpg": (tiny_jpeg(1) + bytes(1_000_000), RejectReason.TOO_MANY_BYTES),
}
UNUSUAL = {
    "cmyk.jpg": valid_files()["JPEG CMYK"],
    "sixteen bits.png": valid_files()["PNG 16 bits"],
    "palette.png": valid_files()["PNG palette"],
    "animated.gif": valid_files()["GIF animated"],
    "animated.webp": valid_files()["WEBP animated"],
    "rotated.jpg": rotated(6),
    "one pixel.png": saved(Image.new("RGB", (1, 1)), "PNG"),
}


def test_bad_files_get_a_reason_and_unusual_ones_are_compressed(config: WorkerConfig, folder: Path) -> None:
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    for name, data in UNUSUAL.items():
        (folder / name).write_bytes(data)
    lay_out(folder, 3)
    batch = listed(config)
    receipt = compress_batch(batch, config)
    expected = {name: reason for name, (_, reason) in BAD.items()}
    assert outcomes(batch, receipt) == expected | dict.fromkeys(
        [*UNUSUAL, "0000.jpg", "0001.jpg", "0002.jpg"]
    )
    assert all(image.reject.detail for image in receipt.images if image.reject)

    said = facts(batch, receipt)
    assert (said["rotated.jpg"].width, said["rotated.jpg"].height) == (16, 24)
    assert (said["one pixel.png"].width, said["one pixel.png"].height) == (1, 1)
    assert said["animated.gif"].format == "GIF"
    for name, data in UNUSUAL.items():
        assert (said[name].sha256, said[name].size) == (hashlib.sha256(data).hexdigest(), len(data))
    rejected = BAD["text.png"][0]
    assert said["text.png"].sha256 == hashlib.sha256(rejected).hexdigest()  # it could be read
    assert (said["huge.jpg"].sha256, said["huge.jpg"].size) == (None, None)  # it was not


def test_the_receipt_says_what_lies_in_the_archive(config: WorkerConfig, folder: Path) -> None:
    made = lay_out(folder, 10)
    (folder / "broken.jpg").write_bytes(b"broken")
    batch = listed(config)
    receipt = compress_batch(batch, config)
    archive = open_store(config.archive)
    assert receipt.shard is not None
    assert receipt.batch_id == batch.batch_id
    assert {entry.key for entry in archive.list()} == {receipt.shard.path, receipt.segment.path}
    for fact in (receipt.shard, receipt.segment):
        data = archive.read(fact.path)
        assert (fact.sha256, fact.size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert receipt.bytes_in == sum(path.stat().st_size for path in made) + len(b"broken")
    assert receipt.bytes_out == receipt.shard.size + receipt.segment.size
    assert receipt.worker == f"{os.uname().nodename}:{os.getpid()}"
    assert min(receipt.stages.fetch, receipt.stages.decode, receipt.stages.forward) > 0

    rows = read_rows(shard(config, receipt))
    assert receipt.shard.rows == len(rows) == 10
    units = {unit.object_version_id: unit for unit in batch.units}
    for image in receipt.images:
        if image.row is None:
            continue
        row, unit = rows[image.row], units[image.object_version_id]
        assert (row.key, row.identity, row.modified) == (unit.key, unit.identity, unit.modified)
        assert (row.content_sha256, row.width, row.height, row.format) == (image.sha256, 24, 16, "JPEG")
        expected = FAKE.compress([FAKE.prepare((folder / unit.key).read_bytes())]).tokens[0]
        assert np.array_equal(read_tokens(shard(config, receipt), image.row, config.fingerprint), expected)


def test_the_segment_has_a_line_for_each_image(config: WorkerConfig, folder: Path) -> None:
    lay_out(folder, 5)
    (folder / "broken.jpg").write_bytes(b"broken")
    receipt = compress_batch(listed(config), config)
    data = open_store(config.archive).read(receipt.segment.path)
    verify_subroot(data, receipt.segment.subroot)
    lines = read_segment(data)
    assert receipt.segment.rows == len(lines) == 6
    assert [line["outcome"] for line in lines] == ["compressed"] * 5 + ["rejected"]


def test_the_order_is_the_units_and_not_the_readers(config: WorkerConfig, folder: Path) -> None:
    lay_out(folder, 30)
    batch = listed(config)
    receipt = compress_batch(batch, replace(config, fetch_threads=8))
    assert [row.key for row in read_rows(shard(config, receipt))] == [unit.key for unit in batch.units]


def test_a_batch_of_nothing_but_rejects_has_no_shard(config: WorkerConfig, folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"broken")
    receipt = compress_batch(listed(config), config)
    assert receipt.shard is None
    assert receipt.segment.rows == 3


def test_a_second_run_writes_the_same_objects_and_overwrites_nothing(
    config: WorkerConfig, folder: Path
) -> None:
    lay_out(folder, 9)
    batch = listed(config)
    first = compress_batch(batch, config)
    before = {entry.key: entry for entry in open_store(config.archive).list()}
    second = compress_batch(batch, replace(config, micro_batch=2, fetch_threads=1))
    assert (second.shard, second.segment, second.images) == (first.shard, first.segment, first.images)
    assert {entry.key: entry for entry in open_store(config.archive).list()} == before


def test_wrong_bytes_under_a_promised_name_are_not_taken_for_ours(config: WorkerConfig, folder: Path) -> None:
    lay_out(folder, 3)
    batch = listed(config)
    receipt = compress_batch(batch, config)
    assert receipt.shard is not None
    archive = open_store(config.archive)
    archive.replace(receipt.shard.path, b"somebody else's")
    with pytest.raises(IntegrityError, match="does not hold the bytes that its name promises"):
        compress_batch(batch, config)
    assert archive.read(receipt.shard.path) == b"somebody else's"


def test_a_file_that_vanished_and_one_that_was_overwritten(config: WorkerConfig, folder: Path) -> None:
    lay_out(folder, 4)
    batch = listed(config)
    (folder / "0001.jpg").unlink()
    (folder / "0002.jpg").write_bytes(tiny_jpeg(99) + b"\0")
    receipt = compress_batch(batch, config)
    assert outcomes(batch, receipt) == {
        "0000.jpg": None,
        "0001.jpg": RejectReason.VANISHED,
        "0002.jpg": RejectReason.CHANGED,
        "0003.jpg": None,
    }


def test_a_file_that_changes_while_it_is_read(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(folder, 3)
    batch = listed(config)
    plain_open = FileStore.open

    def open_and_overwrite(store: FileStore, key: str) -> Any:
        file = plain_open(store, key)
        if key == "0001.jpg":  # after its first status was taken, before its last byte is read
            read = file.read

            class Changing(io.BufferedReader):
                def read(self, *args: Any) -> bytes:
                    (folder / key).write_bytes(tiny_jpeg(77) * 2)
                    return read(*args)

            return Changing(file.raw)  # type: ignore[attr-defined]
        return file

    monkeypatch.setattr(FileStore, "open", open_and_overwrite)
    receipt = compress_batch(batch, config)
    assert outcomes(batch, receipt) == {"0000.jpg": None, "0001.jpg": RejectReason.CHANGED, "0002.jpg": None}


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """As a user who is bound by file modes, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read(config: WorkerConfig, folder: Path) -> None:
    made = lay_out(folder, 3)
    batch = listed(config)
    for parent in made[0].parents:
        if parent.owner() == made[0].owner() and str(parent).startswith("/tmp/"):
            parent.chmod(0o755)
    made[1].chmod(0o000)
    load_compressor(config)
    with without_root():
        receipt = compress_batch(batch, config)
    assert outcomes(batch, receipt) == {
        "0000.jpg": None,
        "0001.jpg": RejectReason.FORBIDDEN,
        "0002.jpg": None,
    }


def test_a_store_that_is_gone_fails_the_batch_and_no_image(config: WorkerConfig, folder: Path) -> None:
    lay_out(folder, 10)
    batch = listed(config)
    load_compressor(config)
    folder.rename(folder.with_name("unmounted"))
    with pytest.raises(StoreUnreachable, match="mount its disk"):
        compress_batch(batch, config)
    assert list(open_store(config.archive).list()) == []


class Spoilt(FakeCompressor):
    """Knows pictures by their size; spoils those of 1 x n pixels."""

    def __init__(self, spoil: Callable[[Summary, list[int]], Summary]) -> None:
        super().__init__()
        self._spoil = spoil

    def compress(self, images: Sequence[Prepared]) -> Summary:
        made = super().compress(images)
        return self._spoil(made, [at for at, image in enumerate(images) if image.width == 1])


def nan_tokens(made: Summary, bad: list[int]) -> Summary:
    made.tokens[bad] = np.nan
    return made


def infinite_pooled(made: Summary, bad: list[int]) -> Summary:
    made.pooled[bad] = np.inf
    return made


def raising(made: Summary, bad: list[int]) -> Summary:
    if bad:
        raise RuntimeError("CUDA error: an illegal memory access")
    return made


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (nan_tokens, RejectReason.NON_FINITE),
        (infinite_pooled, RejectReason.NON_FINITE),
        (raising, RejectReason.INTERNAL),
    ],
)
@pytest.mark.parametrize(
    "bad",
    [[2], [0, 1, 2, 3], [3, 9], [4, 5, 6, 7], [8, 9]],
    ids=["one", "the first micro-batch", "two", "a later micro-batch", "the last micro-batch"],
)
def test_a_model_that_fails_for_one_image_serves_the_others(
    config: WorkerConfig,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Summary, list[int]], Summary],
    reason: RejectReason,
    bad: list[int],
) -> None:
    made = lay_out(folder, 10)
    for number in bad:
        made[number].write_bytes(saved(Image.new("RGB", (1, number + 1)), "PNG"))
    use(monkeypatch, Spoilt(spoil))
    batch = listed(config)
    if spoil is raising and bad == [0, 1, 2, 3]:  # every one of several, and none went through before
        with pytest.raises(RuntimeError, match="CUDA error"):
            compress_batch(batch, config)
        return
    receipt = compress_batch(batch, config)
    assert outcomes(batch, receipt) == {
        path.name: reason if number in bad else None for number, path in enumerate(made)
    }
    assert len(read_rows(shard(config, receipt))) == 10 - len(bad)


def test_a_model_that_stops_working_fails_the_batch_and_no_image(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image that went through before does not any more, so it is not the images."""

    class Dying(FakeCompressor):
        passes = 0

        def compress(self, images: Sequence[Prepared]) -> Summary:
            self.passes += 1
            if self.passes > 1:
                raise RuntimeError("CUDA error: device-side assert")
            return super().compress(images)

    lay_out(folder, 10)
    use(monkeypatch, Dying())
    with pytest.raises(RuntimeError, match="device-side assert"):
        compress_batch(listed(config), config)


def test_an_unexpected_error_in_decoding_is_our_fault_and_named(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Surprised(FakeCompressor):
        def prepare(self, data: bytes) -> Prepared:
            if data == tiny_jpeg(1):
                raise ZeroDivisionError("surprise")
            return super().prepare(data)

    lay_out(folder, 3)
    use(monkeypatch, Surprised())
    batch = listed(config)
    receipt = compress_batch(batch, config)
    assert outcomes(batch, receipt)["0001.jpg"] == RejectReason.INTERNAL
    reject = facts(batch, receipt)["0001.jpg"].reject
    assert reject is not None
    assert reject.detail == "ZeroDivisionError: surprise"
    assert receipt.shard is not None
    assert receipt.shard.rows == 2


def test_images_are_read_ahead_by_a_bounded_window(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = itertools.count(1)
    seen: list[tuple[int, int]] = []  # (images passed, images decoded) whenever the model is called

    class Counting(FakeCompressor):
        decoded = 0

        def prepare(self, data: bytes) -> Prepared:
            self.decoded = max(self.decoded, next(prepared))
            return super().prepare(data)

        def compress(self, images: Sequence[Prepared]) -> Summary:
            threading.Event().wait(0.005)  # time in which an unbounded reader would run on
            seen.append((seen[-1][0] + len(images) if seen else len(images), self.decoded))
            return super().compress(images)

    lay_out(folder, 120)
    use(monkeypatch, Counting())
    compress_batch(listed(config), config)
    window = 2 * config.micro_batch + config.fetch_threads
    assert len(seen) == 30
    assert max(decoded - passed for passed, decoded in seen) <= window


def test_the_model_does_not_run_ahead_of_the_encoder(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    ahead: list[int] = []

    class Counting(FakeCompressor):
        def compress(self, images: Sequence[Prepared]) -> Summary:
            calls.append(len(images))
            return super().compress(images)

    plain_append = ShardWriter.append

    def slow_append(writer: ShardWriter, *args: Any) -> int:
        threading.Event().wait(0.01)
        ahead.append(len(calls) - len(ahead))
        return plain_append(writer, *args)

    monkeypatch.setattr(ShardWriter, "append", slow_append)
    lay_out(folder, 60)
    use(monkeypatch, Counting())
    compress_batch(listed(config), config)
    assert len(ahead) == 15
    assert max(ahead) <= 3


def test_a_worker_with_another_bundle_says_so(config: WorkerConfig, folder: Path) -> None:
    lay_out(folder, 1)
    with pytest.raises(ClusterError, match="Install the same bundle on every worker"):
        load_compressor(replace(config, fingerprint="0" * 64))
    batch = listed(config)
    with pytest.raises(CompressorMismatch):
        compress_batch(replace(batch, compressor="0" * 64), config)


def test_the_model_is_loaded_once(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def load(name: str, **_: Any) -> FakeCompressor:
        loads.append(name)
        return FakeCompressor()

    monkeypatch.setattr(infra.worker, "load", load)
    lay_out(folder, 2)
    assert load_compressor(config) == config.fingerprint
    for _ in range(3):
        compress_batch(listed(config), config)
    assert loads == ["fake"]


def test_an_archive_that_is_gone_fails_the_batch(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(folder, 2)

    def full(store: ObjectStore, key: str, data: bytes) -> None:
        raise StoreUnreachable("no space")

    batch = listed(config)
    load_compressor(config)
    monkeypatch.setattr(type(open_store(config.archive)), "create", full)
    with pytest.raises(StoreUnreachable):
        compress_batch(batch, config)


def test_a_probe_that_cannot_be_read_is_noticed_before_any_batch(
    config: WorkerConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(folder, 2)
    passes: list[int] = []
    monkeypatch.setattr(FakeCompressor, "compress", lambda self, images: passes.append(len(images)))
    wordy = replace(config, probing=Probing(1.0, ("is it whole ?", "bag " * 65)))
    for attempt in (lambda: load_compressor(wordy), lambda: compress_batch(listed(config), wordy)):
        with pytest.raises(UsageError, match=r"probe 'bag bag .* 1 to 64 words"):
            attempt()
    assert passes == []


def test_nobody_is_judged_by_no_questions(config: WorkerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeCompressor, "fidelity_probes", ())
    load_compressor(config)
    with pytest.raises(UsageError, match=r"set probes in \[collections.NAME.fidelity\]"):
        load_compressor(replace(config, probing=Probing(0.01)))
