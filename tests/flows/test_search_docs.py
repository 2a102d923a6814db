"""What docs/search.md tells people to write, run as they would."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.installation import Installation
from tests.houses import night

DOCS = Path(__file__).parents[2] / "docs" / "search.md"
PYTHON = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_the_python_blocks_run(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    made = photos(8)
    night(house())
    for block in PYTHON:
        names: dict[str, Any] = {}
        filled = block.replace("{settings}", str(tmp_path / "fwd2bot.toml")).replace("{photo}", str(made[0]))
        exec(filled, names)
        if "hits" in names:
            assert names["tokens"].shape == (5, 4, 32)
            assert len(names["answers"]) == len(names["like"]) == 5
        else:
            assert names["means"].shape == (8, 32)


def test_each_command_is_a_verb_with_these_options() -> None:
    from flows.cli import app

    lines = re.findall(r"^fwd2bot (.*?)(?:  +#.*)?$", DOCS.read_text(), re.MULTILINE)
    assert len(lines) >= 10
    for line in lines:
        app.parse_args(line, exit_on_error=False, print_error=True)
