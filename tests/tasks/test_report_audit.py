"""The page bears the newest checkpoint and says who keeps it."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

from infra.checkpoints import sign_checkpoint
from infra.installation import Installation
from tasks.report import write_report
from tests.infra.anchored import grow

BuildHouse = Callable[..., Installation]


def page(house: Installation, tmp_path: Path) -> str:
    return html.unescape(write_report(house, tmp_path / "report.html").read_text())


def test_a_log_that_was_never_signed_is_no_error(house: BuildHouse, tmp_path: Path) -> None:
    said = page(house(), tmp_path)
    assert "The newest checkpoint" not in said
    assert "No anchor is configured" in said


def test_the_checkpoint_stands_there_word_for_word(house: BuildHouse, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    installation = house(audit__anchors__vault={"kind": "directory", "place": "vault"})
    signed = sign_checkpoint(installation, reason="test")
    said = page(installation, tmp_path)
    assert f'<pre class="checkpoint"><code>{signed.note}</code></pre>' in said
    assert f"<code>{tmp_path}/vault</code>" in said
    assert "Only one anchor is configured" in said
    assert "NOT YET ANCHORED" not in said


def test_an_anchor_that_lags_is_told(house: BuildHouse, tmp_path: Path) -> None:
    anchors = {"audit__anchors__vault": {"kind": "directory", "place": "vault"}}
    anchors["audit__anchors__far"] = {"kind": "directory", "place": "far"}
    for name in ("vault", "far"):
        (tmp_path / name).mkdir()
    installation = house(**anchors)
    sign_checkpoint(installation, reason="test")
    (tmp_path / "far").rename(tmp_path / "elsewhere")
    grow(installation)
    sign_checkpoint(installation, reason="test")
    said = page(installation, tmp_path)
    assert said.count("NOT YET ANCHORED") == 1
    assert "anchor is configured" not in said
