"""A bundle takes another one's place, whenever the process is killed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fwd2bot_core.compressor.training.publish import put_in_place


class Killed(BaseException):
    pass


def made(folder, text):
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / name).write_text(text)
    return folder


def whole(folder, text):
    return folder.is_dir() and {path.name: path.read_text() for path in folder.iterdir()} == {
        "a": text,
        "b": text,
    }


@pytest.mark.parametrize("steps", range(6))
def test_a_kill_leaves_the_old_or_the_new_bundle(tmp_path, monkeypatch, steps):
    folder, partial = made(tmp_path / "bundle", "old"), made(tmp_path / "bundle.partial", "new")
    left = steps

    def dying(kept, halfway):
        def step(path, *more, **options):
            nonlocal left
            left -= 1
            if left < 0:
                halfway(Path(path))
                raise Killed
            return kept(path, *more, **options)

        return step

    def half(path):
        (path / "a").unlink(missing_ok=True)

    monkeypatch.setattr(Path, "rename", dying(Path.rename, lambda path: None))
    monkeypatch.setattr(shutil, "rmtree", dying(shutil.rmtree, half))
    try:
        put_in_place(partial, folder)
    except Killed:
        assert steps < 4
    before = tmp_path / "bundle.before"
    assert whole(folder, "old") or whole(folder, "new") or whole(before, "old")
    monkeypatch.undo()
    if not partial.exists():
        made(partial, "new")  # a training that is run again makes it anew
    put_in_place(partial, folder)
    assert whole(folder, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
