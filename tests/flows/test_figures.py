"""A bundle's figures for people: goals first, rows as tables."""

from __future__ import annotations

import re

from rich.console import Console

from flows.figures import show_figures


def shown(figures, capsys) -> str:
    show_figures(Console(width=100), "it", figures)
    return capsys.readouterr().out


def test_goals_come_first_with_a_verdict_each(capsys):
    goals = [
        {"figure": "base, trays", "goal": ">= 0.88", "measured": "0.950", "met": True},
        {"figure": "probe [x]", "goal": ">= 0.98", "measured": "0.970", "met": False},
        {"figure": "rivals", "goal": "<= 0.5", "measured": "not measured yet", "met": None},
    ]
    said = shown({"accuracy": {"a": {"n": 1}, "b": {"n": 2}}, "goals": goals}, capsys)
    assert said.index("goals") < said.index("accuracy")
    assert re.search(r"│ base, trays +│ >= 0.88 +│ 0.950 +│ met +│", said)
    assert re.search(r"│ probe \[x\] +│ >= 0.98 +│ 0.970 +│ missed +│", said)
    assert re.search(r"│ rivals +│ <= 0.5 +│ not measured yet +│ +│", said)


def test_a_list_of_rows_is_a_table_and_any_other_list_a_line(capsys):
    said = shown({"curve": [{"k": 1, "codec": "int8"}, {"k": 2, "codec": "bits4"}], "ways": [1, 2]}, capsys)
    assert re.search(r"│ 2 │ 2 │ bits4 │", said)
    assert re.search(r"ways +1, 2", said)
    assert "{" not in said


def test_figures_without_goals_show_no_such_table(capsys):
    assert "goals" not in shown({"accuracy": {"a": {"n": 1}, "b": {"n": 2}}}, capsys)
