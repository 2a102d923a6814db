from __future__ import annotations

import pytest

from fwd2bot_core.compressor.training.config import parse, read
from fwd2bot_core.errors import SettingsError

PLAIN = {
    "base": "nano",
    "output": "out",
    "name": "n",
    "data": {"train": ["a.jsonl"]},
    "training": {"steps": 1},
}


def test_paths_begin_at_the_file_and_a_bundles_name_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    found = parse(PLAIN, tmp_path)
    assert (found.base, found.output, found.data.train) == (
        "nano",
        tmp_path / "out",
        [str(tmp_path / "a.jsonl")],
    )
    assert parse(PLAIN | {"base": "mine"}, tmp_path).base == str(tmp_path / "mine")


WRONG = [
    ({"lr": 1}, "lr is no setting"),
    ({"training": {"steps": 1, "stepz": 1}}, "training.stepz is no setting"),
    ({"training": {}}, "training.steps is missing"),
    ({"training": {"steps": 0}}, "training.steps is 0: input should be greater than or equal to 1"),
    ({"training": {"steps": "many"}}, "training.steps is 'many': input should be a valid integer"),
    (
        {"training": {"steps": 1, "batch": 4, "contrastive_batch": 2}},
        "training: contrastive_batch is 2, and every",
    ),
    ({"training": {"steps": 1, "train": ["projector"]}}, "training: train must name adapters"),
    ({"losses": {"answers": 0, "contrast": 0}}, "losses: answers and contrast are both 0"),
    ({"name": "a/b"}, "name is 'a/b'"),
    ({"data": {"train": []}}, "data.train is []"),
    ({"method": {"k": 0}}, "method.k is 0"),
    ({"view": {"k": 2}}, "view: "),
]


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_what_is_wrong_is_named(tmp_path, change, says):
    with pytest.raises(SettingsError) as caught:
        parse(PLAIN | change, tmp_path, "train.toml")
    assert str(caught.value).startswith(f"train.toml: {says}")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SettingsError, match="cannot read"):
        read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("base = ")
    with pytest.raises(SettingsError, match="is no TOML"):
        read(tmp_path / "bad.toml")


def test_a_bundle_is_no_output(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(SettingsError, match="is a bundle itself"):
        parse(PLAIN | {"output": str(tmp_path)}, tmp_path)
