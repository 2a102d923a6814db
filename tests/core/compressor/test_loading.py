"""Where a loaded model computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fwd2bot_core.compressor import bundle
from fwd2bot_core.compressor.loading import load
from fwd2bot_core.errors import CompressorError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices on which bundles were wanted; none is really loaded."""
    devices: list[str] = []
    monkeypatch.setattr(bundle, "load_bundle", lambda name, *, device, **_: devices.append(device))
    return devices


@pytest.mark.parametrize(
    ("device", "gpu", "place"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_a_model_goes_where_it_is_told(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, device: str, gpu: bool, place: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    load("nano", device=device)
    assert asked == [place]


def test_a_gpu_that_is_not_there_is_said_with_its_cure(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CompressorError, match=r"finds no GPU in this process: .* execution.device = 'auto'"):
        load("nano", device="cuda")
    assert asked == []


def test_the_fake_computes_nowhere_and_needs_no_torch(tmp_path: Path) -> None:
    assert load("fake", device="cuda").spec.name == "fake"
