"""A retention policy: which originals, from when, for how long, what must be proven first, and how far it may go.

Frozen; unknown names are refused, and nothing that decides has a default that lets more go. Knows the parts and what
they may be together. Knows nothing of files (``policy_file``), images (``facts``) or decisions (``decide``).
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.retention.fields import (
    Collection,
    Count,
    Day,
    Duty,
    Flag,
    Glob,
    Name,
    PeriodField,
    PositiveShare,
    RoundingField,
    Sha256,
    Share,
    Size,
    Trigger,
    Zone,
)

ALWAYS_KEPT = frozenset({"reject", "disputed"})  # tags; no policy can let such a photo go


class Part(BaseModel):
    """A group of a policy's fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Select(Part):
    """The photos that a rule is about: all three must hold."""

    collections: tuple[Collection, ...] = Field(min_length=1, description="by their names in the settings")
    keys: Glob = Field(
        description="the whole key; * stands for any characters, / too, ? for one; '*' is every key"
    )
    tags: tuple[Name, ...] = Field((), description="tags that a photo must all have")


class Rule(Part):
    """How long photos are kept. Where several rules match, the longest wins."""

    name: Name
    select: Select
    trigger: Trigger = Field(
        description="when the period begins: captured, first_seen (by the ledger), or event:NAME; unknown = kept"
    )
    retain: PeriodField = Field(
        description="such as P7Y; counted from the end of the rounding's day, month or year"
    )
    rounding: RoundingField = Field(
        description="day, month, calendar_year or fiscal_year:MM-DD, its first day"
    )
    duty: Duty | None = Field(
        None,
        description="the law or contract that obliges to keep them so long; a person's photos are not erased before",
    )


class Exempt(Part):
    """Photos that are kept whatever the rules say, beside those tagged reject or disputed."""

    sample: Share = Field(description="share kept for later checks, drawn by content: always the same photos")
    tags: tuple[Name, ...] = Field((), description="a photo with one of these tags is kept")


class Labels(Part):
    """The check against people's labels (``fwd2bot check-labels --at-least``) that a collection must have passed."""

    questions: Count = Field(description="at least so many")
    accuracy: PositiveShare = Field(description="reached beyond doubt, by the low end of its interval")


class Verification(Part):
    """What must be known of the summary tokens that remain."""

    compressor: Sha256 = Field(description="fingerprint of the only compressor whose tokens count")
    fidelity: PositiveShare = Field(description="at least so much, for this very photo")
    probes: Sha256 = Field(description="of the questions that fidelity was judged by")
    read_back: Flag = Field(
        description="tokens are read from the store again before anything goes: always true"
    )
    labels: Labels

    @model_validator(mode="after")
    def _always_reads_back(self) -> Self:
        if not self.read_back:
            raise ValueError("read_back must be true: tokens that were not read again prove nothing")
        return self


class Reviewed(Part):
    """People look at each list before it may be carried out."""

    mode: Literal["reviewed"]
    approvals: Count = Field(description="different people, none of them the list's author")
    grace: PeriodField = Field(description="between approval and destruction; a rescue is one command")


class Automatic(Part):
    """Lists are carried out after their grace period."""

    mode: Literal["automatic"]
    grace: PeriodField = Field(description="between the list and destruction; a rescue is one command")


class Limits(Part):
    """A run that would destroy more stops before its first deletion."""

    objects: Count
    percent: PositiveShare = Field(description="of the photos in the policy's collections, such as 2 %")
    bytes: Size


class Observe(Part):
    """Decide and report; nothing ever goes."""

    stage: Literal["observe"]


class Pilot(Part):
    """A share of the photos may go, always the same ones."""

    stage: Literal["pilot"]
    share: PositiveShare


class Enforce(Part):
    """Every photo may go."""

    stage: Literal["enforce"]


class Policy(Part):
    """The whole of it."""

    id: Name
    version: Count
    zone: Zone = Field(description="IANA time zone in which days, months and years are counted")
    effective_from: Day = Field(description="nothing goes before this day")
    earliest: Day = Field(
        date(2001, 1, 1), description="an earlier date is taken for a camera's unset clock, and is unknown"
    )
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=50)
    exempt: Exempt
    verification: Verification
    disposition: Annotated[Reviewed | Automatic, Field(discriminator="mode")]
    limits: Limits
    rollout: Annotated[Observe | Pilot | Enforce, Field(discriminator="stage")]

    @model_validator(mode="after")
    def _rules_have_their_own_names(self) -> Self:
        names = [rule.name for rule in self.rules]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two rules are called {min(twice)!r}; give each its own name")
        return self

    @property
    def collections(self) -> tuple[str, ...]:
        """Every collection that a rule names."""
        return tuple(sorted({name for rule in self.rules for name in rule.select.collections}))

    @property
    def kept_tags(self) -> frozenset[str]:
        """A photo with any of these stays."""
        return ALWAYS_KEPT | set(self.exempt.tags)

    @property
    def tz(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def meaning(self) -> bytes:
        """The canonical bytes of what it says, defaults written out: comments and order of names make no difference."""
        said = self.model_dump(mode="json")
        for rule in said["rules"]:
            if rule["duty"] is None:  # as policies meant before there was such a field
                del rule["duty"]
        return canonical(said)

    @property
    def meaning_sha256(self) -> str:
        return hashlib.sha256(self.meaning()).hexdigest()


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a policy file, for editors that check YAML while it is written."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Policy.model_json_schema()}
