"""Make disposition lists: what may go by the policy in force, fixed word for word before anybody decides about it.

    decide (one snapshot) -> manifest, create-only, in the archive -> one transaction: list, items, event 'list.made'

One list a collection of the policy. A manifest that no list names, left by a crash, means nothing. Knows nothing of
approvals (``review``) or of destruction.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.audit.events import Event
from fwd2bot_core.errors import BlockedByPolicy
from fwd2bot_core.retention.disposition import Heading, Item, ItemState, ListState, write_list
from fwd2bot_core.retention.facts import Clock
from fwd2bot_core.retention.periods import Rounding, not_before
from fwd2bot_core.retention.policy import Observe, Policy, Reviewed
from fwd2bot_core.retention.policy_file import Document
from fwd2bot_core.retention.roles import Act
from infra import audit_log, pairing
from infra.crashpoints import reach
from infra.installation import Installation
from infra.policy_sql import Terms
from infra.retention_tables import disposition_items, disposition_lists, hold_members, legal_holds
from tasks import candidates, people, policies
from tasks.destroy_checks import clock_is_sane
from tasks.destroy_order import times
from tasks.holds import HELD
from tasks.standing import standing

LIFE = timedelta(days=30)  # within which a list must be approved, and after its grace carried out
CHUNK = 1000  # rows written at once
_DAY = Rounding.parse("day")


@dataclass(frozen=True, slots=True)
class Made:
    """A list."""

    id: str
    collection: str
    path: str  # of its manifest in the archive
    sha256: str  # what people sign
    objects: int
    bytes: int
    state: ListState
    grace_until: datetime | None


def make(house: Installation, policy_id: str, person: str) -> list[Made]:
    """List what may go now by the policy in force; no list for a collection of which nothing may.

    Raises ``BlockedByPolicy`` where no version is active at stage pilot or enforce, for more than its limits, and while
    the clock is in doubt; ``AccessDenied``; and what store and ledger raise. Then there is no list.
    """
    author = people.permitted(house.ledger, person, Act.MAKE_LIST, f"policy {policy_id}")
    with TemporaryDirectory(prefix="fwd2bot-") as folder:
        with house.ledger.read() as connection:
            document = policies.active(connection, policy_id)
            if isinstance(document.policy.rollout, Observe):
                raise BlockedByPolicy(f"policy {policy_id!r} only observes; no list was made")
            drafts = _drafts(house, connection, document, author, Path(folder))
        for draft in drafts:
            house.archive.create(draft.path, draft.file.read_bytes())
        reach("list.manifest-written")
        made = _record(house, person, document, drafts) if drafts else []
    reach("list.made")
    return made


def grace_ends(policy: Policy, begins: datetime) -> datetime:
    """The whole grace period after the day, in the policy's zone, on which it begins."""
    return not_before(begins, policy.disposition.grace, _DAY, policy.tz)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A manifest on this machine's disk."""

    heading: Heading
    collection_id: int
    file: Path
    sha256: str
    objects: int
    bytes: int

    @property
    def path(self) -> str:
        return f"disposition/{self.heading.list_id}-{self.sha256[:16]}.jsonl"


def _drafts(
    house: Installation, connection: sa.Connection, document: Document, author: people.Person, folder: Path
) -> list[_Draft]:
    clock_is_sane(times(house, connection))
    policy, as_of = document.policy, audit_log.now()
    known = [name for name in policy.collections if name in house.settings.collections]
    standings = {name: standing(house, connection, name) for name in known}
    candidates.choose(connection, Terms(policy, standings, Clock(as_of)))
    disposition = policy.disposition
    made = []
    for collection, found in candidates.items(connection):
        heading = Heading(
            list_id=f"{as_of:%Y%m%d}-{secrets.token_hex(4)}",
            collection=collection.name,
            policy_id=policy.id,
            policy_version=policy.version,
            policy_sha256=document.sha256,
            compressor=policy.verification.compressor,
            as_of=as_of,
            author=author.ref,
            approvals=disposition.approvals if isinstance(disposition, Reviewed) else 0,
        )
        made.append(_written(heading, collection.collection_id, found, folder / heading.list_id))
    candidates.chosen.drop(connection)
    return made


