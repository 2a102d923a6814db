"""From the name in the settings to a compressor: the shipped fake, the shipped bundle, or a folder.

Imports torch only when a real bundle is loaded.
"""

from __future__ import annotations

from fwd2bot_core.compressor.decode import DecodeLimits
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import Compressor, CompressorSpec
from fwd2bot_core.compressor.view import BUNDLES_OWN, View

FAKE = "fake"


def load(
    name: str, *, view: View = BUNDLES_OWN, threads: int = 0, limits: DecodeLimits | None = None
) -> Compressor:
    """Load and check a compressor that looks at photos through ``view``; ``threads`` bounds one forward pass (0 =
    torch's own choice).

    Raises ``BundleInvalid`` when its bytes are not what its manifest says, ``CompressorError`` when it is none,
    ``UsageError`` when it cannot serve the view.
    """
    if name == FAKE:
        return FakeCompressor(limits=limits, view=view)
    from fwd2bot_core.compressor.bundle import load_bundle

    if threads:
        import torch

        torch.set_num_threads(threads)
    return load_bundle(name, limits=limits, view=view)


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
