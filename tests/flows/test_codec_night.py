"""A collection changes its codec: old and new shards lie beside each other, and all are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.errors import SettingsError
from fwd2bot_core.tokens.codec import as_stored, row_bytes
from fwd2bot_core.tokens.codec_name import NAMES
from fwd2bot_core.tokens.manifest import read_manifest
from infra import archive
from infra.installation import Installation
from infra.settings import explain_settings
from infra.tables import shards, summaries
from tasks.estimate import estimate
from tasks.publish import pointer_path
from tasks.report import render
from tasks.verify import verify
from tests.houses import COLLECTION, night, write_settings
from tests.tasks.steps import rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


def stores(house: BuildHouse, codec: str) -> Installation:
    return house(**{f"collections.{COLLECTION}": {"codec": codec}})


@pytest.fixture
def mixed(house: BuildHouse, photos: Photos) -> Installation:
    """Photo n is stored in the n-th codec."""
    for number, codec in enumerate(NAMES):
        photos(1, start=number)
        made = stores(house, codec)
        assert night(made).compressed == 1
    return made


def test_each_image_comes_back_as_its_shard_stores_it(mixed: Installation) -> None:
    fake = FakeCompressor()
    for number, codec in enumerate(NAMES):
        key = f"{number:04}.jpg"
        photo = Path(mixed.settings.collection(None)[1].originals.removeprefix("file://")) / key
        whole = fake.compress([fake.prepare(photo.read_bytes())]).tokens
        stored = archive.locate(mixed, key)
        found = archive.tokens(mixed, stored)
        assert found.tobytes() == as_stored(whole, fake.spec, codec)[0].tobytes()
        assert (found.tobytes() == whole[0].tobytes()) == (codec == "exact")
        assert archive.ask(mixed, key, "what is it ?")[1] == fake.answer(np.array(found), "what is it ?")


def test_ledger_manifest_and_checks_agree_on_the_codecs(mixed: Installation) -> None:
    spec = mixed.spec(COLLECTION)
    assert [row.codec for row in rows(mixed, shards.select().order_by(shards.c.id))] == list(NAMES)
    assert sorted(row.token_bytes for row in rows(mixed, summaries)) == sorted(
        row_bytes(spec, codec) for codec in NAMES
    )
    manifest = read_manifest(mixed.archive.read(pointer_path(COLLECTION, spec)))
    assert sorted(shard.codec for shard in manifest.shards) == sorted(NAMES)
    assert not verify(mixed.ledger, mixed.archive).findings
    assert archive.status(mixed)["collections"][0]["codecs"] == list(reversed(NAMES))
    (version,) = archive.life(mixed, "0002.jpg")
    assert version["summaries"][0]["codec"] == NAMES[2]
    page = render(mixed, collection=None, runs=5, at=datetime(2026, 11, 24, tzinfo=UTC))
    assert "shard.codec = &#39;bits2&#39;" in page


def test_a_codec_that_was_altered_in_the_table_is_found(mixed: Installation) -> None:
    with mixed.ledger.write() as connection:
        connection.execute(shards.update().where(shards.c.codec == "bits3").values(codec="bits2"))
    problems = {finding.what: finding.problem for finding in verify(mixed.ledger, mixed.archive).findings}
    assert "its tokens are bits3, the row in the table says bits2" in problems["ledger"]
    assert problems.keys() == {"ledger", "manifest"}


def test_a_plan_counts_the_bytes_of_the_codec_that_is_set(house: BuildHouse, photos: Photos) -> None:
    photos(20)
    said = {codec: estimate(stores(house, codec), None) for codec in ("exact", "bits4")}
    assert said["exact"].stored_bytes > said["bits4"].stored_bytes
    assert said["bits4"].stored_from == "assumed: nothing stored yet as bits4"
    night(stores(house, "bits4"))
    photos(5, start=100)
    assert estimate(stores(house, "bits4"), None).stored_from == "measured on 20 images"
    assert estimate(stores(house, "exact"), None).stored_from == "assumed: nothing stored yet as exact"


def test_the_setting_is_shown_and_a_wrong_one_refused(tmp_path: Path) -> None:
    name = f"collections.{COLLECTION}.codec"
    file = write_settings(tmp_path / "fwd2bot.toml", **{f"collections.{COLLECTION}": {"codec": "bits4"}})
    assert (name, "bits4", str(file)) in explain_settings(file)
    write_settings(file, **{f"collections.{COLLECTION}": {"codec": "rot4"}})
    with pytest.raises(SettingsError, match=f"{name}: Input should be 'exact', 'int8', 'bits4'"):
        explain_settings(file)


def test_fidelity_is_that_of_the_rounded_tokens(house: BuildHouse, photos: Photos) -> None:
    photos(3)
    made = house(
        **{
            f"collections.{COLLECTION}": {"codec": "bits2"},
            f"collections.{COLLECTION}.fidelity": {"sample": 1.0, "probes": ["is it whole ?"]},
        }
    )
    night(made)
    fidelities = [row.fidelity for row in rows(made, summaries)]
    assert len(fidelities) == 3
    assert max(fidelities) < 1  # the same tokens, stored exactly, would have all of it
