"""The nano bundle's eyes: a small convolutional vision tower, 96x96 pixels to 12x12 visual tokens.

A ``transformers`` model like any other tower, registered under its own model type when this module is
imported, so that the bundle's configuration (data) finds its class (code). Knows nothing of language.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

MODEL_TYPE = "fwd2bot-nano-tower"


class NanoTowerConfig(PretrainedConfig):  # type: ignore[misc]
    """Widths of the strided convolutions and the residual blocks after each; the last width is a visual token's."""

    model_type = MODEL_TYPE
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: tuple[int, ...] = (0, 1, 2)
    hidden_size: int = 128
    image_size: int = 96


class Residual(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x)))))), at one width and resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x1 = self.conv1(torch.relu(self.norm1(x)))
        out: torch.Tensor = x + self.conv2(torch.relu(self.norm2(x1)))
        return out


class NanoTower(PreTrainedModel):  # type: ignore[misc]
    """pixels [B, 3, 96, 96] -> last_hidden_state [B, 144, hidden_size], one token a square of 8x8 pixels.

    To each token what its row and its column are called is added: convolutions see no edges from the middle.
    """

    config_class = NanoTowerConfig
    main_input_name = "pixel_values"
    _supports_sdpa = True  # it has no attention that could not

    def __init__(self, config: NanoTowerConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = []
        before = 3
        for width, blocks in zip(config.widths, config.blocks, strict=True):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.GroupNorm(8, width), nn.ReLU()]
            layers += [Residual(width) for _ in range(blocks)]
            before = width
        self.body = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(config.hidden_size)
        side = config.image_size // 2 ** len(config.widths)
        self.rows, self.columns = (
            nn.Parameter(torch.randn(side, config.hidden_size) * 0.5) for _ in range(2)
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """torch's own initialisation, which the constructors have done."""

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> BaseModelOutputWithPooling:
        grid = self.body(pixel_values).permute(0, 2, 3, 1)  # [B, 12, 12, width]
        rows, columns = _spread(self.rows, grid.shape[1]), _spread(self.columns, grid.shape[2])
        placed = self.norm(grid) + rows[:, None] + columns
        tokens = placed.flatten(1, 2)  # [B, 144, width]
        return BaseModelOutputWithPooling(last_hidden_state=tokens, hidden_states=(tokens,))


def _spread(names: torch.Tensor, count: int) -> torch.Tensor:
    """Names [count, width] of as many rows or columns as a picture of another size has."""
    if len(names) == count:
        return names
    return F.interpolate(names.T[None], size=count, mode="linear")[0].T


AutoConfig.register(MODEL_TYPE, NanoTowerConfig, exist_ok=True)
AutoModel.register(NanoTowerConfig, NanoTower, exist_ok=True)
