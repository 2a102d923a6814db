"""What a decision looks at: one object version, what is known of its collection, and the clock.

Plain values, whoever gathered them. A fact that is not known is None or absent, never a guess. Knows nothing of
policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

IN_CONTAINER = "!"  # in the identity of a photo that lies within a tar or zip file, or is a page of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One compressor's committed summary tokens of an object version."""

    codec: str
    fidelity: float | None = None  # in [0, 1]
    probes: str | None = None  # sha256 of the questions that it was judged by


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A legal hold in force; the name of a confidential one is not for everybody."""

    name: str
    confidential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """One object version. All times are aware."""

    id: int
    collection: str
    key: str
    identity: str
    first_seen_at: datetime
    superseded: bool = False  # its key holds another version by now
    destroyed: bool = False  # it is gone, and the store confirmed that
    content: str | None = None  # sha256 of its bytes, 64 hex digits
    captured_at: datetime | None = None
    dates: Mapping[str, datetime] = field(default_factory=dict)  # of events, by name
    captured_by: str = ""  # who says when it was taken, or why nobody is believed, in a few words
    tags: frozenset[str] = frozenset()
    holds: tuple[Hold, ...] = ()
    summaries: Mapping[str, Summary] = field(default_factory=dict)  # by the compressor's fingerprint

    @property
    def present(self) -> bool:
        """Whether the store may still hold it: a version that was overwritten is only there in a versioned store."""
        return not self.destroyed and (not self.superseded or self.identity.startswith("v:"))

    @property
    def in_container(self) -> bool:
        """Whether it lies within a larger file, as its identity says; in doubt it does."""
        return IN_CONTAINER in self.identity

    def date(self, trigger: str) -> datetime | None:
        """``captured``, ``first_seen`` or ``event:NAME``; None if it is not known."""
        if trigger == "captured":
            return self.captured_at
        if trigger == "first_seen":
            return self.first_seen_at
        return self.dates.get(trigger.removeprefix("event:"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelResult:
    """The last time that people's labels were held against answers from a collection's tokens."""

    questions: int
    right: int
    at_least: float | None  # the accuracy that was asked for
    passed: bool | None  # beyond doubt, and for every label; None: nothing was asked for
    of_sample: bool = False  # the labels of the sample archive, in a collection that holds nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of one collection beside its photos."""

    collection: str
    originals: str  # the store's URI
    # by the compressor's fingerprint and the codec of the tokens that answered
    labels: Mapping[tuple[str, str], LabelResult] = field(default_factory=dict)
    # by fingerprint: whether that bundle is for demonstrations only; absent = not known
    demonstration: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is for a decision, and why that may be doubted."""

    now: datetime  # aware
    doubt: str | None = None
