"""Vision-language models by what their first pass costs and stores. Knows their proportions, and no weights.

A forward pass of a transformer takes about two operations for each weight and position; attention itself adds little at
these lengths, and the vocabulary nothing, since no logits are made.
"""

from __future__ import annotations

from dataclasses import dataclass

from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import UsageError

PROMPT = 20  # positions beside the image's, about


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``k`` summary tokens of ``d`` numbers an image; weights of the language model and of the tower are counts."""

    name: str
    k: int
    d: int
    dtype: str
    language: float
    tower: float
    visual: int  # tokens an image
    patches: int  # positions of the tower

    @property
    def operations(self) -> float:
        """Of one image's first pass."""
        return 2 * self.language * (self.visual + PROMPT + self.k) + 2 * self.tower * self.patches

    @property
    def spec(self) -> CompressorSpec:
        """As much of a compressor's as says how many bytes an image takes."""
        return CompressorSpec(
            name=self.name,
            fingerprint="0" * 64,
            k=self.k,
            d=self.d,
            dtype=self.dtype,
            prompt="",
            preprocessing={},
        )


def _llava(name: str, d: int, language: float) -> Model:
    """A Llama under the CLIP tower that sees 336 x 336 pixels in patches of 14."""
    return Model(
        name=name,
        k=36,
        d=d,
        dtype="bfloat16",
        language=language,
        tower=0.303e9,
        visual=576,
        patches=577,
    )


# The demonstration's rate is measured on a CPU core, which counts as one GPU.
_NANO = Model(name="nano", k=9, d=160, dtype="float32", language=1.5e6, tower=0.7e6, visual=144, patches=144)
MODELS = {
    one.name: one
    for one in (_llava("llava-1.5-7b", 4096, 6.48e9), _llava("llava-1.5-13b", 5120, 12.69e9), _NANO)
}


def model(name: str) -> Model:
    """Raises ``UsageError`` for one that is not known."""
    if (found := MODELS.get(name)) is None:
        raise UsageError(f"no model {name!r} is known; one of {', '.join(MODELS)}")
    return found
