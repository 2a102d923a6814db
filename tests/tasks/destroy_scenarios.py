"""What stands in the way of an original, guard by guard: only this one does, all others would let it go."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import infra.judging
from fwd2bot_core.retention.policy_file import read
from infra import audit_log
from infra.objects.memory import MemoryStore
from infra.retention_tables import (
    approvals,
    disposition_items,
    disposition_lists,
    object_tags,
    people,
    person_roles,
    policies,
)
from infra.tables import audit_anchors, object_versions, shards
from tasks import destroy_checks as checks
from tasks.destroy import execute
from tests.houses import tiny_jpeg
from tests.tasks.disposals import World, crash_at
from tests.tasks.steps import rows
from tests.tasks.stormy import Crash, Stormy

Scenario = Callable[[World, pytest.MonkeyPatch], Any]
SCENARIOS: dict[Callable[..., None], list[Scenario]] = {}


def about(guard: Callable[..., None]) -> Callable[[Scenario], Scenario]:
    """This happens, and only ``guard`` stands in the way. What may go all the same is in ``World.may_go``."""

    def note(scenario: Scenario) -> Scenario:
        SCENARIOS.setdefault(guard, []).append(scenario)
        return scenario

    return note


def when(world: World, deleted: int, do: Callable[[], None]) -> None:
    """Done by somebody else while a run asks about versions, once so many deletions were asked for."""
    real, left = Stormy.versions_of, [do]

    def versions_of(key: str) -> Any:
        if world.store.asked >= deleted and left:
            left.pop()()
        return real(world.store, key)

    world.store.versions_of = versions_of  # type: ignore[method-assign]


def change(world: World, table: sa.Table, **values: Any) -> None:
    world.write(table.update().values(**values))


@about(checks.clock_is_sane)
def the_clock_went_back(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    moved(patch, timedelta(hours=-2))
    world.try_run()


@about(checks.clock_is_sane)
def the_clock_jumped_ahead(world: World, patch: pytest.MonkeyPatch) -> None:
    now = audit_log.now()
    world.list(world.numbers, grace_until=now + timedelta(days=10), expires_at=now + timedelta(days=900))
    moved(patch, timedelta(days=365))
    world.try_run()


def moved(patch: pytest.MonkeyPatch, by: timedelta) -> None:
    real = audit_log.now
    patch.setattr(audit_log, "now", lambda: real() + by)


@about(checks.list_is_the_signed_one)
def the_manifest_was_swapped(world: World, patch: pytest.MonkeyPatch) -> None:
    first, second, third = world.numbers
    world.may_go = set()
    name, other = world.list([first, second]), world.list([first, second, third])
    path = rows(world.house, sa.select(disposition_lists.c.path).where(disposition_lists.c.id == other))[
        0
    ].path
    world.house.archive.replace(f"dispositions/{name}.jsonl", world.house.archive.read(path))
    world.write(
        disposition_items.delete().where(disposition_items.c.list_id == other),
        disposition_items.insert().values(
            list_id=name, object_version_id=third, number=2, state="listed", changed_at=audit_log.now()
        ),
    )
    world.try_run(name)


@about(checks.list_is_approved)
def one_approval_is_missing(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers, signed=1)
    world.try_run()


@about(checks.list_is_approved)
def the_list_is_still_open(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers, state="open")
    world.try_run()


@about(checks.list_is_approved)
def an_author_approved(world: World, patch: pytest.MonkeyPatch) -> None:
    ann = people_refs(world)[0]
    world.list(world.numbers, author_ref=ann)
    world.try_run()


@about(checks.list_is_approved)
def an_author_of_the_policy_approved(world: World, patch: pytest.MonkeyPatch) -> None:
    change(world, policies, author_ref=people_refs(world)[1])
    world.list(world.numbers)
    world.try_run()


@about(checks.list_is_approved)
def one_of_them_refused(world: World, patch: pytest.MonkeyPatch) -> None:
    name = world.list(world.numbers)
    world.approve(name, *world.approvers[2], "s", "p", approved=False)
    world.try_run()


@about(checks.list_is_approved)
def one_of_them_may_not_approve_any_more(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.write(person_roles.update().where(person_roles.c.person_id == 1).values(role="auditor"))
    world.try_run()


@about(checks.list_is_approved)
def a_signature_is_over_another_list(world: World, patch: pytest.MonkeyPatch) -> None:
    other = world.list(world.numbers[:1])
    name = world.list(world.numbers, signed=0)
    world.write(approvals.update().where(approvals.c.list_id == other).values(list_id=name))
    world.try_run(name)


@about(checks.list_is_approved)
def a_statement_was_altered(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    statement = rows(world.house, approvals)[0].statement.replace(b"seen", b"SEEN")
    change(world, approvals, statement=statement)
    world.try_run()


def people_refs(world: World) -> list[str]:
    return [row.name_ref for row in rows(world.house, sa.select(people).order_by(people.c.id))]


@about(checks.grace_is_over)
def grace_is_not_over(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers, grace_until=audit_log.now() + timedelta(seconds=30))
    world.try_run()


@about(checks.grace_is_over)
def nobody_said_when_grace_ends(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers, grace_until=None)
    world.try_run()


@about(checks.list_is_not_expired)
def the_list_expired(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers, expires_at=audit_log.now())
    world.try_run()


@about(checks.policy_is_in_force)
def the_policy_was_retired(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    change(world, policies, state="retired")
    world.try_run()


@about(checks.policy_is_in_force)
def the_policy_is_read_otherwise(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    change(world, policies, meaning_sha256="0" * 64)
    world.try_run()


@about(checks.policy_is_in_force)
def the_policys_bytes_are_others(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    other = json.dumps(world.policy | {"zone": "UTC"}).encode()
    change(world, policies, yaml=other, meaning_sha256=read(other).policy.meaning_sha256)
    world.try_run()


@about(checks.within_limits)
def more_than_the_limit(world: World, patch: pytest.MonkeyPatch) -> None:
    limited(world, objects="2")
    world.list(world.numbers)
    world.try_run()


@about(checks.within_limits)
def more_bytes_than_the_limit(world: World, patch: pytest.MonkeyPatch) -> None:
    limited(world, bytes="1000")
    world.list(world.numbers)
    world.try_run()


@about(checks.within_limits)
def more_in_a_day_by_two_lists(world: World, patch: pytest.MonkeyPatch) -> None:
    limited(world, percent="67 %")
    first, second = world.list(world.numbers[:2]), world.list(world.numbers[2:])
    world.may_go = set(world.numbers[:2])
    assert world.run(first).destroyed == 2
    world.try_run(second)


def limited(world: World, **limits: str) -> None:
    """Another policy; approved lists are of it."""
    world.policy = world.policy | {"limits": world.policy["limits"] | limits}
    document = read(json.dumps(world.policy).encode())
    meaning = document.policy.meaning_sha256
    change(world, policies, yaml=document.data, sha256=document.sha256, meaning_sha256=meaning)


@about(checks.judged_as_the_policy_says)
def the_settings_ask_other_questions(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    _, source = world.house.settings.collection(None)
    other = source.fidelity.model_copy(update={"probes": ("what colour ?",)})
    collections = {"line-1": source.model_copy(update={"fidelity": other})}
    settings = world.house.settings.model_copy(update={"collections": collections})
    patch.setitem(world.house.__dict__, "settings", settings)
    world.try_run()


@about(checks.log_is_anchored)
def no_anchor_answers(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    (world.root / "vault").rename(world.root / "away")
    world.try_run()
    assert world.states() != ["destroyed"] * 3 or world.wrong


@about(checks.item_is_on_the_list)
def an_item_was_added_in_the_ledger_alone(world: World, patch: pytest.MonkeyPatch) -> None:
    world.may_go = set(world.numbers[:2])
    world.list(world.numbers[:2], extra=world.numbers[2:])
    world.try_run()


@about(checks.still_listed)
def one_was_rescued_while_a_run_looks(world: World, patch: pytest.MonkeyPatch) -> None:
    world.may_go = set(world.numbers[1:])
    world.list(world.numbers)
    mine = disposition_items.c.object_version_id == world.numbers[0]
    shown = execute(world.house, "list-1")
    when(world, 0, lambda: world.write(disposition_items.update().where(mine).values(state="rescued")))
    execute(world.house, "list-1", token=shown.token, dry_run=False)


@about(checks.only_here)
def another_list_means_to_destroy_it(world: World, patch: pytest.MonkeyPatch) -> None:
    world.may_go = set(world.numbers)
    first, second = world.list(world.numbers[:1]), world.list(world.numbers[:1])
    with pytest.MonkeyPatch.context() as dying:
        crash_at(dying, "destroy.anchored")
        with pytest.raises(Crash):
            world.run(first)
        crash_at(dying, "destroy.intended")
        with suppress(Crash):
            world.try_run(second)


@about(checks.names_one_version)
def its_identity_names_no_version(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    row = world.row(world.numbers[0])
    info = MemoryStore.versions_of(world.store, row.key)[0]
    identity = f"e:{info.etag}:{info.size}"
    unversioned(world, patch, row.id, identity)
    world.may_go = set(world.numbers[1:])
    world.try_run(world.list(world.numbers))


def unversioned(world: World, patch: pytest.MonkeyPatch, number: int, identity: str) -> None:
    """One photo's name is its ETag and size, as in a bucket from before it had versions."""
    world.write(
        disposition_items.delete(),
        object_versions.update().where(object_versions.c.id == number).values(identity=identity),
    )
    key = world.row(number).key
    (held,) = world.store._keys[key]
    world.store._keys[key] = [replace(held, info=replace(held.info, version=None))]
    real = Stormy.delete_version

    def delete(store: Stormy, info: Any) -> None:
        real(store, replace(info, version=None, etag=identity.split(":")[1]) if info.key == key else info)

    patch.setattr(Stormy, "delete_version", delete)


