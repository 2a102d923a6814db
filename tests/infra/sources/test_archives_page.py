"""The page about archives: its settings are settings, and what it says by name is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fwd2bot_core.errors import RejectReason
from infra.discovery_settings import ContainerSettings, DiscoverySettings
from infra.settings import load_settings
from infra.sources import index
from infra.sources.rules import ContainerRules
from tasks.find_new import MOST_DAYS

PAGE = (Path(__file__).parents[3] / "docs" / "archives.md").read_text()


def test_its_settings_can_be_loaded(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "fwd2bot.toml"
    file.write_text('[collections.line-1]\noriginals = "s3://originals/line-1"\n' + "\n".join(blocks))
    found = load_settings(file).collections["line-1"]
    assert found.containers.rules() == ContainerRules(archives=True, pages="all")
    assert found.capture.name == "%Y/%m/%d/*"
    said = set(re.findall(r"^(\w+) = ", "\n".join(blocks), re.MULTILINE))
    assert said >= set(DiscoverySettings.model_fields) | set(ContainerSettings.model_fields)


@pytest.mark.parametrize("word", sorted(set(re.findall(r"rejected,\s+`(\w+)`", PAGE))))
def test_its_reasons_are_reasons(word: str) -> None:
    assert word in set(RejectReason)


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"{MOST_DAYS} days of\nsilence" in PAGE
    assert index.FOLDER in PAGE
    assert index.MOST_MEMBERS == 1_000_000
    default = DiscoverySettings()
    assert (default.late_hours, default.full_sweep) == (48, "0 2 * * 0")
