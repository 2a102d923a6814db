"""What the console's tests share: one archive with people, made once for the tests of a file that only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from infra.settings import load_settings
from tasks import people
from tests.houses import lay_out, night, write_settings
from tests.tasks.dispositions import PEOPLE, Site, furnished, serious
from tests.tasks.signers import Signer

HOSTILE = "<script>alert(1)<.script>.jpg"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Five photos, one of them broken and one with a hostile name, after one night; an auditor and an operator."""
    root = tmp_path_factory.mktemp("archive")
    lay_out(root / "photos", 3)
    (root / "photos" / "broken.jpg").write_bytes(b"broken")
    (root / "photos" / "0002.jpg").rename(root / "photos" / HOSTILE)
    house = Installation(load_settings(write_settings(root / "fwd2bot.toml")))
    night(house)
    for name, role in (("Ivo", Role.AUDITOR), ("Oda", Role.OPERATOR)):
        people.register(house.ledger, name, Signer().public, [role])
    yield house
    house.ledger.close()


@pytest.fixture
def site(house: Callable[..., Installation], monkeypatch: pytest.MonkeyPatch) -> Site:
    """Four photos that may go, and everybody of ``PEOPLE``."""
    serious(monkeypatch)
    assert "Nika" in PEOPLE
    return furnished(house, 4)


@pytest.fixture
def registered() -> Callable[[Installation, str], None]:
    """Somebody who may only look."""

    def register(house: Installation, name: str) -> None:
        people.register(house.ledger, name, Signer().public, [Role.AUDITOR])

    return register