@about(checks.decided_to_go)
def it_is_disputed_by_now(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.may_go = set(world.numbers[1:])
    world.write(object_tags.insert().values(object_version_id=world.numbers[0], tag="disputed"))
    world.try_run()


@about(checks.original_is_unchanged)
def the_store_holds_other_bytes(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.may_go = set(world.numbers[1:])
    key = world.row(world.numbers[0]).key
    (held,) = world.store._keys[key]
    world.store._keys[key] = [replace(held, data=tiny_jpeg(0) + b"\0")]
    world.try_run()


@about(checks.tokens_are_the_committed_ones)
def the_shard_is_another_one(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    (path,) = [row.path for row in rows(world.house, shards)]
    whole = world.house.archive.read(path)
    assert whole.count(b"JPEG") >= 1
    change(world, shards, sha256="0" * 64)
    world.try_run()


@about(checks.faithful_now)
def tokens_do_not_say_what_the_photo_says(world: World, patch: pytest.MonkeyPatch) -> None:
    real = infra.judging.judge
    world.list(world.numbers)
    patch.setattr(infra.judging, "judge", lambda found: replace_score(real(found)))
    world.try_run()


def replace_score(fidelity: Any) -> Any:
    return replace(fidelity, score=0.5)


@about(checks.intent_stands)
def an_intent_is_taken_back_before_the_deletion(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.may_go = set(world.numbers[:2])
    last = disposition_items.c.object_version_id == world.numbers[2]
    when(world, 1, lambda: world.write(disposition_items.update().where(last).values(state="rescued")))
    world.try_run()


@about(checks.not_held)
def a_hold_comes_between_intent_and_deletion(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.may_go = set(world.numbers[:2])
    when(world, 1, lambda: world.hold(world.numbers[2]))
    world.try_run()


@about(checks.is_gone)
def the_store_says_done_and_did_nothing(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.may_go = set(world.numbers)
    world.store.answers = {1: "lie"}
    world.try_run()


@about(checks.is_gone)
def the_store_does_not_say_where_it_is(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.may_go = set(world.numbers)
    real = Stormy.versions_of
    world.store.answers = {0: "timeout"}

    def versions_of(key: str) -> Any:
        world.store.deaf = int(world.store.asked == 1)
        return real(world.store, key)

    world.store.versions_of = versions_of  # type: ignore[method-assign]
    world.try_run()


@about(checks.gone_by_our_hand)
def somebody_deletes_what_is_only_meant_to_go(world: World, patch: pytest.MonkeyPatch) -> None:
    world.list(world.numbers)
    world.may_go = set(world.numbers)
    with pytest.MonkeyPatch.context() as dying:
        crash_at(dying, "destroy.intended")
        with pytest.raises(Crash):
            world.run()
    row = world.row(world.numbers[0])
    assert not [one for one in rows(world.house, audit_anchors) if one.size > 10**6]
    MemoryStore.delete_version(world.store, MemoryStore.versions_of(world.store, row.key)[0])
    world.try_run()
    if world.states()[0] == "destroyed":
        world.wrong.append("called our own what went before its intent was anchored")
