"""One photo that may go, and each single thing that keeps it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit.canonical import canonical
from fwd2bot_core.retention import drawing
from fwd2bot_core.retention.decide import decide
from fwd2bot_core.retention.decision import Condition, Decision, failed, own
from fwd2bot_core.retention.facts import Clock, Hold, LabelResult, ObjectFacts, Standing, Summary
from fwd2bot_core.retention.policy import Policy
from tests.core.retention.policies import (
    COMPRESSOR,
    NOW,
    OTHER,
    OTHER_PROBES,
    PASSED,
    PROBES,
    clock,
    photo,
    policy,
    rule,
    standing,
)

ENDS = datetime(2033, 12, 31, 15, tzinfo=UTC)  # taken in 2026, seven years after its end, in Tokyo


def keeps(
    by: Policy | None = None,
    of: ObjectFacts | None = None,
    there: Standing | None = None,
    at: Clock | None = None,
) -> set[str]:
    """The conditions that keep it."""
    decision = decide(by or policy(), of or photo(), there or standing(), at or clock())
    assert decision.may_go == (not decision.mask)
    return {str(condition) for condition in failed(decision.mask)}


def summary(**changes: Any) -> dict[str, Summary]:
    return {COMPRESSOR: Summary(**({"codec": "exact", "fidelity": 0.98, "probes": PROBES} | changes))}


def checked(**changes: Any) -> Standing:
    plain: dict[str, Any] = {"questions": 500, "right": 495, "at_least": 0.97, "passed": True}
    return standing(labels={(COMPRESSOR, "exact"): LabelResult(**(plain | changes))})


def test_the_plain_photo_may_go() -> None:
    assert keeps() == set()


@pytest.mark.parametrize(
    ("changes", "kept_by"),
    [
        ({"key": "tray.png"}, {"covered", "dated", "period"}),
        ({"key": "tray.jpg.bak"}, {"covered", "dated", "period"}),
        ({"key": "TRAY.JPG"}, {"covered", "dated", "period"}),
        ({"superseded": True, "identity": "e:1"}, {"present"}),
        ({"superseded": True}, set()),  # a versioned store keeps it
        ({"identity": "v:1!s512+9=9"}, {"store"}),  # in a container with others
        ({"destroyed": True}, {"present"}),
        ({"captured_at": None}, {"dated", "period"}),
        ({"captured_at": datetime(1980, 1, 1, tzinfo=UTC)}, {"dated"}),  # a camera's unset clock
        ({"captured_at": NOW + timedelta(days=1)}, {"period"}),
        ({"holds": (Hold(name="a"), Hold(name="b", confidential=True))}, {"hold"}),
        ({"tags": frozenset({"disputed"})}, {"kept"}),
        ({"tags": frozenset({"reject"})}, {"kept"}),
        ({"tags": frozenset({"customer-claim"})}, {"kept"}),
        ({"tags": frozenset({"final"})}, set()),
        ({"content": None}, {"sample"}),
        ({"content": "0" * 64}, {"sample"}),
        ({"summaries": {}}, {"tokens", "fidelity", "labels"}),
        ({"summaries": {OTHER: Summary(codec="exact", fidelity=1.0, probes=PROBES)}}, {"tokens", "fidelity", "labels"}),
        ({"summaries": summary(fidelity=None)}, {"fidelity"}),
        ({"summaries": summary(fidelity=0.949)}, {"fidelity"}),
        ({"summaries": summary(fidelity=0.95)}, set()),
        ({"summaries": summary(fidelity=float("nan"))}, {"fidelity"}),
        ({"summaries": summary(fidelity=1.1)}, {"fidelity"}),
        ({"summaries": summary(probes=OTHER_PROBES)}, {"fidelity"}),
        ({"summaries": summary(codec="bits2")}, {"labels"}),
    ],
)  # fmt: skip
def test_what_is_known_of_the_photo(changes: dict[str, Any], kept_by: set[str]) -> None:
    assert keeps(of=photo(**changes)) == kept_by


@pytest.mark.parametrize(
    ("there", "kept_by"),
    [
        (standing(labels={}), {"labels"}),
        (checked(questions=499), {"labels"}),
        (checked(passed=None, at_least=None), {"labels"}),
        (checked(passed=False), {"labels"}),
        (checked(at_least=0.96), {"labels"}),
        (standing(labels={(OTHER, "exact"): PASSED}), {"labels"}),
        (standing(demonstration={}), {"demonstration"}),
        (standing(demonstration={COMPRESSOR: True}), {"demonstration"}),
        (standing(originals="file:///photos"), {"store"}),
        (standing(originals=""), {"store"}),
    ],
)
def test_what_is_known_of_the_collection(there: Standing, kept_by: set[str]) -> None:
    assert keeps(there=there) == kept_by


@pytest.mark.parametrize(
    ("by", "kept_by"),
    [
        (policy(effective_from="2035-06-02"), {"effective"}),
        (policy(effective_from="2035-06-01"), set()),  # the day begins in Tokyo
        (policy(rollout={"stage": "observe"}), {"rollout"}),
        (policy(rollout={"stage": "pilot", "share": "50 %"}), {"rollout"}),
        (policy(rollout={"stage": "pilot", "share": "60 %"}), set()),
        (policy(exempt={"sample": "60 %"}), {"sample"}),
        (policy(exempt={"sample": "0"}), set()),
        (policy(rules=[rule(tags=["final"])]), {"covered", "dated", "period"}),
        (policy(rules=[rule(collections=["line-2"])]), {"covered", "dated", "period"}),
        (policy(rules=[rule(), rule(name="long", retain="P9Y")]), {"period"}),
        (policy(rules=[rule(), rule(name="event", trigger="event:end")]), {"dated", "period"}),
        (policy(rules=[rule(), rule(name="elsewhere", retain="P99Y", keys="x*")]), set()),
    ],
)
def test_what_the_policy_says(by: Policy, kept_by: set[str]) -> None:
    assert keeps(by) == kept_by


def test_a_doubted_clock_keeps_everything() -> None:
    assert keeps(at=clock(doubt="it went back by 2 years")) == {"clock"}


def test_it_may_go_from_one_microsecond_to_the_next() -> None:
    assert keeps(at=clock(ENDS)) == set()
    assert keeps(at=clock(ENDS - timedelta(microseconds=1))) == {"period"}


def test_the_longest_rule_wins_also_by_an_event() -> None:
    rules = [rule(), rule(name="service", trigger="event:end-of-service", retain="P1Y")]
    by, of = policy(rules=rules), photo(dates={"end-of-service": datetime(2033, 6, 1, tzinfo=UTC)})
    later = datetime(2034, 12, 31, 15, tzinfo=UTC)
    assert keeps(by, of, at=clock(later - timedelta(microseconds=1))) == {"period"}
    assert keeps(by, of, at=clock(later)) == set()


def test_a_key_pattern_knows_stars_and_question_marks_only() -> None:
    def covers(pattern: str, key: str) -> bool:
        return "covered" not in keeps(policy(rules=[rule(keys=pattern)]), photo(key=key))

    assert covers("line-1/*.jpg", "line-1/2026/a.jpg")  # a star crosses slashes
    assert covers("l?ne/[1]/*", "line/[1]/a\nb.jpg")
    assert not covers("l?ne/[1]/*", "line/1/a.jpg")
    assert not covers("a", "ab")
    assert not covers("*.jpg", "a.JPG")


def test_the_standing_of_another_collection_is_no_answer() -> None:
    with pytest.raises(ValueError, match="says nothing of 'line-1'"):
        keeps(there=standing(collection="line-2"))


def test_every_condition_is_told_with_what_was_found_and_required() -> None:
    held = photo(holds=(Hold(name="case-7"), Hold(name="secret", confidential=True)))
    decision = decide(policy(), held, standing(), clock())
    told = {reason.condition: reason for reason in decision.reasons}
    assert set(told) == set(Condition)
    assert all(reason.value and reason.required for reason in decision.reasons)
    assert told[Condition.HOLD].value == "case-7, 1 confidential"
    assert told[Condition.PERIOD].value == "P7Y by calendar_year ends 2033-12-31 15:00:00Z (rule trays)"
    assert canonical(decision.as_json())  # fit for the audit log: no fractions
    assert not decision.may_go
    assert not decision.due


def test_a_decision_that_lacks_a_condition_lets_nothing_go() -> None:
    whole = decide(policy(), photo(), standing(), clock())
    assert whole.may_go
    for condition in Condition:
        fewer = tuple(reason for reason in whole.reasons if reason.condition != condition)
        assert not Decision(whole.object_version_id, fewer).may_go


def test_due_is_about_the_photo_alone() -> None:
    assert decide(policy(rollout={"stage": "observe"}), photo(), standing(), clock()).due


def test_what_follows_from_another_failure_is_no_reason_of_its_own() -> None:
    missing = failed(decide(policy(), photo(summaries={}, captured_at=None), standing(), clock()).mask)
    assert own(missing) == {Condition.TOKENS, Condition.DATED}


@given(
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.decimals(0, 1, places=6),
    st.decimals(0, 1, places=6),
)
def test_a_larger_share_only_adds_photos(content: str, one: Decimal, other: Decimal) -> None:
    for drawn in (drawing.in_sample, drawing.in_pilot):
        assert drawn(content, min(one, other)) <= drawn(content, max(one, other))
        assert drawn(content, Decimal(1))
        assert not drawn(content, Decimal(0))


def test_shares_are_shares_and_sample_and_pilot_are_drawn_apart() -> None:
    import hashlib

    contents = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(4000)]
    share = Decimal("0.25")
    sample, pilot = (
        [drawn(one, share) for one in contents] for drawn in (drawing.in_sample, drawing.in_pilot)
    )
    assert 900 < sum(sample) < 1100
    assert 900 < sum(pilot) < 1100
    assert 200 < sum(a and b for a, b in zip(sample, pilot, strict=True)) < 300


def test_rounding_of_shares_keeps_more_and_pilots_fewer() -> None:
    third = Decimal(1) / 3
    assert drawing.sample_bound(third) == f"{16**16 // 3 + 1:016x}"
    assert drawing.pilot_bound(third) == f"{16**16 // 3:016x}"
