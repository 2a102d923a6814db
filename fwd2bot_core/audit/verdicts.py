"""What a check of the audit trail can find: classes, never one boolean, because each asks for another answer.

Knows what the classes mean and how bad each is. Knows nothing about how they are found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """From harmless to grave; ``worst`` goes by this order."""

    VALID = "VALID"
    NOT_YET_ANCHORED = "NOT YET ANCHORED"  # nothing outside the ledger vouches for these events so far
    LOSS_ACKNOWLEDGED = (
        "RESTORED FROM BACKUP, ACKNOWLEDGED"  # by who is told of it again and again, and knows by now
    )
    CLOCK_SUSPECT = "CLOCK SUSPECT"  # the order is proven, the times in it are doubtful
    RESTORED_FROM_BACKUP = "RESTORED FROM BACKUP"  # whole, but older than what is kept outside
    UNREADABLE = "UNREADABLE"  # not checked: this is neither good nor bad news
    UNKNOWN_KEY = "UNKNOWN KEY"  # signed, by nobody whom the log introduced for that time
    TRUNCATED = "TRUNCATED"  # events that certainly were there are gone
    MODIFIED = "MODIFIED"  # something is not what was written
    FORKED = "FORKED"  # two signed states of the log that cannot both be true


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found. ``seq`` to ``until`` are event numbers from 0, both included.

    ``until`` is None for a single event; both are None for what concerns no event.
    """

    verdict: Verdict
    seq: int | None
    until: int | None
    detail: str  # a sentence: what, and what to do
    where: str  # "audit_events.type", an anchor's name, ...
    somewhere: bool = False  # not all of these events: one or more of them, nobody knows which

    @property
    def last(self) -> int | None:
        """The last event concerned."""
        return self.seq if self.until is None else self.until

    def blurs(self, other: Finding) -> bool:
        """Whether ``other`` says the same more exactly."""
        if self.seq is None or self.last is None or other.seq is None or other.last is None:
            return False
        wider = self.last - self.seq > other.last - other.seq or not other.somewhere
        inside = self.seq <= other.seq and other.last <= self.last
        return self.somewhere and self.verdict == other.verdict and wider and inside


_GRAVITY = {verdict: grave for grave, verdict in enumerate(Verdict)}
HARMLESS = frozenset({Verdict.VALID, Verdict.NOT_YET_ANCHORED, Verdict.LOSS_ACKNOWLEDGED})


def worst(findings: Iterable[Finding]) -> Verdict:
    """The gravest class found; ``VALID`` without findings."""
    return max((finding.verdict for finding in findings), key=_GRAVITY.__getitem__, default=Verdict.VALID)


def acceptable(findings: Iterable[Finding]) -> bool:
    """Whether there is nothing but events that are still to be anchored, and losses that are acknowledged."""
    return worst(findings) in HARMLESS


def sharpened(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """In the order of the log, without windows in which something more exact was found of the same class."""
    found = list(dict.fromkeys(findings))
    exact = [one for one in found if not any(one.blurs(other) for other in found)]
    return tuple(sorted(exact, key=lambda one: (one.seq is None, one.seq or 0, -_GRAVITY[one.verdict])))


class Found:
    """Findings as they come. A log that was rewritten throughout must not fill the memory: many of one kind are only
    counted."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._kept: list[Finding] = []
        self._counts: dict[tuple[Verdict, str], int] = {}
        self._last: dict[tuple[Verdict, str], Finding] = {}

    def add(self, finding: Finding) -> None:
        kind = (finding.verdict, finding.where)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._counts[kind] <= self._most:
            self._kept.append(finding)
        else:
            self._last[kind] = finding

    def all(self) -> tuple[Finding, ...]:
        """What was kept, and of each kind that was more one finding that says how many and up to which event."""
        more = [
            Finding(
                kind[0],
                None,
                None,
                f"and {self._counts[kind] - self._most:,} more, up to event {last.last}",
                kind[1],
            )
            for kind, last in self._last.items()
        ]
        return (*self._kept, *more)
