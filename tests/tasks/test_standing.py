"""Of a collection's label checks the last one counts, for each kind of tokens."""

from __future__ import annotations

from fwd2bot_core.retention.facts import LabelResult
from infra.tables import label_checks
from tasks.standing import standing
from tests.houses import COLLECTION
from tests.tasks.disposals import World
from tests.tasks.steps import rows


def test_the_last_check_of_each_codec_counts(world: World) -> None:
    first = {
        name: value for name, value in rows(world.house, label_checks)[0]._mapping.items() if name != "id"
    }
    world.write(
        label_checks.insert().values(**first | {"passed": False, "right_answers": 10}),
        label_checks.insert().values(**first | {"codec": "int8"}),
    )
    with world.house.ledger.read() as connection:
        found = standing(world.house, connection, COLLECTION)
    fingerprint = world.house.spec(COLLECTION).fingerprint
    assert found.labels == {
        (fingerprint, "exact"): LabelResult(questions=100, right=10, at_least=0.95, passed=False),
        (fingerprint, "int8"): LabelResult(questions=100, right=100, at_least=0.95, passed=True),
    }
    assert found.demonstration == {fingerprint: False}
    assert found.originals == world.store.uri
