"""A small world in which photos may be erased: three, the second one twice under another key, people who may."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

from fwd2bot_core.retention.erasure import statement
from fwd2bot_core.retention.roles import Role
from tasks import erase as erasing
from tasks import erase_stores, erase_tokens, people
from tasks.erase import Outcome, erase
from tasks.erasure import Erasure, approve, plan
from tasks.verify import verify
from tests.houses import night, tiny_jpeg
from tests.tasks.disposals import Template, World
from tests.tasks.signers import Signer
from tests.tasks.stormy import Crash


def furnish(world: World) -> World:
    """Another key with the bytes of ``1.jpg``, Nika of compliance, and no watch over deletions by lists."""
    world.store.create("1-again.jpg", tiny_jpeg(1))
    night(world.house)
    people.register(world.house.ledger, "Nika", Signer().public, [Role.COMPLIANCE])
    world.store.before = lambda info: None
    return world


class Place(Template):
    """Such a world, made once and put back for each test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        made = furnish(super().world())
        made.house.ledger.close()
        self._keys = {key: list(held) for key, held in made.store._keys.items()}
        shutil.rmtree(self._saved)
        shutil.copytree(self._root, self._saved)

    def world(self) -> World:
        made = super().world()
        made.store.before = lambda info: None
        return made


def sound(world: World) -> bool:
    """Whether ``verify`` finds nothing, but for the label check and the dates that these worlds make up."""
    found = verify(world.house.ledger, world.house.archive).findings
    return [one for one in found if one.what not in ("label check", "moments")] == []


def approved(world: World, *images: str) -> Erasure:
    """Planned by Nika, signed by Ann."""
    made = plan(world.house, "Nika", "request 17", images)
    name, signer = world.approvers[0]
    return approve(
        world.house, made.id, name, "seen", signer.sign(statement(made.id, made.sha256, name, "seen"))
    )


def carried_out(world: World, erasure_id: str) -> Outcome:
    """A dry run, and then what it showed."""
    shown = erase(world.house, erasure_id)
    return erase(world.house, erasure_id, token=shown.token, dry_run=False)


def crash_at(monkeypatch: pytest.MonkeyPatch, step: str, nth: int = 1) -> None:
    """The next run dies when it reaches this step for the n-th time; the one after does not."""
    left = itertools.count(1)

    def reach(name: str) -> None:
        if name == step and next(left) == nth:
            raise Crash

    for module in (erasing, erase_tokens, erase_stores):
        monkeypatch.setattr(module, "reach", reach)
