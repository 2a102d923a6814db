from __future__ import annotations

import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from fwd2bot_core.compressor.families.eyes import TILE, Fitted, Processed, alike
from fwd2bot_core.compressor.families.visual import Visual, joined, span
from tests.core.compressor import models
from tests.core.compressor.families import tiny


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    return Image.open(io.BytesIO(models.image(seed, size))).convert("RGB")


@pytest.fixture(params=["qwen3_vl", "smolvlm", "internvl", "llava_onevision"])
def eye(request):
    own = {"smolvlm": {"return_row_col_info": True}, "internvl": {"crop_to_patches": True}}
    return Processed(tiny.EYES[request.param] | own.get(request.param, {}), tiny.tokenizer(opens=False))


def test_many_threads_see_what_one_sees(eye):
    pictures = [picture(seed, (40 + seed, 64 - 2 * seed)) for seed in range(12)]
    alone = [eye.see(one) for one in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(eye.see, pictures * 3))
    for expected, found in zip(alone * 3, together, strict=True):
        assert found.shape == expected.shape
        assert all(np.array_equal(found.values[name], expected.values[name]) for name in expected.values)


def test_pixels_travel_between_processes(eye):
    seen = eye.gather([eye.see(picture(0, (60, 40))), eye.see(picture(1, (20, 64)))])
    again = pickle.loads(pickle.dumps(seen))
    assert [look.shape for look in again] == [look.shape for look in seen]
    assert again.nbytes == seen.nbytes > 1000


def test_pictures_of_one_shape_lie_in_one_batch(eye):
    seen = [eye.see(picture(seed, size)) for seed, size in enumerate(((60, 60), (24, 60), (60, 60)))]
    assert alike([one.shape for one in seen]) == [[0, 2], [1]]
    assert eye.stack([seen[0], seen[2]]).count == 2


def test_marks_stand_around_the_tiles_of_a_picture():
    """As Idefics3's own processor writes them: rows end with a line feed, the whole picture comes last."""
    eye = Processed(tiny.EYES["idefics3"] | {"return_row_col_info": True}, tiny.tokenizer(opens=False))
    around, whole = tiny.id_of("<fake_token_around_image>"), tiny.id_of("<global-img>")
    found = eye.see(picture(0, (64, 30)))
    tiles = [id for column in (1, 2) for id in (around, tiny.id_of(f"<row_1_col_{column}>"), TILE)]
    line_feeds = tiny.tokenizer(opens=False).encode("\n\n", add_special_tokens=False).ids
    assert list(found.layout) == [*tiles, *line_feeds, around, whole, TILE, around]


def test_a_fitted_picture_is_an_array():
    eye = Fitted((32, 16), (0.5, 0.5, 0.5))
    seen = [eye.see(picture(seed, (60, 40))) for seed in range(2)]
    assert eye.gather(seen).shape == eye.stack(seen).shape == (2, 3, 16, 32)
    assert eye.stack(seen).dtype == torch.uint8


def test_looks_at_one_photo_are_joined_one_after_the_other():
    looks = [
        Visual(
            torch.full((2, 6, 4), float(number)),
            torch.tensor([[0] * 6, [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]),
            (torch.full((2, 6, 4), -float(number)),),
        )
        for number in range(2)
    ]
    whole = joined(looks)
    assert isinstance(whole, Visual)
    assert whole.tokens[0, :, 0].tolist() == [0] * 6 + [1] * 6
    assert whole.deep[0][1, :, 0].tolist() == [0] * 6 + [-1] * 6
    assert whole.positions[2].tolist() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]
    assert (span(looks[0]), span(whole)) == (3, 6)
    assert joined([looks[0].tokens, looks[1].tokens]).shape == (2, 12, 4)
    assert joined(looks[:1]) is looks[0]
    assert whole.repeat_interleave(2).tokens.shape == (4, 12, 4)
