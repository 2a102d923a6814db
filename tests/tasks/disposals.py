"""A small world in which originals may be destroyed: photos in a store with versions, an approved list, a witness.

Each deletion that takes effect is looked at in that very moment: its intent must be in the log and lie outside, no hold
may be in force, and it must be allowed to go.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import infra.installation
import tasks.destroy
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.protocol import CompressorSpec
from fwd2bot_core.errors import Fwd2BotError
from fwd2bot_core.retention.disposition import Heading, Item, statement, write_list
from fwd2bot_core.retention.policy_file import read
from fwd2bot_core.retention.roles import Role
from fwd2bot_core.tokens.fidelity import probes_sha256
from infra import audit_log
from infra.installation import Installation
from infra.objects import ObjectInfo
from infra.objects.memory import MemoryStore
from infra.retention_tables import (
    approvals,
    certificates,
    disposition_items,
    disposition_lists,
    hold_members,
    legal_holds,
    object_facts,
    policies,
)
from infra.settings import load_settings
from infra.tables import audit_events, label_checks, object_versions
from tasks import destroy_checks, people
from tasks.destroy import Outcome, execute
from tests.houses import COLLECTION, night, tiny_jpeg, write_settings
from tests.tasks.signers import Signer
from tests.tasks.steps import rows, use_compressor
from tests.tasks.stormy import Crash, Stormy

PLAIN: dict[str, Any] = {
    "id": "test-policy",
    "version": 1,
    "zone": "Asia/Tokyo",
    "effective_from": "2022-01-01",
    "rules": [
        {
            "name": "all",
            "select": {"collections": [COLLECTION], "keys": "*"},
            "trigger": "captured",
            "retain": "P1Y",
            "rounding": "day",
        }
    ],
    "exempt": {"sample": "0"},
    "verification": {
        "fidelity": "0.9",
        "read_back": "true",
        "labels": {"questions": "50", "accuracy": "0.9"},
    },
    "disposition": {"mode": "reviewed", "approvals": "2", "grace": "P30D"},
    "limits": {"objects": "1000", "percent": "100 %", "bytes": "1 GB"},
    "rollout": {"stage": "enforce"},
}
_fresh = itertools.count()


class Grown(FakeCompressor):
    """The fake, said to be made for use."""

    @property
    def spec(self) -> CompressorSpec:
        return replace(super().spec, demonstration_only=False)


@dataclass
class World:
    house: Installation
    store: Any  # Stormy, or a real one
    root: Path
    policy: dict[str, Any]
    approvers: list[tuple[str, Signer]]
    numbers: list[int] = field(default_factory=list)
    may_go: set[int] = field(default_factory=set)  # what a test means to be destroyed
    wrong: list[str] = field(default_factory=list)  # seen while deletions took effect
    originals: bool = False  # the store is a real one
    lists: Any = field(default_factory=lambda: itertools.count(1))

    def write(self, *statements: sa.Executable) -> None:
        with self.house.ledger.write() as connection:
            for one in statements:
                connection.execute(one)

    def row(self, number: int) -> Any:
        return rows(self.house, sa.select(object_versions).where(object_versions.c.id == number))[0]

    def present(self, number: int) -> bool:
        row = self.row(number)
        held = self.store.versions_of if self.originals else partial(MemoryStore.versions_of, self.store)
        return any(info.identity == row.identity for info in held(row.key))

    def states(self, list_id: str = "list-1") -> list[str]:
        query = sa.select(disposition_items).where(disposition_items.c.list_id == list_id)
        return [row.state for row in rows(self.house, query.order_by(disposition_items.c.number))]

    def reasons(self, list_id: str = "list-1") -> list[str | None]:
        query = sa.select(disposition_items).where(disposition_items.c.list_id == list_id)
        return [row.reason for row in rows(self.house, query.order_by(disposition_items.c.number))]

    def run(self, list_id: str = "list-1") -> Outcome:
        """A dry run, and then what it showed."""
        shown = execute(self.house, list_id)
        return execute(self.house, list_id, token=shown.token, dry_run=False)

    def try_run(self, list_id: str = "list-1") -> Outcome | Fwd2BotError:
        """The same, also where the dry run refuses: then without its token."""
        try:
            return self.run(list_id)
        except Fwd2BotError as first:
            try:
                return execute(self.house, list_id, dry_run=False, token="none")
            except Fwd2BotError:
                return first

    def violations(self) -> list[str]:
        """What is not as it must be, ever."""
        found = list(self.wrong)
        items = rows(self.house, disposition_items)
        for number in self.numbers:
            mine = [item for item in items if item.object_version_id == number]
            states = [item.state for item in mine]
            paper = rows(
                self.house, sa.select(certificates).where(certificates.c.object_version_id == number)
            )
            there, destroyed = self.present(number), states.count("destroyed")
            if (
                destroyed > 1
                or len(paper) != destroyed
                or (self.row(number).destroyed_seq is None) == bool(paper)
            ):
                found.append(f"{number}: states {states}, {len(paper)} certificates")
            if destroyed and there:
                found.append(f"{number}: said to be destroyed, and is there")
            if not there and not destroyed and not {"intent", "unknown", "missing"} & set(states):
                found.append(f"{number}: gone, and is said to be {states}")
            if not there and number not in self.may_go:
                found.append(f"{number}: gone, and was to stay")
            if states.count("intent") + states.count("unknown") + destroyed > 1:
                found.append(f"{number}: meant to go by two lists at once")
        return found

    def look(self, info: ObjectInfo) -> None:
        """At the moment in which a deletion takes effect."""
        found = [r for r in rows(self.house, object_versions) if r.key == info.key]
        row = next((r for r in found if r.identity == info.identity), found[0])
        outside = max((int(p.name) for p in self.root.glob("vault/checkpoints/*")), default=0)
        query = sa.select(audit_events.c.seq, audit_events.c.body).where(
            audit_events.c.type.like("destruction.%")
        )
        intent = None
        for seq, body in rows(self.house, query.order_by(audit_events.c.seq)):
            said = json.loads(body)
            if said["subject"]["object_version"] == row.id:
                ended = said["type"] in ("destruction.withdrawn", "destruction.confirmed")
                intent = seq if said["type"] == "destruction.intended" else None if ended else intent
        if intent is None:
            self.wrong.append(f"{row.id}: deleted without an intent that stands")
        elif not intent < outside:
            self.wrong.append(f"{row.id}: deleted before its intent {intent} was outside ({outside})")
        held = rows(
            self.house,
            sa.select(hold_members)
            .join(legal_holds, legal_holds.c.id == hold_members.c.hold_id)
            .where(hold_members.c.object_version_id == row.id, legal_holds.c.released_at.is_(None)),
        )
        if held:
            self.wrong.append(f"{row.id}: deleted under a hold")

    def hold(self, number: int) -> None:
        """In the ledger alone, as when the store has not yet been told."""
        with self.house.ledger.write() as connection:
            audit_log.hold(connection)
            hold_id = connection.execute(
                legal_holds.insert()
                .values(
                    name="case", reason="r", author_ref="a", confidential=False, placed_at=audit_log.now()
                )
                .returning(legal_holds.c.id)
            ).scalar_one()
            connection.execute(hold_members.insert().values(hold_id=hold_id, object_version_id=number))

    def list(
        self, numbers: Iterable[int], *, signed: int = 2, extra: Iterable[int] = (), **changes: Any
    ) -> str:
        """An approved list whose grace is over; ``extra``: items that are in the ledger and not in the manifest."""
        name, now = f"list-{next(self.lists)}", audit_log.now()
        found = sorted((self.row(number) for number in numbers), key=lambda row: row.key)
        document = read(json.dumps(self.policy).encode())
        heading = Heading(
            list_id=name, collection=COLLECTION, policy_id=self.policy["id"], policy_version=1,
            policy_sha256=document.sha256, compressor=document.policy.verification.compressor, as_of=now,
            author="author", approvals=2,
        )  # fmt: skip
        lines = b"".join(write_list(heading, map(_line, found)))
        path = f"dispositions/{name}.jsonl"
        self.house.archive.create(path, lines)
        sha256 = hashlib.sha256(lines).hexdigest()
        plain = {
            "id": name, "collection_id": found[0].collection_id, "policy_id": self.policy["id"], "policy_version": 1,
            "policy_sha256": document.sha256, "as_of": now, "path": path, "sha256": sha256, "objects": len(found),
            "bytes": sum(row.size for row in found), "approvals": 2, "state": "grace", "author_ref": "author",
            "made_at": now - timedelta(days=40), "expires_at": now + timedelta(days=30),
            "grace_until": now - timedelta(days=1),
        }  # fmt: skip
        self.write(disposition_lists.insert().values(**plain | changes))
        for at, number in enumerate([*(row.id for row in found), *extra]):
            self.write(
                disposition_items.insert().values(
                    list_id=name, object_version_id=number, number=at, state="listed", changed_at=now
                )
            )
        for person, signer in self.approvers[:signed]:
            self.approve(name, person, signer, sha256, document.sha256)
        return name

    def approve(
        self, name: str, person: str, signer: Signer, sha256: str, policy: str, **changes: Any
    ) -> None:
        said = statement(name, sha256, policy, person, approved=True, reason="seen")
        with self.house.ledger.write() as connection:
            number = people.find(connection, person).id
            plain = {
                "list_id": name, "person_id": number, "approved": True, "reason": "seen", "statement": said,
                "signature": signer.sign(said), "signed_at": audit_log.now(),
            }  # fmt: skip
            connection.execute(approvals.insert().values(**plain | changes))


def _line(row: Any) -> Item:
    named = {name: getattr(row, name) for name in ("key", "identity", "size")}
    return Item(
        object_version_id=row.id,
        sha256=row.content_sha256,
        rule="all",
        not_before="2022-01-01T00:00:00Z",
        **named,
    )


def make_world(
    root: Path,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    photos: int = 3,
    originals: dict[str, Any] | None = None,
    **parts: Any,
) -> World:
    """Photos of 2020, compressed and judged, under a policy that lets go of all; ``parts`` of it may differ.

    ``originals``: the collection's settings, where its store is a real one.
    """
    use_compressor(monkeypatch, Grown())
    monkeypatch.setattr(infra.installation, "load", lambda name, *, view, threads, limits, device: Grown())
    if originals is None:  # Stormy's answers are told by how many were given before
        monkeypatch.setattr(tasks.destroy, "AT_ONCE", 1)
    stormy = Stormy(f"disposals-{next(_fresh)}")
    root.mkdir(exist_ok=True)
    (root / "vault").mkdir()
    sections: dict[str, Any] = {
        f"collections.{COLLECTION}": originals or {"originals": stormy.uri},
        f"collections.{COLLECTION}.fidelity": {"sample": 1.0},
        "audit.anchors.vault": {"kind": "directory", "place": "vault"},
    }
    settings = load_settings(
        write_settings(root / "fwd2bot.toml", archive={"ledger": ledger_url}, **sections)
    )
    house = Installation(settings)
    store: Any = house.originals(COLLECTION)
    for number in range(photos):
        store.create(f"{number}.jpg", tiny_jpeg(number))
    assert night(house).failed == 0
    world = World(
        house, store, root, _policy(house, **parts), [(name, Signer()) for name in ("Ann", "Ben", "Cy")]
    )
    world.originals = originals is not None
    stormy.before = world.look
    _furnish(world)
    return world


@contextmanager
def open_world(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world on SQLite, in which every original may go."""
    made = make_world(root, f"sqlite:///{root}/ledger.sqlite", monkeypatch)
    made.may_go = set(made.numbers)
    yield made
    made.house.ledger.close()


