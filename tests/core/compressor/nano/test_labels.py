from __future__ import annotations

import json

from fwd2bot_core.compressor.nano import labels, questions, samples
from fwd2bot_core.compressor.nano.trays import CELLS, COLORS
from fwd2bot_core.compressor.training import dataset


def test_labels_say_what_lies_in_the_tray():
    cells = dict(zip(("a1", "b2", "c3"), (0, 4, 8), strict=True))
    tried = 0
    for index in range(60):
        known = samples.facts(index, seed=3)
        for row in labels.rows(index, seed=3):
            assert row["key"] == samples.key(index)
            if row["kind"] == "count":
                assert row["answer"] == questions.NUMBERS[len(known.items)]
            for name, cell in cells.items():
                if row["question"] == f"what is in {name}?":
                    assert row["answer"] == known.cells[cell].name
                    tried += 1
    assert tried > 5


def test_captions_are_true_and_negatives_are_not():
    for index in range(40):
        known = samples.facts(index, seed=3)
        first, *others = labels.rows(index, seed=3)
        truths = {f"{cell} {color} {kind}" for cell, color, kind in _items(known)}
        assert set(first["caption"].split(" , ")) <= truths
        assert 1 <= len(first["negatives"]) <= len(questions.FALSEHOODS)
        assert not any(set(false.split(" , ")) <= truths for false in first["negatives"])
        assert not any({"caption", "negatives"} & row.keys() for row in others)


def test_one_seed_writes_one_file_that_training_reads(tmp_path):
    samples.write_archive(tmp_path / "photos", 4, seed=3)
    for name in ("a.jsonl", "b.jsonl"):
        labels.write(tmp_path / name, "photos", 4, seed=3)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    items = dataset.read([str(tmp_path / "a.jsonl")])
    assert [item.path for item in items] == [tmp_path / "photos" / samples.key(index) for index in range(4)]
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert sum(len(item.questions) for item in items) == len(rows)
    assert all(len(item.captions) == 1 and item.negatives for item in items)


def _items(known):
    return [(CELLS[cell], COLORS[known.cells[cell].color], known.cells[cell].name) for cell in known.items]
