"""What a stage is taught by, in two halves: a step's numbers, prepared on the processor, and the losses they give.

    prepare   step   -> Lesson      depends on the step alone; no network, so it can be done ahead, in other processes
    losses    Lesson -> losses      tensors only, of shapes that a lesson's kind settles; on any device

On a CUDA device lessons are prepared ahead and each kind of step runs as one captured graph: at this size launching
kernels one by one would take most of the time. Knows nothing of what is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from fwd2bot_core.compressor.training.loop import Losses

WARM_UPS = 3  # steps before a capture, in which kernels are chosen and workspaces taken
Learnt = dict[str, nn.Parameter]

AHEAD = 8  # lessons that each process keeps ready


@dataclass(frozen=True)
class Lesson:
    """One step's tensors by name. Those of one ``kind`` have the same shapes and go through the same operations."""

    kind: Hashable
    tensors: Mapping[str, torch.Tensor]

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    def to(self, device: torch.device) -> Lesson:
        return replace(self, tensors={name: t.to(device) for name, t in self.tensors.items()})


@dataclass(frozen=True)
class Course:
    """The parameters that are learned, and both halves of each step."""

    learn: Learnt
    prepare: Callable[[int], Lesson]
    losses: Callable[[Lesson], dict[str, torch.Tensor]]

    @property
    def device(self) -> torch.device:
        return next(iter(self.learn.values())).device

    def terms(self, step: int) -> dict[str, torch.Tensor]:
        """One step's losses, prepared now."""
        return self.losses(self.prepare(step).to(self.device))


class Graphed:
    """The losses of each step, with their gradients left in the parameters: for ``loop.run(own_backward=True)``."""

    def __init__(self, course: Course, *, steps: int, processes: int) -> None:
        self._course, self._steps, self._processes = course, steps, processes
        self._lessons: Iterator[Lesson] = iter(())
        self._next = -1
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, step: int) -> Losses:
        if step != self._next:
            self._lessons = iter(_ahead(self._course.prepare, step, self._steps, self._processes))
        lesson, self._next = next(self._lessons), step + 1
        if lesson.kind not in self._graphs:
            self._graphs[lesson.kind] = _Graph(self._course, lesson)
        return self._graphs[lesson.kind](lesson)


class _Graph:
    """Forward and backward of one kind of step. Its inputs, losses and gradients lie where they lay when captured."""

    def __init__(self, course: Course, lesson: Lesson) -> None:
        self._given = lesson.to(course.device)
        others = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        others.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(others):
            for _ in range(WARM_UPS):
                self._step(course)
        torch.cuda.current_stream().wait_stream(others)
        for p in course.learn.values():
            p.grad = None
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._losses = self._step(course)
        self._gradients = [(p, p.grad) for p in course.learn.values()]

    def _step(self, course: Course) -> dict[str, torch.Tensor]:
        losses = course.losses(self._given)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in losses.items()}

    def __call__(self, lesson: Lesson) -> Losses:
        for name, given in self._given.tensors.items():
            given.copy_(lesson[name], non_blocking=True)
        self._graph.replay()
        for p, gradient in self._gradients:
            p.grad = gradient
        return self._losses


class _Lessons(Dataset[Lesson]):
    def __init__(self, prepare: Callable[[int], Lesson]) -> None:
        self._prepare = prepare

    def __getitem__(self, step: int) -> Lesson:
        return self._prepare(step)


def _ahead(prepare: Callable[[int], Lesson], first: int, steps: int, processes: int) -> DataLoader[Lesson]:
    """The lessons from step ``first`` on, in order, made by other processes."""
    order = range(first, max(steps, first + 1))
    options = {"prefetch_factor": AHEAD, "multiprocessing_context": "fork"} if processes else {}
    return DataLoader(_Lessons(prepare), batch_size=None, sampler=order, num_workers=processes, **options)  # type: ignore[arg-type]
