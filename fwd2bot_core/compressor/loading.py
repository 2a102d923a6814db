"""From the name in the settings to a compressor: the shipped fake, the shipped bundle, or a folder.

Imports torch only when a real bundle is loaded.
"""

from __future__ import annotations

from typing import Literal

from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Compressor, CompressorSpec
from fwd2bot_core.compressor.view import BUNDLES_OWN, View
from fwd2bot_core.errors import CompressorError

FAKE = "fake"
Device = Literal["auto", "cpu", "cuda"]


def load(
    name: str,
    *,
    view: View = BUNDLES_OWN,
    threads: int = 0,
    limits: DecodeLimits | None = None,
    device: Device = "cpu",
) -> Compressor:
    """Load and check a compressor that looks at photos through ``view``; ``threads`` bounds one forward pass (0 =
    torch's own choice). ``device`` "auto" is the first GPU that this process may see, else the processor.

    Raises ``BundleInvalid`` when its bytes are not what its manifest says, ``CompressorError`` when it is none
    or finds no GPU where "cuda" was asked for, ``UsageError`` when it cannot serve the view.
    """
    if name == FAKE:
        return FakeCompressor(limits=limits, view=view)
    from fwd2bot_core.compressor.bundle import load_bundle

    if threads:
        import torch

        torch.set_num_threads(threads)
    return load_bundle(name, limits=limits, view=view, device=_present(device))


def _present(device: Device) -> str:
    """What torch calls the device; it is asked in the process that computes, since only there it is known."""
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise CompressorError(
            f"device = 'cuda', and torch {torch.__version__} finds no GPU in this process: install NVIDIA's driver "
            "(nvidia-smi must list the GPU) and a torch made for CUDA, or set execution.device = 'auto'"
        )
    return "cuda"


def read_spec(name: str, view: View = BUNDLES_OWN) -> CompressorSpec:
    """What a compressor is under ``view``, without loading its weights or torch; raises as ``load`` does, but for a
    size that only the loaded vision tower can refuse."""
    if name == FAKE:
        return FakeCompressor(view=view).spec
    from fwd2bot_core.compressor import bundle

    return bundle.read_spec(name, view)


def self_check(name: str) -> list[str]:
    """Load a compressor and hold its probes against what they gave when it was made; what differs, in words."""
    compressor = load(name)
    if name == FAKE:
        return []
    from fwd2bot_core.compressor import bundle

    return list(bundle.self_check(compressor))
