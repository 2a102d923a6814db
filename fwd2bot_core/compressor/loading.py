"""From the name in the settings to a compressor: the shipped fake, the shipped bundle, or a folder.

Imports torch only when a real bundle is loaded.
"""

from __future__ import annotations

from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Compressor, CompressorSpec

FAKE = "fake"


def load(name: str, *, threads: int = 0, limits: DecodeLimits | None = None) -> Compressor:
    """Load and check a compressor; ``threads`` bounds one forward pass (0 = torch's own choice).

    Raises ``BundleInvalid`` when its bytes are not what its manifest says, ``CompressorError`` when it is none.
    """
    if name == FAKE:
        return FakeCompressor(limits=limits)
    from fwd2bot_core.compressor.bundle import load_bundle

    if threads:
        import torch

        torch.set_num_threads(threads)
    return load_bundle(name, limits=limits)


def read_spec(name: str) -> CompressorSpec:
    """What a compressor is, without loading its weights or torch."""
    if name == FAKE:
        return FakeCompressor().spec
    from fwd2bot_core.compressor import bundle

    return bundle.read_spec(name)


def self_check(name: str) -> list[str]:
    """Load a compressor and hold its probes against what they gave when it was made; what differs, in words."""
    compressor = load(name)
    if name == FAKE:
        return []
    from fwd2bot_core.compressor import bundle

    return list(bundle.self_check(compressor))
