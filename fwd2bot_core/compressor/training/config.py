"""What a training is told, read from one TOML file: every setting typed, an unknown name refused by name.

Paths are relative to the file. Knows values and their bounds. Imports no torch.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fwd2bot_core.compressor.view import View
from fwd2bot_core.compressor.view_settings import ViewSettings
from fwd2bot_core.errors import SettingsError, UsageError

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Section):
    """Where images, questions and captions come from."""

    train: list[str] = Field(min_length=1)  # JSONL or Parquet files
    validation: list[str] = []  # files of their own; without any, a share of ``train`` is held out
    held_out: Share = 0.1  # of the images (groups of images) of ``train``, if ``validation`` names no file
    ignore: list[str] = []  # columns that are not for us
    unreadable: Annotated[int, Field(ge=0)] = 10  # images that may fail before the training does
    threads: Positive = 2  # that read and decode
    cache_mb: Annotated[int, Field(ge=0)] = 512  # of decoded images kept in memory


class MethodSettings(_Section):
    """The compressor's own; what is left out is the base bundle's, or the default of a plain model."""

    k: Positive | None = None
    nested_k: list[Positive] = []  # shorter prefixes of the k tokens to train for as well
    fresh: bool = False  # new adapters and summary tokens on the base bundle's model
    rank: Positive | None = None
    alpha: Annotated[float, Field(gt=0)] | None = None
    prompt: str | None = None
    question_template: str | None = None
    max_new_tokens: Positive | None = None
    max_text_tokens: Positive | None = None


class Losses(_Section):
    """What the two losses weigh, and how the contrastive one compares."""

    answers: Weight = 1.0  # autoregressive, after pass 2
    contrast: Weight = 1.0  # symmetric contrastive, after pass 1
    temperature: Annotated[float, Field(gt=0, le=1)] = 0.07
    learn_temperature: bool = True
    caption_tokens: Positive = 32  # longer captions are cut: it is short ones that tell images apart

    @model_validator(mode="after")
    def _something_is_learned(self) -> Self:
        if self.answers == self.contrast == 0:
            raise ValueError("answers and contrast are both 0, so nothing would be learned")
        return self


class Schedule(_Section):
    """How long, how fast, with how much at once, and on what."""

    steps: Positive
    minutes: Annotated[float, Field(gt=0)] | None = None  # ends sooner; then two runs differ a little
    batch: Positive = 16  # images a step whose questions are answered
    contrastive_batch: Positive | None = None  # images a step that are told apart [batch]
    chunk: Positive | None = None  # images in memory at once, the rest by GradCache [all]
    questions: Positive = 4  # of one image in one step, at most
    train: list[Literal["adapters", "projector"]] = ["adapters"]
    rate: Rate = 2e-4
    projector_rate: Rate = 2e-5
    warm_up: Share = 0.03
    weight_decay: Weight = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] | None = None  # [the base's]
    gradient_checkpointing: bool = False
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60.0
    report_every: Positive = 10  # steps
    evaluate: Annotated[int, Field(ge=0)] = 2000  # validation questions for the figures, at most

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.contrastive_batch is not None and self.contrastive_batch < self.batch:
            raise ValueError(
                f"contrastive_batch is {self.contrastive_batch}, and every image of the batch of {self.batch} "
                "is told apart: make it as large at least"
            )
        if "adapters" not in self.train:
            raise ValueError("train must name adapters: without them no summary is learned")
        return self

    @property
    def compared(self) -> int:
        """Images a step that are told apart."""
        return self.contrastive_batch or self.batch


class TrainingConfig(_Section):
    """The whole file."""

    base: str  # a bundle by name or folder, or the folder of a transformers model
    output: Path  # folder of checkpoint, log, and the finished bundle
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]  # of the new bundle
    demonstration_only: bool = False  # the bundle must never release an original
    data: Data
    method: MethodSettings = MethodSettings()
    view: ViewSettings = ViewSettings()  # how images are looked at, in training as in the collections to come
    losses: Losses = Losses()
    training: Schedule

    @field_validator("view")
    @classmethod
    def _can_be_seen(cls, view: ViewSettings) -> ViewSettings:
        if view.k is not None:
            raise ValueError("k is said in method.k")
        try:
            view.view()
        except UsageError as error:
            raise ValueError(str(error)) from None
        return view


class _Look(BaseModel):
    view: ViewSettings


def read(path: Path) -> TrainingConfig:
    """The settings of a file, its paths made absolute; raises ``SettingsError`` naming what is wrong."""
    return parse(_values(path), path.parent, str(path))


def read_view(path: Path) -> View:
    """What ``[view]`` of a file says, such as that of a training; raises ``SettingsError``, also where it has none."""
    try:
        return _Look.model_validate(_values(path)).view.view()
    except ValidationError as error:
        raise SettingsError(f"{path}: {_first(error)}") from None
    except UsageError as error:
        raise SettingsError(f"{path}: view: {error}") from None


def _values(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None


def parse(values: dict[str, Any], folder: Path, name: str = "the configuration") -> TrainingConfig:
    """The same from values; relative paths begin at ``folder``."""
    try:
        found = TrainingConfig.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{name}: {_first(error)}") from None
    data = found.data.model_copy(
        update={
            key: [str(_at(folder, file)) for file in getattr(found.data, key)]
            for key in ("train", "validation")
        }
    )
    output = _at(folder, found.output)
    if (output / "manifest.json").exists():
        raise SettingsError(f"{name}: output is {output}, which is a bundle itself: name another folder")
    inside = _at(folder, found.base)
    base = str(inside) if inside.is_dir() else found.base
    return found.model_copy(update={"data": data, "output": output, "base": base})


def _at(folder: Path, name: str | Path) -> Path:
    return (folder / Path(name).expanduser()).absolute()


def _first(error: ValidationError) -> str:
    """One sentence about the first thing that is wrong, beginning with its name in the file."""
    wrong = error.errors()[0]
    place = ".".join(str(part) for part in wrong["loc"]) or "the file"
    match wrong["type"]:
        case "extra_forbidden":
            return f"{place} is no setting; docs/compressor.md lists them all"
        case "missing":
            return f"{place} is missing; docs/compressor.md says what it means"
        case "value_error":
            return f"{place}: {wrong['ctx']['error']}"
        case _:
            return f"{place} is {wrong['input']!r}: {wrong['msg'][0].lower()}{wrong['msg'][1:]}"
