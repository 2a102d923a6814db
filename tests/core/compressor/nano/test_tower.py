from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModel

from fwd2bot_core.compressor.nano.tower import MODEL_TYPE, NanoTower, NanoTowerConfig

SMALL = NanoTowerConfig(widths=(8, 8, 16), blocks=(0, 0, 1), hidden_size=16, image_size=32)


def tower() -> NanoTower:
    torch.manual_seed(0)
    return NanoTower(SMALL).eval()


def test_each_square_of_eight_pixels_is_a_token_in_reading_order():
    made = tower()
    pixels = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        seen = made(pixels).last_hidden_state
        grid = made.body(pixels)  # strided convolutions keep the order of rows and columns
        assert seen.shape == (1, 16, 16)
        assert grid.shape == (1, 16, 4, 4)
        for square in (0, 6, 9, 15):
            row, column = divmod(square, 4)
            expected = made.norm(grid[0, :, row, column]) + made.rows[row] + made.columns[column]
            torch.testing.assert_close(seen[0, square], expected)


def test_each_token_is_told_its_row_and_its_column():
    made = tower()
    pixels = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        told = made(pixels).last_hidden_state
        names = (made.rows[:, None] + made.columns).flatten(0, 1)
        made.rows.zero_()
        made.columns.zero_()
        untold = made(pixels).last_hidden_state
    torch.testing.assert_close(told - untold, names.expand(2, -1, -1), rtol=1e-4, atol=1e-5)
    assert torch.cdist(names, names).fill_diagonal_(1).min() > 0.1  # no two places have one name


def test_transformers_finds_the_class_by_the_configuration(tmp_path):
    made = tower()
    made.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), NanoTowerConfig)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert isinstance(again, NanoTower)
    assert again.config.model_type == MODEL_TYPE
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again(pixels).last_hidden_state, made(pixels).last_hidden_state)