def _policy(house: Installation, **parts: Any) -> dict[str, Any]:
    compressor = house.compressor(COLLECTION)
    measured = {
        "compressor": compressor.spec.fingerprint,
        "probes": probes_sha256(compressor.fidelity_probes),
    }
    return PLAIN | {"verification": PLAIN["verification"] | measured} | parts


def _furnish(world: World) -> None:
    """Capture dates, a label check that passed, the policy in force, people who approve."""
    now = audit_log.now()
    found = rows(world.house, object_versions)
    world.numbers = [row.id for row in found]
    document = read(json.dumps(world.policy).encode())
    check = {
        "collection_id": 1, "compressor_id": 1, "codec": "exact", "labels_sha256": "s", "questions": 100,
        "right_answers": 100, "kinds": "{}", "at_least": 0.95, "passed": True, "checked_at": now,
    }  # fmt: skip
    policy = {
        "id": world.policy["id"], "version": 1, "sha256": document.sha256, "yaml": document.data,
        "meaning_sha256": document.policy.meaning_sha256, "state": "active", "author_ref": "policy author",
        "drafted_at": now,
    }  # fmt: skip
    taken = datetime(2020, 5, 1, tzinfo=UTC)
    world.write(
        label_checks.insert().values(**check),
        policies.insert().values(**policy),
        *(object_facts.insert().values(object_version_id=n, captured_at=taken) for n in world.numbers),
    )
    for name, signer in world.approvers:
        people.register(world.house.ledger, name, signer.public, [Role.APPROVER])