def _written(heading: Heading, collection_id: int, items: Iterable[Item], file: Path) -> _Draft:
    digest, objects, size = hashlib.sha256(), 0, 0

    def counted() -> Iterator[Item]:
        nonlocal objects, size
        for item in items:
            objects, size = objects + 1, size + item.size
            yield item

    with file.open("wb") as sink:
        for line in write_list(heading, counted()):
            digest.update(line)
            sink.write(line)
    return _Draft(heading, collection_id, file, digest.hexdigest(), objects, size)


def _record(house: Installation, person: str, document: Document, drafts: Iterable[_Draft]) -> list[Made]:
    with house.ledger.write() as connection:
        audit_log.hold(connection)
        pairing.check(connection, house.archive)
        author = people.find(connection, person)  # nobody revoked them meanwhile
        if policies.active(connection, document.policy.id).sha256 != document.sha256:
            raise BlockedByPolicy(
                "another version of the policy came into force meanwhile; no list was made: again"
            )
        return [_recorded(connection, author, document, draft) for draft in drafts]


def _recorded(connection: sa.Connection, author: people.Person, document: Document, draft: _Draft) -> Made:
    heading, at = draft.heading, audit_log.now()
    state = ListState.OPEN if heading.approvals else ListState.GRACE
    grace = None if heading.approvals else grace_ends(document.policy, at)
    connection.execute(
        disposition_lists.insert().values(
            id=heading.list_id,
            collection_id=draft.collection_id,
            policy_id=heading.policy_id,
            policy_version=heading.policy_version,
            policy_sha256=heading.policy_sha256,
            as_of=heading.as_of,
            path=draft.path,
            sha256=draft.sha256,
            objects=draft.objects,
            bytes=draft.bytes,
            approvals=heading.approvals,
            state=state,
            author_ref=heading.author,
            made_at=at,
            expires_at=(grace or at) + LIFE,
            grace_until=grace,
        )
    )
    _insert_items(connection, draft, at)
    held = _take_off_held(connection, heading.list_id, at)
    after = {"state": str(state), "objects": draft.objects, "bytes": draft.bytes, "held_meanwhile": held}
    subject = {"list": heading.list_id, "list_sha256": draft.sha256, "path": draft.path}
    event = Event(
        type="list.made",
        occurred_at=at,
        actor=author.actor(),
        collection=audit_log.reference(connection, "collection", heading.collection),
        subject=subject,
        after=after | {"approvals": heading.approvals},
        policy=document.reference(),
        compressor=heading.compressor,
    )
    audit_log.append(connection, event)
    return Made(
        heading.list_id,
        heading.collection,
        draft.path,
        draft.sha256,
        draft.objects,
        draft.bytes,
        state,
        grace,
    )


def _insert_items(connection: sa.Connection, draft: _Draft, at: datetime) -> None:
    """From the manifest itself, so that rows and lines are the same ones."""
    with draft.file.open("rb") as lines:
        next(lines)  # the heading
        numbered = enumerate(parse(line[:-1])["object_version_id"] for line in lines)
        while part := list(islice(numbered, CHUNK)):
            if len(candidates.sizes_of_free(connection, [number for _, number in part])) != len(part):
                raise BlockedByPolicy("another list was made meanwhile and names some of these; again")
            rows: list[dict[str, Any]] = [
                {"object_version_id": version, "number": number, "list_id": draft.heading.list_id}
                for number, version in part
            ]
            common = {"state": ItemState.LISTED, "changed_at": at}
            connection.execute(disposition_items.insert().values(**common), rows)


def _take_off_held(connection: sa.Connection, list_id: str, at: datetime) -> int:
    """What was held between the decision and now; a hold that comes later takes its members off by itself."""
    held = (
        sa.select(hold_members.c.object_version_id)
        .join(legal_holds, legal_holds.c.id == hold_members.c.hold_id)
        .where(legal_holds.c.released_at.is_(None))
    )
    answer = connection.execute(
        disposition_items.update()
        .where(disposition_items.c.list_id == list_id, disposition_items.c.object_version_id.in_(held))
        .values(state=ItemState.BLOCKED, reason=HELD, changed_at=at)
    )
    return int(answer.rowcount)
