"""Everything that ``python -m tests.gpu`` does, at a tiny shape on the CPU; without CUDA it says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.bench import shapes
from tests.gpu import __main__ as command
from tests.gpu import table, ways

PLAN = table.Plan(
    shape=replace(shapes.SHAPES["tiny"], layers=1, tower_layers=1),  # each layer takes its time to trace
    device="cpu",
    batches=(2,),
    train=(2,),
    rounds=1,
    images=4,
    compile_options={"traced": {"backend": "eager"}},
)


@pytest.mark.long
def test_all_tables_at_a_tiny_shape(capsys: pytest.CaptureFixture[str]) -> None:
    found = table.everything(PLAN)
    failed = {row["way"]: row["failed"] for row in found["pass1"] if "failed" in row}
    gone = {row["way"]: row for row in found["pass1"] if "failed" not in row}
    assert {"ours", "ours, math", "plain, math", "ours, traced"} <= set(gone)
    assert "ours, captured CUDA graph" in failed
    assert not [row for row in found["train"] + found["first_word"] + found["compress"] if "failed" in row]
    assert [row["use"] for row in found["train"]] == ["train", "train, checkpointed"]
    table.show(found, "tiny")
    said = capsys.readouterr().out
    assert "captured CUDA graph" in said
    assert "time to the first word, tiny" in said


def test_a_way_with_other_states_is_refused() -> None:
    def wrong() -> torch.Tensor:
        return torch.ones(2, 2) + 0.1

    row = ways.attempt(lambda: ways.against_plain(lambda: torch.ones(2, 2), lambda: wrong, 1))
    assert row["failed"] == "AssertionError: the states differ by 0.1 of their length"


def test_without_a_device_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="finds no CUDA device"):
        command.device()
