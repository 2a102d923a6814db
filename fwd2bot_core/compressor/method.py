"""The settings of the double forward pass that a bundle carries: everything beside weights and words.

Plain values that JSON can hold. Imports no torch, so that a plan or a status page can read them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.compressor.view import BUNDLES_OWN, View, seen_through
from fwd2bot_core.errors import BundleInvalid, UsageError


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a compressor reads an image, asks for its summary and answers from it."""

    name: str
    k: int  # summary tokens a crop
    prompt: str  # what pass 1 asks of the image
    question_template: str  # how pass 2 asks; "<image>" stands where the tokens go
    size: tuple[int, int]  # width, height in pixels that the vision tower sees
    mean: tuple[float, float, float]  # of RGB in [0, 1]
    std: tuple[float, float, float]
    rank: int  # of the LoRA pairs
    alpha: float  # their scale is alpha / rank
    merged: bool = True  # fold the pairs into copies of the weights when loading: faster, more memory
    dtype: str = "float32"
    max_new_tokens: int = 64
    max_text_tokens: int = 512  # of a question or a text to search for
    demonstration_only: bool = False
    trained_k: tuple[int, ...] = ()  # shorter prefixes of the k tokens that it was trained for as well
    processor: Mapping[str, Any] | None = (
        None  # the model's own image processor, in place of size, mean and std
    )

    def __post_init__(self) -> None:
        if self.dtype not in {"float32", "float16", "bfloat16"}:
            raise BundleInvalid(
                f"dtype {self.dtype!r} is none of float32, float16, bfloat16: use another bundle"
            )
        if self.question_template.count("<image>") != 1 or self.question_template.count("{question}") != 1:
            raise BundleInvalid("question_template must hold <image> and {question} once each")
        if min(self.k, self.rank, self.max_new_tokens, self.max_text_tokens, *self.size) < 1:
            raise BundleInvalid("k, rank, size, max_new_tokens and max_text_tokens must be at least 1")
        if any(not 1 <= k <= self.k for k in self.trained_k):
            raise BundleInvalid(f"trained_k must lie between 1 and k, which is {self.k}")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What happens to an image before the tower sees it, as ``CompressorSpec`` states it."""
        if self.processor is not None:
            return {"processor": dict(self.processor)}
        return {
            "size": list(self.size),
            "fit": "pad",  # the whole picture, its aspect kept, on a ground of the mean colour
            "resample": "bicubic",
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def settled(self, view: View) -> View:
        """All of ``view`` said, as this bundle serves it; raises ``UsageError`` for a k or size that it cannot
        serve."""
        if self.processor is not None and view.size is not None:
            raise UsageError(
                f"size is set, and {self.name} chooses the resolution by the picture itself: leave size out and use "
                "tiles or regions for small things"
            )
        size = None if self.processor is not None else self.size
        return view.settled(k=self.k, size=size, trained=self.trained_k)

    def spec(self, fingerprint: str, d: int, view: View = BUNDLES_OWN) -> CompressorSpec:
        """What every stored token says of its compressor: the bundle of that ``fingerprint`` and width ``d``, under
        ``view``. Raises ``UsageError`` for one that the bundle cannot serve."""
        own = CompressorSpec(
            name=self.name,
            fingerprint=fingerprint,
            k=self.k,
            d=d,
            dtype=self.dtype,
            prompt=self.prompt,
            preprocessing=self.preprocessing,
            demonstration_only=self.demonstration_only,
        )
        return seen_through(own, self.settled(BUNDLES_OWN), self.settled(view))

    def what_changes_tokens(self) -> dict[str, Any]:
        """All settings but those that leave an image's tokens as they are."""
        silent = {"name", "demonstration_only", "max_new_tokens", "max_text_tokens", "trained_k"}
        return {name: value for name, value in self.as_json().items() if name not in silent}

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        if self.processor is None:
            del values["processor"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Method:
        """Raises ``BundleInvalid`` when a setting is missing, unknown or of the wrong kind."""
        known = {f.name for f in fields(cls)}
        if strange := sorted(set(values) - known):
            raise BundleInvalid(
                f"unknown setting {strange[0]!r}: the bundle was made for another Fwd2Bot version"
            )
        try:
            triples = {name: tuple(float(x) for x in values[name]) for name in ("mean", "std")}
            width, height = (int(x) for x in values["size"])
            trained = tuple(int(k) for k in values.get("trained_k", ()))
            return cls(**{**values, **triples, "size": (width, height), "trained_k": trained})
        except (KeyError, TypeError, ValueError) as wrong:
            raise BundleInvalid(f"its settings are incomplete or malformed ({wrong})") from wrong