class Template:
    """One world that is made once, and put back as it was for each test that asks for it."""

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        make: Callable[..., World] = make_world,
        **options: Any,
    ) -> None:
        self._root, self._saved = folder / "world", folder / "saved"
        self._made = make(self._root, f"sqlite:///{self._root}/ledger.sqlite", monkeypatch, **options)
        self._made.house.ledger.close()
        self._made.house.__dict__.pop("ledger")
        self._keys = {key: list(held) for key, held in self._made.store._keys.items()}
        shutil.copytree(self._root, self._saved)

    def world(self) -> World:
        """As it was; the one that was given before is gone."""
        shutil.rmtree(self._root)
        shutil.copytree(self._saved, self._root)
        house = Installation(load_settings(self._root / "fwd2bot.toml"))
        store = self._made.store
        name, versions = store.name, store.versions
        store.__dict__.clear()
        store.__init__(name, versions=versions)  # type: ignore[misc]  # the same object: it is known by name
        store._keys = {key: list(held) for key, held in self._keys.items()}
        store._puts = 1000
        made = replace(self._made, house=house, may_go=set(), wrong=[], lists=itertools.count(1))
        store.before = made.look
        return made


def crash_at(monkeypatch: pytest.MonkeyPatch, step: str, nth: int = 1) -> None:
    """The next run dies when it reaches this step for the n-th time; the one after does not."""
    left = itertools.count(1)

    def reach(name: str) -> None:
        if name == step and next(left) == nth:
            raise Crash

    monkeypatch.setattr(tasks.destroy, "reach", reach)


def without(monkeypatch: pytest.MonkeyPatch, guard: Callable[..., None]) -> None:
    """As if the guard had been removed."""
    monkeypatch.setattr(destroy_checks, guard.__name__, lambda *_, **__: None)
