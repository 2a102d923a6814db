"""The page for management: whole, harmless, the same figures as the ledger's; a file or nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.errors import SettingsError, UsageError
from infra.installation import Installation
from infra.tables import summaries
from tasks import kpi_report
from tests.houses import COLLECTION, night
from tests.tasks.test_report import Page


@pytest.fixture
def made(house: Callable[..., Installation], photos: Callable[..., list[Path]]) -> Installation:
    photos(4)
    opened = house()
    night(opened)
    with opened.ledger.write() as connection:
        connection.execute(summaries.update().values(fidelity=0.97))
    return opened


def test_the_page_is_whole_and_says_the_figures(made: Installation, tmp_path: Path) -> None:
    found = kpi_report.gather(made, COLLECTION)
    kpi_report.write(found, tmp_path / "kpi.html")
    page = Page((tmp_path / "kpi.html").read_text())
    assert not page.open
    assert page.tags.count("svg") == 2
    assert "script" not in page.tags
    assert not page.targets
    assert "4 originals are kept, 0 are destroyed" in page.text
    assert "There is not enough to compare yet" in page.text
    assert [file.name for file in tmp_path.glob("*kpi*")] == ["kpi.html"]


def test_before_any_night_there_is_a_page_too(house: Callable[..., Installation]) -> None:
    empty = house()
    assert "No image was judged" in kpi_report.as_html(kpi_report.gather(empty))
    with pytest.raises(SettingsError, match="other"):
        kpi_report.gather(empty, "other")


def test_what_cannot_be_written_says_so(made: Installation, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        kpi_report.write(kpi_report.gather(made), tmp_path / "none" / "kpi.html")


def test_plain_values_say_the_same(made: Installation) -> None:
    told = kpi_report.gather(made).as_json()
    assert told["holdings"]["images"] == sum(month["images"] for month in told["months"]) == 4
    assert told["fidelity"][0]["drifts"] is False
    assert told["alerts"] == []
