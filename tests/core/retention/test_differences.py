"""Two versions side by side, and one in sentences."""

from __future__ import annotations

from datetime import UTC, datetime

from fwd2bot_core.retention.differences import Difference, differences
from fwd2bot_core.retention.periods import Period
from fwd2bot_core.retention.wording import period, sentences, size
from tests.core.retention.policies import policy, rule

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_equal_policies_have_no_differences() -> None:
    assert differences(policy(), policy()) == []


def test_each_field_is_named_and_rules_are_found_by_name() -> None:
    new = policy(
        version=2,
        rules=[rule(name="safety", retain="P15Y"), rule(retain="P8Y", tags=["final"])],
        rollout={"stage": "pilot", "share": "5 %"},
        disposition={"mode": "automatic", "grace": "P30D"},
    )
    found = {one.where: one for one in differences(policy(), new)}
    assert found["rules.trays.retain"] == Difference("rules.trays.retain", "P7Y", "P8Y")
    assert found["rules.trays.select.tags"] == Difference("rules.trays.select.tags", "none", "final")
    assert found["rules.safety.retain"] == Difference("rules.safety.retain", None, "P15Y")
    assert found["disposition.approvals"] == Difference("disposition.approvals", "2", None)
    assert found["rollout.share"] == Difference("rollout.share", None, "0.05")
    assert set(found) >= {"version", "disposition.mode", "rollout.stage"}
    assert "disposition.grace" not in found


def test_a_policy_in_sentences() -> None:
    events = rule(
        name="service", trigger="event:end-of-service", retain="P1Y6M", rounding="fiscal_year:04-01", keys="*"
    )
    said = sentences(policy(rules=[rule(), events]), NOW)
    assert said[0] == (
        "trays: photos of line-1 whose key is like *.jpg stay for 7 years after the calendar year in which they were "
        "taken (Asia/Tokyo); of today, until 2034-01-01."
    )
    assert (
        "1 year and 6 months after the fiscal year (from 04-01) in which their event 'end-of-service'"
        in said[1]
    )
    assert "Where several rules match" in said[2]
    assert any("2 people approve them" in one for one in said)
    assert any("20,000 photos, 2 % of them, or 500 GB stops" in one for one in said)
    assert said[-1] == "Stage enforce: photos go from 2027-04-01."


def test_which_photos_a_rule_is_about_is_said() -> None:
    def which(**changes: object) -> str:
        return sentences(policy(rules=[rule(**changes)]), NOW)[0].partition(" stay for ")[0]

    assert which(keys="*") == "trays: photos of line-1"
    assert which(keys="*", tags=["final"]) == "trays: photos of line-1 that are tagged final"
    assert (
        which(tags=["a", "b"])
        == "trays: photos of line-1 whose key is like *.jpg and that are tagged a and b"
    )


def test_what_nobody_reviews_and_what_only_observes_is_said() -> None:
    automatic = {"mode": "automatic", "grace": "P1M"}
    said = sentences(policy(disposition=automatic, rollout={"stage": "observe"}), NOW)
    assert "nobody reviews them" in said[-3]
    assert said[-1].endswith("nothing goes.")
    pilot = sentences(policy(rollout={"stage": "pilot", "share": "5 %"}), NOW)
    assert pilot[-1].startswith("Stage pilot: of 5 % of the photos")


def test_periods_and_sizes_in_words() -> None:
    assert period(Period.parse("P1Y0M2W1D")) == "1 year, 2 weeks and 1 day"
    assert [size(count) for count in (1, 1500, 2000, 5 * 10**12)] == [
        "1 bytes",
        "1,500 bytes",
        "2 KB",
        "5 TB",
    ]
