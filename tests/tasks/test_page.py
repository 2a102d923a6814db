"""Pages are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwd2bot_core.errors import UsageError
from tasks.page import write_page


def test_a_page_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")
    write_page("new – whole", file)
    assert file.read_text(encoding="utf-8") == "new – whole"
    assert list(tmp_path.iterdir()) == [file]


def test_where_it_cannot_be_written_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    for place in (tmp_path / "taken", tmp_path / "missing" / "page.html"):
        with pytest.raises(UsageError, match="Name another file"):
            write_page("text", place)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
