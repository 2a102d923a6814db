"""The step that signs never fails a run: it tells what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import ExitCode
from infra.installation import Installation
from infra.tables import audit_checkpoints
from tasks import checkpoint
from tasks.summary import Anchored, NightSummary
from tests.infra.anchored import anchored_house, grow
from tests.servers.intruder import as_intruder


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    made = anchored_house(tmp_path, f"sqlite:///{tmp_path}/ledger.sqlite", "vault", "far")
    yield made
    made.ledger.close()


def signed(house: Installation) -> Anchored:
    return checkpoint.sign(house, reason="run_ended", role="operator")


def told(audit: Anchored) -> NightSummary:
    return NightSummary(
        run_id="r", collection="c", kind="night", night="n", compressor="x", compressed=1, audit=audit
    )


def test_all_is_well(house: Installation) -> None:
    came = signed(house)
    assert came == Anchored(signed=1, anchors=["vault", "far"])
    assert (told(came).message, told(came).exit_code) == ("1 compressed", ExitCode.OK)


def test_an_anchor_that_is_gone_is_told_and_fails_nothing(house: Installation, tmp_path: Path) -> None:
    (tmp_path / "far").rmdir()
    came = signed(house)
    assert (came.signed, came.anchors) == (1, ["vault"])
    assert "1 compressed; audit log NOT YET ANCHORED at far (There is no folder" in told(came).message
    assert told(came).exit_code == ExitCode.OK


def test_a_key_that_is_wrong_is_told_and_fails_nothing(house: Installation, tmp_path: Path) -> None:
    (tmp_path / "audit-key").write_text("no key")
    came = signed(house)
    assert came.signed is None
    assert "audit log NOT SIGNED, its new events are NOT YET ANCHORED: " in told(came).message
    assert (told(came).exit_code, came.contradiction) == (ExitCode.OK, False)


def test_a_log_that_was_changed_is_told_by_the_exit_code_too(house: Installation) -> None:
    signed(house)
    grow(house)
    with house.ledger.write() as connection:
        as_intruder(connection).execute(audit_checkpoints.update().values(root=b"x" * 32))
    came = signed(house)
    assert "NOT SIGNED" in (came.message or "")
    assert told(came).exit_code == ExitCode.INTEGRITY
    with house.ledger.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(audit_checkpoints)).scalar() == 1


def test_a_bug_is_told(house: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Callable[..., Any]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(checkpoint, "sign_checkpoint", broken)
    assert signed(house).problem == "unexpected, and our fault: RuntimeError: a bug"
