"""What would go, why not, and the token over what was shown."""

from __future__ import annotations

import pytest

from fwd2bot_core.errors import UsageError
from infra.checkpoints import sign_checkpoint
from infra.retention_tables import disposition_items
from tasks.destroy import execute
from tests.tasks.disposals import World


def test_a_dry_run_says_why_something_stays(world: World) -> None:
    world.list(world.numbers)
    world.hold(world.numbers[1])
    key = world.row(world.numbers[2]).key
    world.store.delete_version = None
    world.store._keys.pop(key)
    shown = execute(world.house, "list-1")
    assert [(line.goes, line.reason, line.detail[:4]) for line in shown.lines] == [
        (True, "", ""), (False, "policy", "hold"), (False, "missing", "memo"),
    ]  # fmt: skip


def test_a_token_is_of_items_decisions_policy_and_checkpoint(world: World) -> None:
    world.list(world.numbers)
    tokens = [execute(world.house, "list-1").token]
    world.hold(world.numbers[1])
    tokens.append(execute(world.house, "list-1").token)
    sign_checkpoint(world.house, reason="test")
    tokens.append(execute(world.house, "list-1").token)
    world.write(disposition_items.delete().where(disposition_items.c.object_version_id == world.numbers[2]))
    tokens.append(execute(world.house, "list-1").token)
    assert execute(world.house, "list-1").token == tokens[-1]
    assert len(set(tokens)) == 4
    for old in tokens[:-1]:
        with pytest.raises(UsageError, match="has changed"):
            execute(world.house, "list-1", token=old, dry_run=False)
