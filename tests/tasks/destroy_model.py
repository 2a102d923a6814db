"""What a person with a notebook would know of a site whose originals may go: a model beside the product.

It counts with the true time, which no clock that is set wrongly changes, and says of each original whether it may be
deleted at this moment. Knows nothing of tables, and asks the product nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

GRACE = timedelta(days=30)  # of ``disposals.PLAIN``
ROUNDED = timedelta(days=2)  # what rounding up to whole days in the policy's zone may add
LIFE = timedelta(days=30)  # of a list after its grace
NEEDED = 2  # approvals


@dataclass
class Listed:
    """A disposition list, as people know it."""

    numbers: set[int]  # object versions
    approved_by: set[str] = field(default_factory=set)
    approved_at: datetime | None = None  # true time of the last approval that was needed
    refused: bool = False
    rescued: set[int] = field(default_factory=set)

    def may_take(self, number: int, now: datetime, revoked: set[str]) -> str | None:
        """Why it must not delete this original, or None."""
        if number not in self.numbers:
            return "is not on it"
        if number in self.rescued:
            return "was rescued"
        if self.refused:
            return "was refused"
        if self.approved_at is None or len(self.approved_by - revoked) < NEEDED:
            return f"has the approvals of {sorted(self.approved_by - revoked)}"
        if now < self.approved_at + GRACE:
            return f"is in its grace since {self.approved_at}"
        if now > self.approved_at + GRACE + ROUNDED + LIFE:
            return "expired"
        return None


@dataclass
class Notebook:
    """Everything that decides whether an original may go."""

    lists: dict[str, Listed] = field(default_factory=dict)
    holds: dict[int, int] = field(default_factory=dict)  # by the hold's number: the object version
    undated: set[int] = field(default_factory=set)
    disputed: set[int] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    in_force: bool = True  # the policy
    clock_off: timedelta = timedelta(0)  # how wrong this machine's clock is

    def objections(self, number: int, now: datetime) -> list[str]:
        """Why this original must not be deleted now; none if it may."""
        found = []
        if number in self.holds.values():
            found.append("under a hold")
        if number in self.undated:
            found.append("its capture date is not known")
        if number in self.disputed:
            found.append("disputed")
        if not self.in_force:
            found.append("its policy is not in force")
        if self.clock_off:
            found.append(f"the clock is wrong by {self.clock_off}")
        against = {name: one.may_take(number, now, self.revoked) for name, one in self.lists.items()}
        if all(against.values()):
            found.append(f"no list takes it: {against}")
        return found
