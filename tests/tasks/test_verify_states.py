"""The newest state list is read again with everything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from fwd2bot_core.audit import state_list
from fwd2bot_core.audit.states import Line, State
from fwd2bot_core.errors import StoreUnreachable
from infra.installation import Installation
from infra.objects.file import FileStore
from infra.tables import audit_states
from tasks import state_proofs
from tasks.states import take_state
from tasks.verify import Finding, verify
from tasks.verify_states import check_newest_list
from tests.houses import night
from tests.servers.intruder import as_intruder
from tests.tasks.steps import rows


@pytest.fixture
def installation(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """A list of twenty images in parts of eight."""
    for module in (state_list, state_proofs):
        monkeypatch.setattr(module, "PART", 8)
    photos(20)
    made = house()
    night(made)
    take_state(made)
    return made


def found(house: Installation) -> list[Finding]:
    return list(verify(house.ledger, house.archive).findings)


def alter(house: Installation, statement: sa.Update | sa.Delete) -> None:
    with house.ledger.write() as connection:
        assert as_intruder(connection).execute(statement).rowcount > 0


def test_the_newest_list_is_read_again(installation: Installation) -> None:
    (row,) = rows(installation, audit_states)
    manifest = state_list.Manifest.decode(installation.archive.read(row.path))
    part = manifest.parts[1]
    body = installation.archive.read(part.path)
    installation.archive.replace(part.path, body[:-1] + bytes([body[-1] ^ 1]))
    (finding,) = found(installation)
    assert (finding.what, finding.name) == ("states", row.path)
    assert part.path in finding.problem
    installation.archive.replace(part.path, body)
    alter(installation, audit_states.update().values(rows=19))
    (finding,) = found(installation)
    assert finding.what == "ledger"
    assert finding.problem.endswith("says rows 20, the row in the table says 19")
    alter(installation, audit_states.update().values(rows=20))
    installation.archive.delete_version(installation.archive.stat(row.path))
    assert [finding.what for finding in found(installation)] == ["states"]


def test_a_list_out_of_order_is_found_though_its_hashes_agree(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes an unsorted list could hide a line from whoever looks for it."""
    monkeypatch.setattr("tasks.states.sorted_records", lambda records, width: iter(sorted(records)[::-1]))
    taken = take_state(installation)
    (finding,) = check_newest_list(installation.ledger, installation.archive)
    assert (finding.what, finding.name) == ("states", taken.path)
    assert "not sorted" in finding.problem


def test_a_list_with_other_counts_is_found_by_the_trail(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one_less(data: bytes) -> Line:
        line = unpack(data)
        return Line(line.ref, 0, State.NEW)

    unpack = Line.unpack
    monkeypatch.setattr(Line, "unpack", one_less)
    taken = take_state(installation)
    assert found(installation) == [
        Finding(
            "facts",
            f"event {taken.seq}",
            f"its list counts 0 facts in the first {taken.size} events, and they hold 20",
        )
    ]


def test_a_store_that_cannot_be_asked_says_nothing(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> bytes:
        raise StoreUnreachable("down")

    monkeypatch.setattr(FileStore, "read", down)
    with pytest.raises(StoreUnreachable):
        list(check_newest_list(installation.ledger, installation.archive))
