"""Which object versions are meant: every version of a key, contents by their hash, keys by a pattern."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from fwd2bot_core.errors import NotInArchive, UsageError
from infra.database import open_ledger
from infra.tables import object_versions
from tasks.members import matching, named
from tests.core.retention.policies import photo
from tests.infra.retention_ledger import furnish, put

KEYS = {1: "a/1.jpg", 2: "a/1.jpg", 3: "a/2.jpg", 4: "b[1].jpg", 5: "A/1.jpg"}


@pytest.fixture
def connection(ledger_url: str) -> Iterator[sa.Connection]:
    opened = open_ledger(ledger_url)
    with opened.write() as made:
        furnish(made)
        for number, key in KEYS.items():
            put(made, photo(id=number, key=key, identity=f"v:{number}", content=f"{number:x}" * 64))
        put(made, photo(id=6, key="a/1.jpg", identity="v:6", collection="line-2", content="6" * 64))
        yield made
    opened.close()


def destroy(connection: sa.Connection, number: int) -> None:
    mine = object_versions.c.id == number
    connection.execute(object_versions.update().where(mine).values(destroyed_seq=1))


def test_a_key_means_all_its_versions_that_are_not_destroyed(connection: sa.Connection) -> None:
    assert set(named(connection, ["a/1.jpg"])) == {1, 2, 6}
    assert named(connection, ["a/1.jpg", "3" * 12], "line-1") == {1: "a/1.jpg", 2: "a/1.jpg", 3: "3" * 12}
    destroy(connection, 1)
    assert set(named(connection, ["a/1.jpg"], "line-1")) == {2}
    destroy(connection, 2)
    with pytest.raises(NotInArchive, match="is destroyed"):
        named(connection, ["a/2.jpg", "a/1.jpg"], "line-1")
    with pytest.raises(NotInArchive, match="nothing is known"):
        named(connection, ["a/9.jpg"])


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [("a/*", [1, 2, 3]), ("?/1.jpg", [1, 2, 5]), ("b[1]*", [4]), ("*", [1, 2, 3, 4, 5])],
)
def test_a_pattern_means_whole_keys_of_one_collection(
    connection: sa.Connection, pattern: str, numbers: list[int]
) -> None:
    assert matching(connection, pattern, "line-1") == numbers


def test_a_pattern_that_means_nothing_is_refused(connection: sa.Connection) -> None:
    with pytest.raises(NotInArchive, match="no key"):
        matching(connection, "z*", "line-1")
    with pytest.raises(UsageError, match="no collection"):
        matching(connection, "*", "line-9")
    destroy(connection, 4)
    with pytest.raises(NotInArchive, match="no key"):
        matching(connection, "b*", "line-1")
