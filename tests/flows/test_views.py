"""Collections with views of their own in one installation: a night over each, answers, and a view that changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.nightly import run_night
from flows.screens import SilentScreen
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.view import Region, View
from fwd2bot_core.errors import NotInArchive
from infra import archive
from infra.installation import Installation
from infra.lookup import locate
from infra.settings import load_settings
from infra.tables import compressors, shards, summaries
from tasks.estimate import estimate
from tasks.summary import NightSummary
from tasks.verify import verify
from tests.houses import COLLECTION, fwd2bot, tiny_jpeg, write_settings
from tests.tasks.steps import count, rows

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]

TILED = View(tiles=(2, 2), overlap=0.1, regions=(Region("weld", 0.5, 0.5, 0.5, 0.25),))
SHORT = View(k=2)
SECTIONS: dict[str, Any] = {
    "collections.line-2": {"originals": "photos"},
    f"collections.{COLLECTION}.view": {"tiles": [2, 2], "overlap": 0.1},
    f"collections.{COLLECTION}.view.regions": {"weld": [0.5, 0.5, 0.5, 0.25]},
    "collections.line-2.view": {"k": 2},
}


@pytest.fixture
def two(house: BuildHouse, photos: Photos) -> Installation:
    """Two collections of the same ten photos: one is looked at in six crops, the other once, and briefly."""
    photos(10)
    return house(**SECTIONS)


def night(house: Installation, collection: str) -> NightSummary:
    return run_night(house.settings, collection, SilentScreen())


def said(house: Installation, shard: str) -> dict[str, str]:
    """What a shard says of its compressor to any reader of Parquet."""
    with house.archive.open(shard) as file:
        told = pq.read_schema(file).metadata
    return {key.decode().removeprefix("fwd2bot."): value.decode() for key, value in told.items()}


def reopened(house: Installation, tmp_path: Path, **sections: Any) -> Installation:
    house.ledger.close()
    return Installation(load_settings(write_settings(tmp_path / "fwd2bot.toml", **sections)))


def test_two_views_of_one_bundle_live_side_by_side_and_never_mix(two: Installation, tmp_path: Path) -> None:
    assert [night(two, name).compressed for name in (COLLECTION, "line-2")] == [10, 10]
    expected = {COLLECTION: FakeCompressor(view=TILED), "line-2": FakeCompressor(view=SHORT)}
    for name, fake in expected.items():
        assert two.spec(name) == fake.spec
        stored = locate(two, "0003.jpg", name)
        assert (stored.collection, stored.fingerprint) == (name, fake.spec.fingerprint)
        tokens = fake.compress([fake.prepare(tiny_jpeg(3))]).tokens[0]
        assert np.array_equal(archive.tokens(two, stored), tokens)
        _, answer = archive.ask(two, "0003.jpg", "what is it ?", name)
        assert answer == fake.answer(tokens, "what is it ?")
        assert said(two, stored.shard)["fingerprint"] == fake.spec.fingerprint
        assert json.loads(said(two, stored.shard)["preprocessing"]) == fake.spec.preprocessing
    registered = {row.fingerprint: (row.k, row.token_bytes) for row in rows(two, compressors)}
    assert registered == {
        fake.spec.fingerprint: (fake.spec.k, fake.spec.token_bytes) for fake in expected.values()
    }
    assert {fake.spec.k for fake in expected.values()} == {24, 2}
    assert {said(two, row.path)["fingerprint"] for row in rows(two, shards)} == set(registered)
    assert verify(two.ledger, two.archive).findings == ()


def test_a_changed_view_compresses_its_own_collection_again_and_no_other(
    two: Installation, tmp_path: Path
) -> None:
    for name in (COLLECTION, "line-2"):
        night(two, name)
    changed = reopened(two, tmp_path, **SECTIONS | {"collections.line-2.view": {"k": 2, "tiles": [1, 2]}})
    assert (estimate(changed, COLLECTION).images, estimate(changed, "line-2").images) == (0, 10)
    assert estimate(changed, "line-2").stored_from.startswith("assumed")
    with pytest.raises(NotInArchive, match="has no committed tokens of its current version"):
        archive.ask(changed, "0003.jpg", "what is it ?", "line-2")
    assert [night(changed, name).compressed for name in (COLLECTION, "line-2")] == [0, 10]
    assert locate(changed, "0003.jpg", "line-2").fingerprint == changed.spec("line-2").fingerprint
    assert count(changed, summaries) == 30  # the earlier tokens stay where they are
    changed.ledger.close()
    back = reopened(changed, tmp_path, **SECTIONS)
    assert night(back, "line-2").compressed == 0  # and count again when the view returns
    assert verify(back.ledger, back.archive).findings == ()
    back.ledger.close()


def test_the_command_goes_by_the_collections_view(two: Installation, tmp_path: Path) -> None:
    config = ("--config", tmp_path / "fwd2bot.toml")
    for name in (COLLECTION, "line-2"):
        assert fwd2bot("night", name, "--direct", *config).returncode == 0
        asked = fwd2bot("ask", "0003.jpg", "what is it ?", "--collection", name, "--json", *config)
        assert asked.returncode == 0, asked.stderr
        assert two.spec(name).fingerprint[:12] in asked.stdout
    examined = fwd2bot("doctor", *config)
    assert examined.returncode == 0, examined.stdout
    assert "gives 24 tokens of each photo: thumbnail, tile 1,1, tile 1,2, tile 2,1" in " ".join(
        examined.stdout.split()
    )
    planned = json.loads(fwd2bot("plan", "line-2", "--json", *config).stdout)
    assert planned["compressor"] == two.spec("line-2").short


def test_a_view_that_the_bundle_cannot_serve_is_a_sentence_and_starts_nothing(
    house: BuildHouse, photos: Photos, tmp_path: Path
) -> None:
    photos(2)
    installation = house(**{f"collections.{COLLECTION}.view": {"k": 5}})
    done = fwd2bot("night", "--direct", "--config", tmp_path / "fwd2bot.toml")
    assert done.returncode == 2
    assert "k is 5, and this bundle was trained for k = 1, 2, 3, 4 only" in " ".join(done.stderr.split())
    assert count(installation, summaries) == 0
