"""The disposition list: what may go, fixed when it was made, and the straight way of each item from there to its end.

    list    OPEN -> GRACE -> DONE           side exits: REFUSED, EXPIRED
    item    LISTED -> INTENT -> DESTROYED   side exits: RESCUED, BLOCKED, CHANGED, MISSING; INTENT <-> UNKNOWN

A list is canonical JSON lines: what it is about, then one line an object version, sorted. Its SHA-256 is what people
sign. Knows no database, no store and no clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from fwd2bot_core.audit.canonical import canonical, parse
from fwd2bot_core.audit.events import rfc3339
from fwd2bot_core.errors import IntegrityError

VERSION = 1


class ListState(StrEnum):
    OPEN = "open"  # waits for approvals
    GRACE = "grace"  # approved; may be carried out once its grace is over
    DONE = "done"  # every item has come to an end
    REFUSED = "refused"
    EXPIRED = "expired"  # too old to be carried out: make a new one


class ItemState(StrEnum):
    LISTED = "listed"
    RESCUED = "rescued"  # somebody took it off the list
    BLOCKED = "blocked"  # a hold, the policy, fidelity, a limit, a lock of the store: see its reason
    CHANGED = "changed"  # not what was listed any more
    MISSING = "missing"  # gone before we meant to destroy it: an alarm
    INTENT = "intent"  # the log says that it will go
    UNKNOWN = "unknown"  # the store did not say what became of it: asked again, never assumed
    DESTROYED = "destroyed"  # gone, and the store confirmed it


_AFTER_ITEM: Mapping[ItemState, frozenset[ItemState]] = {
    ItemState.LISTED: frozenset(
        {ItemState.INTENT, ItemState.RESCUED, ItemState.BLOCKED, ItemState.CHANGED, ItemState.MISSING}
    ),
    ItemState.INTENT: frozenset(
        {ItemState.DESTROYED, ItemState.UNKNOWN, ItemState.RESCUED, ItemState.BLOCKED, ItemState.CHANGED}
    ),
    ItemState.UNKNOWN: frozenset({ItemState.DESTROYED, ItemState.INTENT, ItemState.BLOCKED}),
}
_AFTER_LIST: Mapping[ListState, frozenset[ListState]] = {
    ListState.OPEN: frozenset({ListState.GRACE, ListState.REFUSED, ListState.EXPIRED}),
    ListState.GRACE: frozenset({ListState.DONE, ListState.REFUSED, ListState.EXPIRED}),
}


def may_follow(before: ItemState | ListState, after: ItemState | ListState) -> bool:
    """Whether an item or a list may go from one state to the other; an end is never left."""
    if isinstance(before, ItemState) and isinstance(after, ItemState):
        return after in _AFTER_ITEM.get(before, frozenset())
    if isinstance(before, ListState) and isinstance(after, ListState):
        return after in _AFTER_LIST.get(before, frozenset())
    raise TypeError(f"{before!r} and {after!r} are not states of one thing")


def is_end(state: ItemState) -> bool:
    """Whether nothing more becomes of an item."""
    return state not in _AFTER_ITEM


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What a list is about."""

    list_id: str
    collection: str
    policy_id: str
    policy_version: int
    policy_sha256: str  # of the policy's exact bytes
    compressor: str  # fingerprint
    as_of: datetime  # the clock of its decisions; aware
    author: str  # a reference, as the log knows persons
    approvals: int  # that it needs


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Item:
    """One object version on a list."""

    key: str
    identity: str  # version id
    object_version_id: int
    sha256: str  # of the original's bytes
    size: int  # bytes
    rule: str  # whose period was the longest
    not_before: str  # RFC 3339: when that period was over


def write_list(heading: Heading, items: Iterable[Item]) -> Iterator[bytes]:
    """The manifest's lines, each with its line feed; ``items`` must come sorted and without doubles.

    Raises ``ValueError`` where they do not.
    """
    about = asdict(heading) | {"as_of": rfc3339(heading.as_of), "v": VERSION}
    yield canonical(about) + b"\n"
    last: Item | None = None
    for item in items:
        if last is not None and item <= last:
            raise ValueError(
                f"{item.key!r} does not come after {last.key!r}: a list is sorted, each version once"
            )
        last = item
        yield canonical(asdict(item)) + b"\n"


def read_list(data: bytes, sha256: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Heading and items of a manifest. Raises ``IntegrityError`` unless its bytes have that hash."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise IntegrityError(
            f"the disposition list's hash is {found}, not {sha256} as people saw it; nothing may go"
        )
    if not data.endswith(b"\n"):
        raise IntegrityError("the disposition list's last line is cut off")
    heading, *items = (parse(line) for line in data.split(b"\n")[:-1])
    if heading.get("v") != VERSION:
        raise IntegrityError(
            f"a disposition list of version {heading.get('v')}, which this software cannot read"
        )
    return heading, items


def statement(
    list_id: str, sha256: str, policy_sha256: str, person: str, *, approved: bool, reason: str
) -> bytes:
    """The exact bytes that a person signs: what they decide about which list, under which policy, and why."""
    said = {
        "decision": "approve" if approved else "refuse",
        "list": list_id,
        "list_sha256": sha256,
        "person": person,
        "policy_sha256": policy_sha256,
        "reason": reason,
    }
    return canonical(said) + b"\n"
