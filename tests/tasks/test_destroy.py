"""Originals go when everything says so, and then it is certain; else they stay, and it is said why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import BlockedByPolicy, UsageError
from infra.retention_tables import certificates, disposition_lists
from tasks import destroy
from tasks.destroy import execute
from tasks.verify import verify
from tests.tasks.disposals import Template, World, make_world
from tests.tasks.steps import events, everything, rows


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        yield Template(tmp_path_factory.mktemp("destroy"), patch)


@pytest.fixture
def world(template: Template) -> Iterator[World]:
    made = template.world()
    made.may_go = set(made.numbers)
    yield made
    made.house.ledger.close()


def wrong(world: World) -> list[str]:
    """What the scrub finds, but that label check and capture dates were only written into the tables."""
    found = verify(world.house.ledger, world.house.archive).findings
    return [str(one) for one in found if one.what not in ("label check", "moments")]


def test_what_may_go_goes_on_each_database(
    tmp_path: Path, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(tmp_path / "w", ledger_url, monkeypatch)
    world.may_go = set(world.numbers)
    world.list(world.numbers)
    done = world.run()
    assert (done.destroyed, done.kept, done.unknown, done.waiting, done.done) == (3, 0, 0, {}, True)
    assert (world.states(), world.violations()) == (["destroyed"] * 3, [])
    assert rows(world.house, disposition_lists)[0].state == "done"
    assert wrong(world) == []
    world.house.ledger.close()


def test_a_dry_run_measures_and_writes_nothing(world: World) -> None:
    world.list(world.numbers)
    before = everything(world.house)
    shown = execute(world.house, "list-1")
    assert everything(world.house) == before
    assert world.store.asked == 0
    assert [(line.goes, line.fidelity) for line in shown.lines] == [(True, 1_000_000)] * 3


@pytest.mark.parametrize("token", [None, "", "0" * 32])
def test_nothing_goes_without_the_token_of_what_is_there(world: World, token: str | None) -> None:
    world.list(world.numbers)
    with pytest.raises(UsageError, match="token"):
        execute(world.house, "list-1", token=token, dry_run=False)
    assert all(map(world.present, world.numbers))


def test_a_list_that_nobody_made(world: World) -> None:
    with pytest.raises(UsageError, match="no disposition list 'x'"):
        execute(world.house, "x")


def test_a_list_that_must_not_be_carried_out(world: World) -> None:
    world.list(world.numbers, signed=1)
    for dry_run in (True, False):
        with pytest.raises(BlockedByPolicy, match="has 1 approvals that count, and needs 2"):
            execute(world.house, "list-1", token="x", dry_run=dry_run)
    assert world.states() == ["listed"] * 3


def test_each_end_is_an_event_that_names_its_object(world: World) -> None:
    world.list(world.numbers)
    shown = execute(world.house, "list-1")
    world.store._keys[world.row(world.numbers[1]).key][0] = world.store._keys["0.jpg"][0]
    world.store.answers = {0: "forbidden"}
    execute(world.house, "list-1", token=shown.token, dry_run=False)
    assert world.states() == ["blocked", "missing", "destroyed"]
    said = [
        (e["type"], e["subject"]["object_version"]) for e in events(world.house) if "destruction" in e["type"]
    ]
    assert sorted(said, key=lambda one: one[1]) == [
        ("destruction.intended", 1), ("destruction.withdrawn", 1), ("destruction.missing", 2),
        ("destruction.intended", 3), ("destruction.confirmed", 3),
    ]  # fmt: skip
    intent = events(world.house, "destruction.intended")[0]
    assert intent["after"]["fidelity_millionths"] == 1_000_000
    assert len(intent["after"]["approvals"]) == 2
    assert "0.jpg" not in str(intent)
    assert world.row(1).content_sha256 not in str(intent)
    assert wrong(world) == []


def test_many_go_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destroy, "BATCH", 2)
    monkeypatch.setattr(destroy, "LOOKED_AT", 2)
    world.list(world.numbers)
    seen: list[tuple[int, int]] = []
    shown = execute(world.house, "list-1", progress=lambda *at: seen.append(at))
    execute(world.house, "list-1", token=shown.token, dry_run=False, progress=lambda *at: seen.append(at))
    assert world.states() == ["destroyed"] * 3
    assert seen == [(2, 3), (3, 3)] * 2
    types = [e["type"] for e in events(world.house) if "destruction" in e["type"]]
    assert types == ["destruction.intended"] * 2 + ["destruction.confirmed"] * 2 + [
        "destruction.intended", "destruction.confirmed",
    ]  # fmt: skip


def test_a_store_that_does_not_answer_decides_nothing(world: World) -> None:
    world.list(world.numbers)
    shown = execute(world.house, "list-1")
    world.store.deaf = 1
    done = execute(world.house, "list-1", token=shown.token, dry_run=False)
    assert (done.destroyed, list(done.waiting.values()), done.done) == (2, ["no answer"], False)
    assert world.states() == ["listed", "destroyed", "destroyed"]
    assert world.run().done


def test_an_item_that_another_run_finished_is_left_alone(world: World) -> None:
    """Two runs at once: the one that is slower finds what the quicker one wrote, and writes nothing."""
    world.list(world.numbers)
    shown = execute(world.house, "list-1")
    real, left = type(world.store).versions_of, [1]

    def versions_of(key: str) -> object:
        if world.store.asked == 3 and left:
            left.pop()
            for _ in range(2):
                world.try_run()
        return real(world.store, key)

    world.store.versions_of = versions_of
    execute(world.house, "list-1", token=shown.token, dry_run=False)
    assert (world.states(), world.violations()) == (["destroyed"] * 3, [])
    with world.house.ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(certificates)).scalar_one() == 3
