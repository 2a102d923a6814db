"""The sample archive is told from every other one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fwd2bot_core.retention.facts import Standing
from infra.installation import Installation, opened
from infra.settings import load_settings
from tasks.labels import check_labels
from tasks.sample import LABELS, lay_out
from tasks.standing import standing
from tests.houses import COLLECTION, night, tiny_jpeg, write_settings


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Installation]:
    """Six sample photos, compressed by the fake, with their labels checked."""
    lay_out(tmp_path / "demo", images=6)
    settings = write_settings(tmp_path / "demo" / "fwd2bot.toml")
    with opened(load_settings(settings)) as house:
        night(house)
        check_labels(house, COLLECTION, tmp_path / "demo" / LABELS, at_least=0.5)
        yield house


def known(house: Installation) -> Standing:
    with house.ledger.read() as connection:
        return standing(house, connection, COLLECTION)


def of_sample(house: Installation) -> bool:
    (result,) = known(house).labels.values()
    return result.of_sample


def test_six_sample_photos_with_their_labels_are_the_sample_archive(demo: Installation) -> None:
    said = known(demo)
    assert of_sample(demo)
    assert said.demonstration == {demo.spec(COLLECTION).fingerprint: True}
    assert said.originals.startswith("file://")


def test_one_photo_more_makes_it_somebodys_own(demo: Installation, tmp_path: Path) -> None:
    (tmp_path / "demo" / "photos" / "mine.jpg").write_bytes(tiny_jpeg(1))
    night(demo)
    assert not of_sample(demo)


def test_the_labels_of_fewer_photos_are_not_those_of_more(demo: Installation, tmp_path: Path) -> None:
    lay_out(tmp_path / "demo", images=6, add=1)
    night(demo)
    assert not of_sample(demo)


def test_ones_own_labels_of_sample_photos_let_no_toy_go(demo: Installation, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text((tmp_path / "demo" / LABELS).read_text().splitlines()[0] + "\n")
    check_labels(demo, COLLECTION, own, at_least=0.5)
    assert not of_sample(demo)
