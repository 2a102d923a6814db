from __future__ import annotations

import json

from fwd2bot_core.compressor.nano import goals
from tests.core.compressor.nano.figured import figures


def by_name(found, folder):
    return {row.figure: row for row in goals.rows(found, folder)}


def test_what_is_not_measured_is_open_and_never_met(tmp_path):
    for row in goals.rows({"fingerprint": "f" * 64}, tmp_path):
        assert (row.measured, row.met) == (goals.NOT_YET, None)
        assert goals.verdict(row) == "open"


def test_each_figure_is_held_against_its_goal(tmp_path):
    table = by_name(figures(), tmp_path)
    assert {figure: row.met for figure, row in table.items() if row.met is not None} == {
        "base, easy-VQA": False,  # 0.97
        "base, easy-VQA without yes or no": True,
        "base, trays": True,
        "accuracy from 9 tokens / from the image, trays": True,
        "accuracy from 9 tokens / from the image, easy-VQA": True,
        "accuracy from 4 tokens / from the image, trays": True,
        "accuracy from 4 tokens / from the image, easy-VQA": True,
        "text to image, R@1 among 1,000 over the ceiling": False,
        "linear probe on tokens / on all visual tokens": False,
        "false captions (swapped, replaced, added) told from true ones": True,
        "bytes of rounded tokens / bfloat16, losing at most 0.5 %": True,
        "bytes stored an image, vector included, against JPEG originals": True,
    }
    assert table["accuracy from 1 token / from the image, trays"].measured == "0.9960 (0.9900 to 1.0000)"


def test_a_search_among_fewer_meets_no_goal(tmp_path):
    found = figures()
    found["search"]["9"] |= {"among": 96, "over_ceiling": 1.0}
    assert by_name(found, tmp_path)["text to image, R@1 among 1,000 over the ceiling"].met is None


def test_a_codec_that_loses_more_is_no_answer(tmp_path):
    found = figures()
    for row in found["curve"]:
        row["lost"] = 0.1
    assert by_name(found, tmp_path)["bytes of rounded tokens / bfloat16, losing at most 0.5 %"].met is False


RIVALS = {"ratio": 0.4, "best_rival": "pooling", "missing": [], "met": True}


def test_evidence_counts_for_its_own_bundle_alone(tmp_path):
    figure = "tokens for 0.98 of the base / best rival"
    for of, met in (("f" * 64, True), ("e" * 64, None)):
        (tmp_path / "rivals.json").write_text(json.dumps({"bundle": of, **RIVALS}))
        assert by_name(figures(), tmp_path)[figure].met is met


def test_evidence_elsewhere_is_read(tmp_path):
    of = {"bundle": "f" * 64}
    said = [{"holds": True}, {"holds": None}]
    results = {
        "k = 9": {"losses": 30, "auroc": {"both": {"questions": 0.99}}},
        "k = 4": {"losses": 300, "auroc": {"both": {"questions": 0.89}}},
    }
    rows = [{"batch": 1, "times_faster": 2.0}, {"batch": 32, "times_faster": 8.0}]
    files = {
        "ablations": {**of, "orderings": said},
        "fidelity_auroc": {**of, "chosen": "both", "results": results},
        "first_word": {"k": 9, "visual_tokens": 144, "rows": rows},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    table = by_name(figures(), tmp_path)
    orderings = table["the paper's orderings"]
    assert (orderings.measured, orderings.met) == ("1 of 2 hold, 1 not run yet", None)
    assert table["fidelity predicts lost answers, AUROC"].measured == "0.890 (k = 4, 300 losses)"
    assert table["fidelity predicts lost answers, AUROC"].met is False
    assert table["first word from tokens, batch 32"].met is True
    (tmp_path / "first_word.json").write_text(json.dumps({"k": 8, "visual_tokens": 64, "rows": rows}))
    assert by_name(figures(), tmp_path)["first word from tokens, batch 32"].measured == goals.NOT_YET


def test_the_table_in_markdown_says_what_is_missed(tmp_path):
    lines = goals.markdown(goals.rows(figures(), tmp_path)).splitlines()
    assert lines[2] == "| base, easy-VQA | >= 0.98 | 0.970 | **missed** |"
    assert len({line.count("|") for line in lines}) == 1
