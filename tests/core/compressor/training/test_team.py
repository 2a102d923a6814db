from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from fwd2bot_core.compressor import bundle
from fwd2bot_core.compressor.training.train import train
from tests.core.compressor import models
from tests.core.compressor.training import worlds
from tests.core.compressor.training.test_train import BASE_METHOD, Told, configured

PROGRAM = """
import sys
from pathlib import Path
from tests.core.compressor.training.test_train import Told, configured, train
world, output = map(Path, sys.argv[1:])
assert train(configured(world, output, {"batch": 2, "contrastive_batch": 3}), Told()) is None
"""


def environment(monkeypatch, rank: int, port: int) -> None:
    """What torchrun and accelerate tell each process."""
    told = {
        "WORLD_SIZE": 2,
        "RANK": rank,
        "LOCAL_RANK": rank,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_two_processes_learn_what_one_learns_from_twice_the_batch(tmp_path, monkeypatch, port):
    """This process leads, and another one is its team."""
    worlds.write(tmp_path, 12, negatives=["bottom left boot"])
    models.saved(tmp_path / "base", BASE_METHOD)
    train(configured(tmp_path, tmp_path / "one", {"batch": 4, "contrastive_batch": 6}), Told())
    environment(monkeypatch, 1, port)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(tmp_path / "two")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[4], stderr=subprocess.PIPE, text=True) as other:
        environment(monkeypatch, 0, port)
        try:
            made = train(configured(tmp_path, tmp_path / "two", {"batch": 2, "contrastive_batch": 3}), Told())
        except RuntimeError as error:  # it says that the other one is gone, and that one says why
            pytest.fail(f"{error}: {other.communicate()[1]}")
        said = other.communicate(timeout=120)[1]
    assert other.returncode == 0, said
    assert made is not None
    assert not torch.distributed.is_initialized()
    assert made.figures["training"]["processes"] == 2
    assert made.figures["training"]["compared"] == 6
    one, two = (
        safetensors.torch.load_file(tmp_path / name / "bundle" / bundle.ADAPTERS) for name in ("one", "two")
    )
    start = safetensors.torch.load_file(tmp_path / "base" / bundle.ADAPTERS)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5, msg=name)
        assert not torch.equal(one[name], start[name])
