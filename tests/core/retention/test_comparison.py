"""What lets more go is found, one part at a time; and where nothing is found, nothing more goes, of any photo."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwd2bot_core.retention.comparison import loosened
from fwd2bot_core.retention.decide import decide, matches
from fwd2bot_core.retention.facts import LabelResult, ObjectFacts, Summary
from fwd2bot_core.retention.periods import midnight, not_before
from fwd2bot_core.retention.policy import Policy
from tests.core.retention.policies import (
    COMPRESSOR,
    OTHER,
    OTHER_PROBES,
    PLAIN,
    PROBES,
    clock,
    policy,
    rule,
    standing,
    verification,
)

LABELS = PLAIN["verification"]["labels"]
REVIEWED = PLAIN["disposition"]
SECOND = rule(name="second", collections=["line-2"])


def pilot(share: str) -> dict[str, str]:
    return {"stage": "pilot", "share": share}


LOOSER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # where, the old version's changes, the new version's
    ("rules.trays", {}, {"rules": [rule(retain="P6Y")]}),
    ("rules.trays", {}, {"rules": [rule(retain="P6Y11M")]}),
    ("rules.trays", {}, {"rules": [rule(retain="P2555D")]}),  # seven years have more days
    ("rules.trays", {}, {"rules": [rule(trigger="first_seen")]}),
    ("rules.trays", {}, {"rules": [rule(rounding="month")]}),
    ("rules.trays", {}, {"rules": [rule(rounding="day")]}),
    ("rules.trays", {}, {"rules": [rule(rounding="fiscal_year:04-01")]}),  # of a photo of January
    ("rules.trays", {"rules": [rule(rounding="month")]}, {"rules": [rule(rounding="fiscal_year:04-15")]}),
    ("rules.trays", {}, {"rules": [rule(keys="*")]}),
    ("rules.trays", {}, {"rules": [rule(keys="a*.jpg")]}),  # it cannot tell that these are fewer
    ("rules.trays", {}, {"rules": [rule(collections=["line-1", "line-2"])]}),
    ("rules.trays", {"rules": [rule(tags=["final"])]}, {}),
    ("rules.second", {}, {"rules": [rule(), SECOND]}),
    ("rules.second", {"rules": [rule(), rule(name="second", retain="P9Y")]}, {}),  # it was the longer one
    ("zone", {}, {"zone": "UTC"}),
    ("effective_from", {}, {"effective_from": "2027-03-31"}),
    ("earliest", {}, {"earliest": "2000-12-31"}),
    ("exempt.sample", {}, {"exempt": {"sample": "0.4 %", "tags": ["customer-claim"]}}),
    ("exempt.tags", {}, {"exempt": {"sample": "0.5 %", "tags": ["other"]}}),
    ("verification.compressor", {}, {"verification": verification(compressor=OTHER)}),
    ("verification.fidelity", {}, {"verification": verification(fidelity="0.94")}),
    ("verification.probes", {}, {"verification": verification(probes=OTHER_PROBES)}),
    ("verification.labels.questions", {}, {"verification": verification(labels=LABELS | {"questions": 499})}),
    (
        "verification.labels.accuracy",
        {},
        {"verification": verification(labels=LABELS | {"accuracy": "0.96"})},
    ),
    ("disposition.mode", {}, {"disposition": {"mode": "automatic", "grace": "P30D"}}),
    ("disposition.approvals", {}, {"disposition": REVIEWED | {"approvals": 1}}),
    ("disposition.grace", {}, {"disposition": REVIEWED | {"grace": "P29D"}}),
    ("disposition.grace", {}, {"disposition": REVIEWED | {"grace": "P1M"}}),  # February
    ("limits.objects", {}, {"limits": PLAIN["limits"] | {"objects": 20001}}),
    ("limits.percent", {}, {"limits": PLAIN["limits"] | {"percent": "3 %"}}),
    ("limits.bytes", {}, {"limits": PLAIN["limits"] | {"bytes": "501 GB"}}),
    ("rollout.stage", {"rollout": pilot("1 %")}, {}),
    ("rollout.stage", {"rollout": {"stage": "observe"}}, {"rollout": pilot("1 %")}),
    ("rollout.share", {"rollout": pilot("1 %")}, {"rollout": pilot("2 %")}),
]
NO_LOOSER: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"version": 2}),
    ({}, {"rules": [rule(retain="P8Y")]}),
    ({}, {"rules": [rule(retain="P7Y1D")]}),
    ({}, {"rules": [rule(retain="P2562D")]}),  # never fewer days than seven years have
    ({}, {"rules": [rule(), rule(name="longer", retain="P9Y")]}),
    ({}, {"rules": [rule(name="renamed")]}),
    ({}, {"rules": [rule(tags=["final"]), rule(name="rest")]}),
    ({"rules": [rule(rounding="day")]}, {"rules": [rule(rounding="fiscal_year:04-15")]}),
    ({"rules": [rule(rounding="month")]}, {}),
    ({"rules": [rule(), SECOND]}, {}),  # of line-2 nothing goes any more
    ({}, {"effective_from": "2030-01-01", "earliest": "2010-01-01"}),
    ({}, {"exempt": {"sample": "1 %", "tags": ["customer-claim", "other"]}}),
    ({}, {"verification": verification(fidelity="0.99", labels={"questions": 900, "accuracy": "0.99"})}),
    ({}, {"disposition": REVIEWED | {"approvals": 3, "grace": "P60D"}}),
    ({"disposition": {"mode": "automatic", "grace": "P30D"}}, {"disposition": REVIEWED | {"approvals": 1}}),
    ({}, {"limits": {"objects": 1, "percent": "1 %", "bytes": 1}}),
    ({}, {"rollout": pilot("100 %")}),
    ({"rollout": pilot("2 %")}, {"rollout": pilot("1 %")}),
    ({}, {"rollout": {"stage": "observe"}, "rules": [rule(retain="P1D")]}),  # nothing goes by it
]


@pytest.mark.parametrize(("where", "old", "new"), LOOSER)
def test_each_part_that_lets_more_go_is_found(where: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert {one.where for one in loosened(policy(**old), policy(**new))} == {where}


@pytest.mark.parametrize(("old", "new"), NO_LOOSER)
def test_what_lets_no_more_go_is_not_found(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert loosened(policy(**old), policy(**new)) == []


def test_every_field_of_a_policy_has_a_case_above() -> None:
    """A field of a later time must not be forgotten here; it counts as loosening until it is known."""
    looked_at = {where.split(".")[0] for where, _, _ in LOOSER}
    assert looked_at == set(Policy.model_fields) - {"id", "version"}


def test_without_a_version_in_force_everything_that_acts_lets_more_go() -> None:
    assert [one.where for one in loosened(None, policy())] == ["rollout"]
    assert [one.where for one in loosened(None, policy(rollout=pilot("1 %")))] == ["rollout"]
    assert loosened(None, policy(rollout={"stage": "observe"})) == []


def test_two_policies_are_not_compared() -> None:
    with pytest.raises(ValueError, match="two policies"):
        loosened(policy(), policy(id="other"))


ROUNDINGS = ["day", "month", "calendar_year", "fiscal_year:04-01", "fiscal_year:04-15"]
RULES = st.builds(
    rule,
    collections=st.sampled_from([["line-1"], ["line-1"], ["line-2"], ["line-1", "line-2"]]),
    keys=st.sampled_from(["*", "*", "*.jpg"]),
    tags=st.sampled_from([[], [], ["final"]]),
    trigger=st.sampled_from(["captured", "captured", "first_seen"]),
    retain=st.sampled_from(["P1Y", "P12M", "P365D", "P366D", "P1Y1D", "P1M", "P31D", "P2Y"]),
    rounding=st.sampled_from(ROUNDINGS),
)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "rules": st.lists(RULES, min_size=1, max_size=3).map(
        lambda drawn: [one | {"name": f"r{number}"} for number, one in enumerate(drawn)]
    ),
    "zone": st.sampled_from(["Asia/Tokyo", "UTC", "America/St_Johns"]),
    "effective_from": st.sampled_from(["2025-01-01", "2027-01-01"]),
    "earliest": st.sampled_from(["2001-01-01", "2026-01-01"]),
    "exempt": st.builds(
        lambda sample, tags: {"sample": sample, "tags": tags},
        st.sampled_from(["0", "20 %", "60 %"]),
        st.sampled_from([[], ["x"]]),
    ),
    "verification": st.builds(
        verification,
        fidelity=st.sampled_from(["0.9", "0.95"]),
        compressor=st.sampled_from([COMPRESSOR, OTHER]),
        labels=st.sampled_from([LABELS, LABELS | {"questions": 501}, LABELS | {"accuracy": "0.98"}]),
    ),
    "rollout": st.sampled_from([{"stage": "enforce"}, {"stage": "observe"}, pilot("30 %"), pilot("70 %")]),
}
BASE: dict[str, Any] = {
    "rules": [rule(keys="*", retain="P1Y", rounding="month", collections=["line-1", "line-2"])],
    "zone": "UTC",
    "effective_from": "2026-01-01",
}
TIMES = st.datetimes(datetime(2025, 11, 1), datetime(2027, 5, 1), timezones=st.just(UTC))
PASSED = {
    name: LabelResult(questions=500, right=495, at_least=0.97, passed=True) for name in (COMPRESSOR, OTHER)
}
photos = st.builds(
    ObjectFacts,
    id=st.just(1),
    collection=st.sampled_from(["line-1", "line-1", "line-2"]),
    key=st.sampled_from(["a.jpg", "c.png"]),
    identity=st.just("v:1"),
    first_seen_at=TIMES,
    content=st.sampled_from(["6" * 64, "a" * 64, "f" * 64, "f" * 16 + "1" * 48]),
    captured_at=TIMES,
    tags=st.sampled_from([frozenset(), frozenset(), frozenset({"final"}), frozenset({"x"})]),
    summaries=st.sampled_from([0.97, 0.97, 0.97, 0.92]).map(
        lambda score: dict.fromkeys(
            (COMPRESSOR, OTHER), Summary(codec="exact", fidelity=score, probes=PROBES)
        )
    ),
)


def first_moments(by: Policy, shown: ObjectFacts) -> set[datetime]:
    """Just when the periods of the rules that match a photo end, and when the policy begins."""
    ends = {
        not_before(at, one.retain, one.rounding, by.tz)
        for one in by.rules
        if matches(one, shown) and (at := shown.date(one.trigger)) is not None
    }
    return ends | {midnight(by.effective_from, by.tz)}


def two_of(part: str) -> st.SearchStrategy[tuple[str, Any, Any]]:
    return st.tuples(st.just(part), CHANGES[part], CHANGES[part])


PAIRS = st.sampled_from(sorted(CHANGES) + ["rules"] * 12).flatmap(two_of)


@settings(max_examples=800, deadline=None)
@given(pair=PAIRS, shown=st.lists(photos, min_size=6, max_size=10))
def test_where_nothing_is_found_nothing_goes_that_did_not(
    pair: tuple[str, Any, Any], shown: list[ObjectFacts]
) -> None:
    part, was, now_is = pair
    before, after = policy(**(BASE | {part: was})), policy(**(BASE | {part: now_is}))
    if loosened(before, after):
        return
    for each in shown:
        place = standing(
            collection=each.collection,
            labels={(name, "exact"): result for name, result in PASSED.items()},
            demonstration=dict.fromkeys(PASSED, False),
        )
        for now in first_moments(after, each):
            if decide(after, each, place, clock(now)).may_go:
                assert decide(before, each, place, clock(now)).may_go
