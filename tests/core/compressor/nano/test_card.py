from __future__ import annotations

import re

from fwd2bot_core.compressor.nano import card, design, goals, plots
from tests.core.compressor.nano.figured import figures

SPEC = design.METHOD.spec("f" * 64, 160)


def test_the_card_says_its_figures_and_goals(tmp_path):
    found = figures()
    table = goals.rows(found, tmp_path)
    said = card.text(found, SPEC, table)
    assert goals.markdown(table) in said
    assert "| what is in b2? | 10 | 0.950 | 0.900 | 0.900 | 0.900 | 0.900 | 0.300 | 4 |" in said
    assert re.search(r"what is the lot\?.*\| more than 9 \|", said)
    assert "No better than chance from tokens: *what is the lot? (all three digits)*." in said
    assert "the base itself" in said
    assert "continued at `ba9876543210`" in said
    assert "{" not in said


def test_it_says_so_when_the_base_was_trained_as_long(tmp_path):
    found = figures() | {"below": "twin"}
    for split in found["accuracy"].values():
        for row in split.values():
            row["from_image_twin"] = 0.96
    said = card.text(found, SPEC, goals.rows(found, tmp_path))
    assert "trained as many steps" in said
    assert "the base itself" not in said
    assert "from image, trained as long" in said


def test_a_card_before_any_measurement_claims_nothing(tmp_path):
    found = {name: figures()[name] for name in ("fingerprint", "origin", "stages")}
    said = card.text(found, SPEC, goals.rows(found, tmp_path))
    assert "The figures are not measured yet." in said
    assert "Held-out accuracy" not in said
    assert "| tower | 4 | 2 | 3 | 1.0 | 1 |" in said


def test_plots_are_the_same_bytes_again():
    made = plots.all_of(figures())
    assert sorted(made) == ["boundary.svg", "curve.svg"]
    assert made == plots.all_of(figures())
    assert all(content.lstrip().startswith(b"<?xml") for content in made.values())
    assert plots.all_of({}) == {}
