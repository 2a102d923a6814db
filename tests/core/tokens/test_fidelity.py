"""From findings to one score."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.tokens.fidelity import (
    AGGREGATES,
    Fidelity,
    Finding,
    judge,
    of_all_crops,
    of_probe,
    probes_sha256,
)

DISTANCES = st.lists(st.floats(0, 1), min_size=1, max_size=6).map(tuple)
FINDINGS = st.lists(st.builds(Finding, st.text(), st.text(), st.booleans(), DISTANCES), min_size=1)


def finding(agrees: bool, *distances: float, question: str = "what is it ?") -> Finding:
    return Finding(question, "bag", agrees, distances)


def test_the_same_words_with_the_same_certainty_are_1_and_nothing_in_common_is_0() -> None:
    assert judge([finding(True, 0.0, 0.0), finding(True, 0.0)]) == Fidelity(1.0, 0)
    assert judge([finding(False, 1.0, 0.2)]) == Fidelity(0.0, 0)


def test_a_probe_is_half_its_words_and_half_its_least_faithful_word() -> None:
    assert of_probe(finding(True, 0.1, 0.4, 0.0)) == pytest.approx(0.8)
    assert of_probe(finding(False, 0.1, 0.4, 0.0)) == pytest.approx(0.3)


def test_the_score_is_the_mean_and_the_worst_probe_is_named() -> None:
    found = [finding(True, 0.2), finding(True, 0.6), finding(False, 0.6)]
    assert judge(found) == Fidelity(pytest.approx((0.9 + 0.7 + 0.2) / 3), 2)
    assert judge(found[:2]).worst == 1


@given(FINDINGS)
def test_every_aggregate_is_a_share_and_no_better_than_the_best_probe(found: list[Finding]) -> None:
    for aggregate in AGGREGATES.values():
        assert 0 <= aggregate(found) <= 1
    assert min(map(of_probe, found)) - 1e-9 <= judge(found).score <= max(map(of_probe, found)) + 1e-9
    assert AGGREGATES["worst"](found) == of_probe(found[judge(found).worst])


@given(FINDINGS, st.data())
def test_less_agreement_never_scores_higher(found: list[Finding], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(found) - 1))
    worse = Finding(found[at].question, "", False, (*found[at].distances, data.draw(st.floats(0, 1))))
    assert judge([*found[:at], worse, *found[at + 1 :]]).score <= judge(found).score + 1e-9


def test_what_is_no_number_counts_as_lost() -> None:
    assert of_probe(finding(False, 0.1, math.nan)) == 0.0


def test_nothing_asked_is_nothing_known() -> None:
    with pytest.raises(ValueError, match="no probe was asked"):
        judge([])
    with pytest.raises(ValueError, match="compared at no position"):
        finding(True)


def test_a_set_of_probes_is_named_by_its_questions_in_their_order() -> None:
    names = [probes_sha256(q) for q in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], [])]
    assert len(set(names)) == 5
    assert (
        names[0] == "3554d2b8a1e34099053865de8576d1460b807430ec8c6b85315c9607ba93d308"
    )  # stands in audit logs
    assert probes_sha256(("a", "b")) == names[0]


def test_of_several_crops_the_worst_speaks_and_all_count() -> None:
    looks = [finding(True, 0.0), finding(False, 0.6), finding(True, 0.2)]
    found = of_all_crops(looks)
    assert (found.crop, [other.crop for other in found.others]) == (1, [2, 0])
    assert of_probe(found) == pytest.approx((1.0 + 0.2 + 0.9) / 3)
    assert judge([finding(True, 0.0), found]) == Fidelity(pytest.approx((1 + 0.7) / 2), 1)
    assert AGGREGATES["agreement"]([finding(True, 0.0), found]) == 3 / 4
    assert of_all_crops(looks[:1]) == looks[0]
