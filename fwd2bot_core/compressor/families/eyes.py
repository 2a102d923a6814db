"""From a picture to the pixels that a family's vision tower takes, the same for training and for the night.

Two ways: ``Fitted``, ours, for towers of one fixed input size, and ``Processed``, the image processor that came with
the model, for families that choose sizes or tiles by the picture. Safe to call from many threads; what comes out is
numpy and can be pickled. Knows pictures. Knows nothing of files or models; torch only to stack.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.preprocess import fit
from fwd2bot_core.errors import BundleInvalid, ImageRejected, RejectReason

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

CONFIG = "preprocessor_config.json"  # transformers' own name for it
TILE = -1  # in a layout: the visual tokens of one tile stand here
_SIZES = ("image_grid_thw", "image_sizes", "rows", "cols")  # numbers that say how an image is laid out


@dataclass(frozen=True, slots=True)
class Pixels:
    """One picture as its family's vision tower takes it."""

    values: Mapping[str, npt.NDArray[Any]]  # each [1 or tiles or patches, ...]
    layout: tuple[int, ...] = ()  # ids between tiles, TILE for a tile; empty: tokens one after the other

    @property
    def shape(self) -> Hashable:
        """Equal for pictures whose tokens can lie in one batch without padding."""
        shapes = tuple((name, value.shape) for name, value in sorted(self.values.items()))
        sizes = tuple(value.tobytes() for name, value in sorted(self.values.items()) if name in _SIZES)
        return shapes, sizes, self.layout

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for value in self.values.values())


class Looks(tuple[Pixels, ...]):
    """The pixels of each crop of one photo, where an array cannot hold them."""

    @property
    def nbytes(self) -> int:
        return sum(look.nbytes for look in self)


@dataclass(frozen=True, slots=True)
class PixelBatch:
    """Pictures of one shape, stacked."""

    values: Mapping[str, torch.Tensor]
    layout: tuple[int, ...]
    count: int

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> PixelBatch:
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in self.values.items()}
        return PixelBatch(moved, self.layout, self.count)


class Eye(Protocol):
    """How a compressor looks at a picture."""

    def see(self, image: Image.Image) -> Any:
        """One upright RGB picture's pixels, which have a ``shape``; raises ``ImageRejected``."""
        ...

    def gather(self, looks: Sequence[Any]) -> Any:
        """The pixels of all crops of a photo, to be gone through one by one."""
        ...

    def stack(self, pixels: Sequence[Any]) -> Any:
        """Pixels of one ``shape`` as what ``DoubleForward.visual`` takes; it has a tensor's ``to(device)``."""
        ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """The whole picture, undistorted, on a ground of the mean colour: pixels [3, H, W], uint8."""

    size: tuple[int, int]  # width, height
    mean: tuple[float, float, float]

    def see(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        return fit(image, self.size, self.mean)

    def gather(self, looks: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """[crops, 3, H, W]."""
        return np.stack(looks)

    def stack(self, pixels: Sequence[npt.NDArray[np.uint8]]) -> torch.Tensor:
        """[B, 3, H, W] uint8."""
        import torch

        return torch.from_numpy(np.stack(pixels))


class Processed:
    """A ``transformers`` image processor, from its configuration: data, never code."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Tokenizer) -> None:
        """Raises ``BundleInvalid`` for a configuration of no processor that transformers itself has."""
        self._processor = _load(config)
        self._tokenizer = tokenizer

    def see(self, image: Image.Image) -> Pixels:
        try:
            found = self._processor(images=[image], return_tensors="np")
        except ValueError as error:  # for instance a picture 200 times as wide as high
            raise ImageRejected(RejectReason.NO_DECODER, f"the model cannot look at it: {error}") from error
        values = {name: np.asarray(value) for name, value in found.items() if value is not None}
        return Pixels(values, self._layout(values))

    def gather(self, looks: Sequence[Pixels]) -> Looks:
        return Looks(looks)

    def stack(self, pixels: Sequence[Pixels]) -> PixelBatch:
        import torch

        first = pixels[0]
        values = {
            name: torch.from_numpy(np.concatenate([one.values[name] for one in pixels]))
            for name in first.values
        }
        return PixelBatch(values, first.layout, len(pixels))

    def _layout(self, values: Mapping[str, npt.NDArray[Any]]) -> tuple[int, ...]:
        """Idefics3 and SmolVLM write marks between the tiles of a picture, and around it."""
        if "rows" not in values:
            return ()
        rows, columns = int(values["rows"].ravel()[0]), int(values["cols"].ravel()[0])
        around, image = "<fake_token_around_image>", "<image>"
        tiles = "".join(
            "".join(f"{around}<row_{row}_col_{column}>{image}" for column in range(1, columns + 1)) + "\n"
            for row in range(1, rows + 1)
        )
        text = f"{tiles}{chr(10) if tiles else ''}{around}<global-img>{image}{around}"
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        mark = self._tokenizer.token_to_id(image)
        return tuple(TILE if token == mark else token for token in ids)


def eye(method: Method, tokenizer: Tokenizer, size: tuple[int, int] | None = None) -> Eye:
    """How a bundle looks at pictures; ``size`` replaces the method's own where that is a free choice."""
    if method.processor is None:
        return Fitted(size or method.size, method.mean)
    return Processed(method.processor, tokenizer)


def alike(shapes: Sequence[Hashable]) -> list[list[int]]:
    """The numbers of pictures that can lie in one batch, in order of first appearance."""
    groups: dict[Hashable, list[int]] = {}
    for number, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(number)
    return list(groups.values())


def _load(config: Mapping[str, Any]) -> Any:
    """transformers finds the class by its name among its own image processors, and the one without torchvision."""
    from transformers.models.auto.image_processing_auto import (
        IMAGE_PROCESSOR_MAPPING_NAMES,
        AutoImageProcessor,
    )

    kind = config.get("image_processor_type")
    if not any(kind in names.values() for names in IMAGE_PROCESSOR_MAPPING_NAMES.values()) or kind is None:
        raise BundleInvalid(f"transformers has no image processor {kind!r}: use another bundle")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(dict(config)))
        try:
            return AutoImageProcessor.from_pretrained(
                folder, backend="pil", local_files_only=True, trust_remote_code=False
            )
        except (ValueError, OSError, TypeError) as error:
            said = " ".join(str(error).split())
            raise BundleInvalid(f"its image processor cannot be made ({said}): use another bundle") from error
