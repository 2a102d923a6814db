"""The installed figures are those of the committed evidence."""

from __future__ import annotations

import json

import pytest

from fwd2bot_core.capacity.figures import MEASURED, shipped
from tests.bench.capacity_figures import figures, written
from tests.bench.evidence import FOLDER

AGAIN = "evidence was measured anew: python -m tests.bench.capacity_figures, and commit figures.json"


def test_the_installed_figures_are_those_of_the_evidence() -> None:
    made, installed = {one.name: one for one in figures(FOLDER)}, shipped()
    assert made.keys() == set(installed), AGAIN
    for name, one in made.items():
        assert installed[name].kind == one.kind, AGAIN
        assert installed[name].value == pytest.approx(one.value, rel=0.5), f"{name}: {AGAIN}"


def test_every_measured_figure_names_its_measurement_and_every_assumed_one_its_reason() -> None:
    for one in shipped().values():
        assert len(one.source) > 10
        if one.kind == MEASURED and ".json" in one.source:
            assert (FOLDER / one.source.partition(",")[0].partition(";")[0]).is_file(), one.source


def test_the_file_holds_what_was_found() -> None:
    found = figures(FOLDER)
    document = json.loads(written(found))
    assert list(document) == [one.name for one in found]
    assert all(set(values) == {"value", "unit", "kind", "source"} for values in document.values())
