"""The page about dispositions shows what the commands really print, in that order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.flows.retention_walk import Walk

PAGE = Path(__file__).parents[2] / "docs" / "disposition.md"


def test_the_page_shows_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walk = Walk(tmp_path / "site", monkeypatch)
    printed = [_same_each_time(f"{command}\n{said}") for command, said in walk.typed()]
    walk.close()
    blocks = re.findall(r"```console\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    shown = [part for block in blocks for part in re.split(r"\n(?=\$ )", block)]
    assert [_same_each_time(part) for part in shown] == printed


def _same_each_time(text: str) -> str:
    """Without times, hashes and keys, which are others each time."""
    text = re.sub(r"AAAA[0-9A-Za-z+/]+", "KEY", text)
    text = re.sub(r"20\d{6}-[0-9a-f]{8}", "LIST", text)
    text = re.sub(r"[0-9a-f]{12,64}", "HEX", text)
    text = re.sub(r"20\d\d-\d\d-\d\d( \d\d:\d\dZ|T[\d:.]+Z)?", "WHEN", text)
    return re.sub(r"[\s━─┳┓┏┡╇┩└┴┘]+", " ", text).strip()
