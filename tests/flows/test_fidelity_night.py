"""A night that judges what it stored: the same score in receipt, ledger, audit segment, summary, page and `show`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fwd2bot_core.audit.segment import read_segment
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.tokens.fidelity import judge, probes_sha256
from infra import archive
from infra.installation import Installation
from infra.tables import audit_segments, object_versions, probe_sets, summaries
from tasks.report import markdown, render
from tasks.verify import verify
from tests.houses import COLLECTION, night, tiny_jpeg
from tests.tasks.steps import rows, use_compressor

PROBES = ["is it whole ?", "which lot ?"]
ON = {f"collections.{COLLECTION}.fidelity": {"sample": 1.0, "probes": PROBES, "threshold": 0.95}}

BuildHouse = Callable[..., Installation]
Photos = Callable[..., list[Path]]


class Forgetful(FakeCompressor):
    """Loses something of every second photo between compressing and storing."""

    def compress(self, images):
        made = super().compress(images)
        for row, image in enumerate(images):
            made.tokens[row] += np.float32(0.2 * (image.pixels[0, 0, 0, 0] % 2))
        return made

    def compare(self, tokens, images, questions):
        return FakeCompressor().compare(tokens, images, questions)


@pytest.fixture
def judged(house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> Installation:
    for number, path in enumerate(photos(10)):
        path.write_bytes(tiny_jpeg(number * 37))
    use_compressor(monkeypatch, Forgetful())
    return house(**ON)


def test_the_score_is_the_same_wherever_it_is_told(judged: Installation) -> None:
    summary = night(judged)
    known = rows(
        judged,
        sa.select(summaries, object_versions.c.key, probe_sets.c.questions, probe_sets.c.sha256)
        .join(object_versions, object_versions.c.id == summaries.c.object_version_id)
        .join(probe_sets, probe_sets.c.id == summaries.c.probe_set_id),
    )
    assert len(known) == 10
    assert {(row.questions, row.sha256) for row in known} == {(json.dumps(PROBES), probes_sha256(PROBES))}
    fake = FakeCompressor()
    for row in known:
        image = fake.prepare((judged.originals(COLLECTION)).read(row.key))
        stored = archive.tokens(judged, archive.locate(judged, row.key))
        (findings,) = fake.compare(stored[None], [image], PROBES)
        assert (row.fidelity, row.worst_probe) == (judge(findings).score, judge(findings).worst)
    scores = [row.fidelity for row in known]
    assert 1.0 in scores
    assert min(scores) < 0.95

    (segment,) = rows(judged, audit_segments)
    lines = [line["fidelity"] for line in read_segment(judged.archive.read(segment.path))]
    assert sorted(line["millionths"] for line in lines) == sorted(round(s * 1e6) for s in scores)
    assert {line["probes"] for line in lines} == {probes_sha256(PROBES)}
    assert verify(judged.ledger, judged.archive).findings == ()

    assert summary.fidelity is not None
    assert (summary.fidelity.judged, summary.fidelity.below) == (10, sum(s < 0.95 for s in scores))
    assert f"{summary.fidelity.below} of 10 judged below fidelity 0.95" in summary.message
    assert f"| fidelity | mean {summary.fidelity.mean:.3f}" in markdown(summary)
    assert summary.stage_seconds["fidelity"] >= 0

    lowest = min(known, key=lambda row: row.fidelity)
    (version,) = archive.life(judged, lowest.key)
    (told,) = version["summaries"]
    assert (told["fidelity"], told["probes"]) == (lowest.fidelity, 2)
    assert told["worst_probe"] == PROBES[lowest.worst_probe]


def test_the_page_shows_the_distribution(judged: Installation) -> None:
    night(judged)
    page = render(judged, collection=None, runs=5, at=rows(judged, object_versions)[0].first_seen_at)
    assert "Images by fidelity" in page
    assert "below fidelity 0.95" in page


def test_unless_it_is_asked_for_nothing_is_judged_and_nothing_is_known(
    house: BuildHouse, photos: Photos
) -> None:
    photos(3)
    installation = house()
    summary = night(installation)
    assert summary.fidelity is None
    known = rows(installation, summaries)
    assert [(r.fidelity, r.worst_probe, r.probe_set_id) for r in known] == [(None, None, None)] * 3
    assert rows(installation, probe_sets) == []
    (version,) = archive.life(installation, "0000.jpg")
    assert version["summaries"][0]["fidelity"] is None
    assert version["summaries"][0]["worst_probe"] is None


def test_a_share_is_judged_and_the_rest_stays_unknown(house: BuildHouse, photos: Photos) -> None:
    photos(40)
    installation = house(**{f"collections.{COLLECTION}.fidelity": {"sample": 0.5}})
    summary = night(installation)
    assert summary.fidelity is not None
    known = [row.fidelity for row in rows(installation, summaries)]
    assert 0 < summary.fidelity.judged == sum(f is not None for f in known) < 40
    (asked,) = rows(installation, probe_sets)
    assert json.loads(asked.questions) == list(FakeCompressor().fidelity_probes)


def test_a_second_night_with_other_probes_leaves_the_first_scores_as_they_were(
    house: BuildHouse, photos: Photos
) -> None:
    photos(3)
    night(house(**ON))
    photos(2, start=3)
    installation = house(**{f"collections.{COLLECTION}.fidelity": {"sample": 1.0, "probes": ["which lot ?"]}})
    night(installation)
    asked = {row.id: len(json.loads(row.questions)) for row in rows(installation, probe_sets)}
    assert sorted(asked[row.probe_set_id] for row in rows(installation, summaries)) == [1, 1, 2, 2, 2]


class Poisoned(FakeCompressor):
    """Cannot compare photos whose first number of pixels is below 100."""

    def compare(self, tokens, images, questions):
        if any(image.pixels[0, 0, 0, 0] < 100 for image in images):
            raise RuntimeError("out of memory")
        return super().compare(tokens, images, questions)


def test_chosen_images_that_cannot_be_judged_fail_no_batch_and_are_told_everywhere(
    house: BuildHouse, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, path in enumerate(photos(3)):
        path.write_bytes(tiny_jpeg(number))  # 0 to 32: poison, all that a micro-batch holds
    use_compressor(monkeypatch, Poisoned())
    installation = house(**ON)
    summary = night(installation)
    assert (summary.compressed, summary.fidelity, summary.unjudged, summary.exit_code) == (3, None, 3, 0)
    assert summary.message == "3 compressed, 3 chosen could not be judged"
    assert "| fidelity not known | 3 chosen could not be judged |" in markdown(summary)
    page = render(
        installation, collection=None, runs=5, at=rows(installation, object_versions)[0].first_seen_at
    )
    assert "fidelity not known, though chosen" in page
    (segment,) = rows(installation, audit_segments)
    lines = read_segment(installation.archive.read(segment.path))
    assert [line["fidelity"] for line in lines] == [{"probes": probes_sha256(PROBES)}] * 3
    assert verify(installation.ledger, installation.archive).findings == ()
    (version,) = archive.life(installation, "0001.jpg")
    (told,) = version["summaries"]
    assert (told["fidelity"], told["worst_probe"], told["probes"]) == (None, None, 2)
