"""The places outside the ledger that keep signed checkpoints, made from the settings.

Nothing is opened or asked here: an anchor that is not there shows when it is used, and only then.
"""

from __future__ import annotations

from infra.anchors.protocol import Anchor, Held, Receipt, Tree
from infra.settings import AnchorSettings, Settings

__all__ = ["Anchor", "Held", "Receipt", "Tree", "anchor_of", "anchors_of"]


def anchors_of(settings: Settings) -> list[Anchor]:
    """Every anchor of the settings, in their order."""
    return [anchor_of(name, given) for name, given in settings.audit.anchors.items()]


def anchor_of(name: str, given: AnchorSettings) -> Anchor:
    """One anchor; its libraries are imported when it is really one of theirs."""
    if given.kind == "timestamp":
        from infra.anchors.timestamp import TimestampAnchor

        return TimestampAnchor(name, given)
    if given.kind == "witness":
        from infra.anchors.witness import WitnessAnchor

        return WitnessAnchor(name, given)
    from infra.anchors.store import StoreAnchor

    return StoreAnchor(name, given)
