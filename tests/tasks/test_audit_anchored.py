"""The events that an anchor keeps the hashes of, one by one; tiles that lie are not believed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.errors import IntegrityError
from infra.anchors import anchors_of
from infra.audit_tree import root_at
from infra.installation import Installation
from infra.tables import audit_events
from tasks.audit_anchored import Run, differing
from tasks.audit_verify import verify_log
from tests.tasks.audit_logs import (
    altered,
    bodies,
    execute,
    named,
    rewrite,
    verdicts,
)

M, U, N = Verdict.MODIFIED, Verdict.UNREADABLE, Verdict.NOT_YET_ANCHORED
Build = Callable[..., Installation]


def test_damaged_tiles_are_unreadable_and_the_window_is_named_instead(
    log: Installation, tmp_path: Path
) -> None:
    lied = bodies(log)
    lied[333] = altered(lied[333], reason_text="a lie")
    rewrite(log, lied)
    assert verdicts(log) == {(M, 333)}
    for tile in (tmp_path / "vault/tile/0").rglob("*"):
        if tile.is_file():
            tile.write_bytes(tile.read_bytes()[:-32] + bytes(32))
    found = verify_log(log)
    assert named(found) == {(U, None), (M, 300)}
    window = next(one for one in found.findings if one.verdict is M)
    assert (window.until, window.somewhere) == (499, True)


def test_runs_of_differing_events_are_named_from_first_to_last(log: Installation) -> None:
    (anchor,) = anchors_of(log.settings)
    with log.ledger.read() as connection:
        root = root_at(connection, 600)
    assert differing(log.ledger, anchor, 600, root, 0, 600) == []
    lied = bodies(log)
    for seq in (0, 255, 256, 599):
        lied[seq] = altered(lied[seq], reason_text="a lie")
    rewrite(log, lied)
    execute(log, audit_events.delete().where(audit_events.c.seq == 7))
    found = differing(log.ledger, anchor, 600, root, 0, 600)
    assert found == [Run(0, 0), Run(7, 7), Run(255, 256), Run(599, 599)]
    assert differing(log.ledger, anchor, 600, root, 8, 300) == [Run(255, 256)]
    with pytest.raises(IntegrityError, match="do not give the checkpoint of 600 events"):
        differing(log.ledger, anchor, 600, bytes(32), 300, 600)
