"""Lessons made ahead are those made at once; a step's losses are its lesson's."""

from __future__ import annotations

import pytest
import torch

from fwd2bot_core.compressor.training import course as courses
from fwd2bot_core.compressor.training.course import Course, Lesson


def made(step: int) -> Lesson:
    return Lesson(step % 2, {"x": torch.full((3,), float(step))})


@pytest.fixture
def course() -> Course:
    p = torch.nn.Parameter(torch.ones(3))
    return Course({"p": p}, made, lambda lesson: {"far": ((p - lesson["x"]) ** 2).sum()})


@pytest.mark.parametrize("processes", [0, 2])
def test_lessons_made_ahead_come_in_their_order_from_any_step(processes) -> None:
    found = list(courses._ahead(made, 3, 9, processes))
    assert [int(lesson["x"][0]) for lesson in found] == list(range(3, 9))
    assert [lesson.kind for lesson in found] == [1, 0, 1, 0, 1, 0]


def test_a_steps_losses_are_those_of_its_lesson(course) -> None:
    assert course.terms(3)["far"].item() == 12.0
    assert course.device == torch.device("cpu")
