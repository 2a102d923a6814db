"""Prices from a file of their own: read as the settings' are, and refused with the place that is wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from fwd2bot_core.errors import SettingsError
from infra.prices import read_prices


def test_a_file_of_prices_may_hold_other_sections(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        '[other]\nx = 1\n[prices]\ngpu_hour = "2.10"\n[prices.sources]\ngpu_hour = "a contract"\n'
    )
    found = read_prices(file)
    assert (found.gpu_hour, found.ledger_gb_month) == (Decimal("2.10"), None)
    assert found.said("gpu_hour") == "2.10 EUR (a contract)"


def test_the_prices_that_the_manual_shows_can_be_read(tmp_path: Path) -> None:
    _, _, rest = Path("docs/capacity.md").read_text().partition("```toml\n")
    (tmp_path / "prices.toml").write_text(rest.partition("```")[0])
    found = read_prices(tmp_path / "prices.toml")
    assert None not in [getattr(found, name) for name in type(found).model_fields]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read"),
        ("[prices", "no TOML"),
        ("[other]\n", r"no section \[prices\]"),
        ("[prices]\ngpu_hour = -1\n", r"prices\.gpu_hour"),
        ("[prices]\ngpu_our = 1\n", r"prices\.gpu_our"),
        ('[prices.sources]\ngpu_our = "x"\n', "gpu_our"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "prices.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        read_prices(file)
