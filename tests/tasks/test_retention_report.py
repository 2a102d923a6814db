"""Reports of a retention run: page, table, Markdown, digest; all with the checkpoint, and strangers' names escaped."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tasks.reconcile import reconcile
from tasks.retention_report import as_csv, as_html, digest, markdown
from tests.flows.retentions import make_site, run
from tests.houses import COLLECTION, tiny_jpeg
from tests.tasks.disposals import World


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    root = tmp_path / "site"
    return make_site(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch)


def test_reports_hold_the_newest_checkpoint_and_escape_what_strangers_wrote(plain: World) -> None:
    plain.list(plain.numbers)
    plain.may_go = set(plain.numbers)
    done = run(plain)
    plain.store.create("=cmd|<b>\n.jpg", tiny_jpeg(9))
    shown = reconcile(plain.house, COLLECTION)
    done.reconciled = [shown]
    assert done.note is not None
    assert all(done.note.splitlines()[2] in text for text in (digest(done), as_html(done), markdown(done)))
    table = list(csv.DictReader(io.StringIO(as_csv(done))))
    assert {row["what"] for row in table} >= {"destroyed", "orphan"}
    assert [row["name"] for row in table if row["what"] == "orphan"] == ["'=cmd|<b>\\n.jpg"]
    assert "<b>" not in as_html(done)
    held = [info.key for info in plain.house.archive.list("retention/")]
    assert sorted(held) == done.reports
    json.dumps(done.as_dict(), default=str)


def test_a_dry_run_says_would_everywhere(plain: World) -> None:
    plain.list(plain.numbers)
    shown = run(plain, act=False)
    table = list(csv.DictReader(io.StringIO(as_csv(shown))))
    assert [(row["acted"], row["objects"]) for row in table if row["what"] == "would be destroyed"] == [
        ("no", "3")
    ]
    assert "nothing done" in digest(shown)
    assert "nothing done" in as_html(shown)
    assert "dry run" in markdown(shown)
