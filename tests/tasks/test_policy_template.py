"""A first policy is one: it can be read, knows its compressor and questions, and lets nothing go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fwd2bot_core.retention.decision import Condition
from fwd2bot_core.retention.policy_file import read
from infra.installation import Installation
from infra.tables import probe_sets
from tasks.policy_template import template
from tasks.simulation import simulate
from tests.houses import COLLECTION, night
from tests.tasks.steps import rows


def test_a_first_policy_names_what_a_night_uses(
    house: Callable[..., Installation], photos: Callable[..., list[Path]]
) -> None:
    photos(3)
    installation = house(**{f"collections.{COLLECTION}.fidelity": {"sample": 1.0}})
    night(installation)
    document = read(template(installation, COLLECTION).encode())
    wanted = document.policy.verification
    assert wanted.compressor == installation.spec(COLLECTION).fingerprint
    assert [row.sha256 for row in rows(installation, probe_sets)] == [wanted.probes]
    found = simulate(installation, document)
    assert found.stopped[Condition.TOKENS].all.objects == 0
    assert found.stopped[Condition.ROLLOUT].all.objects == 3
    assert found.may_go.now.objects == 0


def test_odd_names_of_collections_are_quoted(house: Callable[..., Installation]) -> None:
    installation = house(**{'collections."7"': {"originals": "photos"}})
    policy = read(template(installation, "7").encode()).policy
    assert (policy.id, policy.collections) == ("7-originals", ("7",))
