"""The audit event: who did what, when, to which object, why, under which policy and compressor.

Knows the body's fields, version 1. Knows nothing about the log that numbers, stores and signs events.
Names of persons, keys and content hashes never stand here in clear: callers pass references or commitments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

import fwd2bot_core
from fwd2bot_core.audit.canonical import canonical, commitment, encoded, to_bytes
from fwd2bot_core.audit.tiles import MOST_BYTES
from fwd2bot_core.errors import UsageError

__all__ = ["Actor", "Event", "canonical", "commitment", "rfc3339"]

VERSION = 1


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted: a reference into an erasable table of actors, never a name."""

    ref: str
    role: str  # "scheduler", "operator", "compliance", ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened. Everything optional is left out of the body when None."""

    type: str  # "batch.committed", "run.started", ...
    occurred_at: datetime  # aware
    actor: Actor
    clock: str = "system"  # where the time came from
    event_id: UUID = field(default_factory=uuid4)
    on_behalf_of: str | None = None  # an actor reference
    run_id: str | None = None
    collection: str | None = None  # a reference
    subject: Mapping[str, Any] | None = None  # what it happened to: references and commitments
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    reason_code: str | None = None
    reason_text: str | None = None
    policy: Mapping[str, Any] | None = None  # id, version, sha256
    compressor: str | None = None  # fingerprint
    software: str = f"fwd2bot {fwd2bot_core.__version__}"

    def body(self, seq: int) -> bytes:
        """The exact canonical bytes of this event as number ``seq`` (from 0) of its log.

        Raises ``ValueError`` for a naive time, a negative number, or a value outside the profile, and ``UsageError``
        for more than the tiles of the log can hold, which is a very long reason.
        """
        if seq < 0:
            raise ValueError(f"events are numbered from 0, not {seq}")
        data = (
            to_bytes(  # the members in their canonical order; a dict for all of them would take twice as long
                f'{{"actor":{{"ref":{_text(self.actor.ref)},"role":{_text(self.actor.role)}}}'
                + _facts("after", self.after)
                + _facts("before", self.before)
                + f',"clock":{{"source":{_text(self.clock)}}}'
                + _word("collection", self.collection)
                + _word("compressor", self.compressor)
                + f',"event_id":"{self.event_id}","occurred_at":"{rfc3339(self.occurred_at)}"'
                + _word("on_behalf_of", self.on_behalf_of)
                + _facts("policy", self.policy)
                + _word("reason_code", self.reason_code)
                + _word("reason_text", self.reason_text)
                + _word("run_id", self.run_id)
                + f',"seq":{seq},"software":{_text(self.software)}'
                + _facts("subject", self.subject)
                + f',"type":{_text(self.type)},"v":{VERSION}}}'
            )
        )
        if len(data) > MOST_BYTES:
            raise UsageError(
                f"an event {self.type!r} of {len(data):,} bytes, and the log holds {MOST_BYTES:,} for each. Say less, "
                "such as in the reason, and keep the rest in a file whose hash you name; nothing was changed"
            )
        return data


@lru_cache(maxsize=1024)  # what events say most of the time they have said before
def _text(value: str) -> str:
    return encoded(value, 2)


@lru_cache(maxsize=1024)
def _word(name: str, value: str | None) -> str:
    return "" if value is None else f',"{name}":{encoded(value, 1)}'


def _facts(name: str, value: Mapping[str, Any] | None) -> str:
    return "" if value is None else f',"{name}":{encoded(value, 1)}'


def rfc3339(moment: datetime) -> str:
    """``2026-11-24T17:02:03.000004Z``: UTC, always six decimals. Raises ``ValueError`` for a naive time."""
    if moment.tzinfo is not UTC:  # nearly all are
        if moment.utcoffset() is None:
            raise ValueError(f"{moment!r} has no time zone")
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:-6]}Z"  # of +00:00
