"""What a decision is: conditions, a reason for each, and the verdict that follows from all of them.

A set of failed conditions is also one number, a mask with a bit for each, which SQL computes and counts. Knows nothing
of how a condition is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Condition(StrEnum):
    """What must hold before an original may go, in the order in which it is told."""

    COVERED = "covered"  # a rule matches it
    PRESENT = "present"  # the store may still hold this version
    DATED = "dated"  # each matching rule's date is known and plausible
    PERIOD = "period"  # each matching rule's period is over
    HOLD = "hold"  # no legal hold
    KEPT = "kept"  # no tag that keeps it
    SAMPLE = "sample"  # not in the share that is kept for later checks
    TOKENS = "tokens"  # the pinned compressor's tokens are committed
    FIDELITY = "fidelity"  # they say what the photo says
    LABELS = "labels"  # the collection's labelled questions are answered from such tokens
    DEMONSTRATION = "demonstration"  # the compressor is no toy, or the collection is the sample archive
    STORE = "store"  # originals in a store that can destroy exactly one version
    EFFECTIVE = "effective"  # the policy is in force
    CLOCK = "clock"  # nobody doubts what time it is
    ROLLOUT = "rollout"  # the policy's stage lets it go

    @property
    def bit(self) -> int:
        """Its place in a mask of conditions that failed."""
        return 1 << list(Condition).index(self)


OF_THE_PHOTO = tuple(Condition)[: list(Condition).index(Condition.LABELS)]
# a failed condition that is no news once another one has failed
FOLLOWS = {
    Condition.DATED: {Condition.COVERED},
    Condition.PERIOD: {Condition.COVERED, Condition.DATED},
    Condition.FIDELITY: {Condition.TOKENS},
    Condition.LABELS: {Condition.TOKENS},
    Condition.DEMONSTRATION: {Condition.LABELS, Condition.TOKENS},
}


def failed(mask: int) -> frozenset[Condition]:
    """The conditions of a mask."""
    return frozenset(condition for condition in Condition if mask & condition.bit)


def own(conditions: frozenset[Condition]) -> frozenset[Condition]:
    """Those of the failed ``conditions`` that do not merely follow from others."""
    return frozenset(one for one in conditions if not FOLLOWS.get(one, set()) & conditions)


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition, looked at."""

    condition: Condition
    value: str  # what was found
    required: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of one object version, and all that it was decided by."""

    object_version_id: int
    reasons: tuple[Reason, ...]

    @property
    def may_go(self) -> bool:
        """Every condition holds; of each there is a reason."""
        return {reason.condition for reason in self.reasons} == set(Condition) and not self.mask

    @property
    def due(self) -> bool:
        """All that is about the photo holds; policy, collection or clock may still keep it."""
        return not any(self.mask & condition.bit for condition in OF_THE_PHOTO)

    @property
    def mask(self) -> int:
        """The bits of the conditions that failed."""
        found = 0
        for reason in self.reasons:
            found |= 0 if reason.ok else reason.condition.bit
        return found

    def as_json(self) -> dict[str, Any]:
        """Plain values without fractions, fit for an audit event."""
        return {
            "object_version": self.object_version_id,
            "may_go": self.may_go,
            "due": self.due,
            "reasons": [
                {"condition": str(one.condition), "value": one.value, "required": one.required, "ok": one.ok}
                for one in self.reasons
            ],
        }
