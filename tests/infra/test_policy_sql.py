"""SQL and its pure twin decide the same, of any photos, under any policy, at any time, on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fwd2bot_core.retention.decide import decide
from fwd2bot_core.retention.decision import Condition, failed
from fwd2bot_core.retention.facts import Clock, Hold, LabelResult, ObjectFacts, Standing, Summary
from fwd2bot_core.retention.periods import not_before
from fwd2bot_core.retention.policy import Policy
from infra.database import Ledger, open_ledger
from infra.object_facts import facts
from infra.policy_sql import Terms, stream, tally
from tests.core.retention.policies import (
    COMPRESSOR,
    NOW,
    OTHER,
    OTHER_PROBES,
    PASSED,
    PLAIN,
    PROBES,
    clock,
    photo,
    policy,
    rule,
    standing,
    verification,
)
from tests.infra.retention_ledger import CODECS, COLLECTIONS, HOLDS, furnish, put


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = open_ledger(ledger_url)
    with opened.write() as connection:
        furnish(connection)
    yield opened
    opened.close()


def terms(by: Policy, *standings: Standing, at: Clock | None = None) -> Terms:
    return Terms(by, {one.collection: one for one in standings or [standing()]}, at or clock())


def both(connection: sa.Connection, wanted: Terms, numbers: list[int]) -> dict[int, frozenset[Condition]]:
    """What failed of each photo; the twins must agree."""
    by_sql = dict(stream(connection, wanted))
    for each in facts(connection, numbers):
        if each.collection in wanted.policy.collections:
            unknown = Standing(collection=each.collection, originals="")
            there = wanted.standings.get(each.collection, unknown)
            decision = decide(wanted.policy, each, there, wanted.clock)
            assert failed(by_sql[each.id]) == failed(decision.mask), (each, wanted)
            assert decision.may_go == (by_sql[each.id] == 0)
        else:
            assert each.id not in by_sql
    return {number: failed(mask) for number, mask in by_sql.items()}


# --- what hypothesis draws: few values of each kind, so that they meet ---

TIMES = st.sampled_from(
    [
        datetime(1999, 1, 1, tzinfo=UTC),
        datetime(2000, 12, 31, 15, tzinfo=UTC),
        datetime(2026, 12, 31, 15, tzinfo=UTC),
    ]
).flatmap(lambda at: st.sampled_from([at, at - timedelta(microseconds=1), at + timedelta(days=40)]))
TAGS = st.frozensets(st.sampled_from(["reject", "disputed", "final", "customer-claim"]), max_size=2)
SCORES = st.sampled_from([None, 0.0, 0.95, 0.9499999, 1.0, 1.5, float("nan"), float("inf")])
KEYS = ["a.jpg", "A.jpg", "line-1/x/b.jpg", "l[1]/%_!.jpg", "l1/é.jpg", "a\nb.jpg", "c.png", "日.jpg"]
GLOBS = ["*", "*.jpg", "line-?/*", "l[1]*", "*%_!*", "?.jpg", "a*b.jpg", "l?/?.jpg", "a.jpg", "*é*"]
CONTENTS = ["0" * 64, "8" * 64, "f" * 64, "0" * 16 + "f" * 48, "f" * 16 + "0" * 48, "7f" * 32]
summaries = st.builds(
    Summary,
    codec=st.sampled_from(CODECS),
    fidelity=SCORES,
    probes=st.sampled_from([None, PROBES, PROBES, OTHER_PROBES]),
)
photos = st.builds(
    ObjectFacts,
    id=st.just(0),
    collection=st.sampled_from(sorted(COLLECTIONS)),
    key=st.sampled_from(KEYS),
    identity=st.sampled_from(["v:1", "V:1", "etag-1", "v:1!s512+9=9"]),
    first_seen_at=TIMES,
    superseded=st.booleans(),
    destroyed=st.sampled_from([False, False, True]),
    content=st.sampled_from([None, *CONTENTS]),
    captured_at=st.none() | TIMES,
    dates=st.dictionaries(st.sampled_from(["end", "start"]), TIMES),
    tags=TAGS,
    holds=st.sets(st.sampled_from(sorted(HOLDS)), max_size=2).map(
        lambda h: tuple(Hold(name=n) for n in sorted(h))
    ),
    summaries=st.dictionaries(st.sampled_from([COMPRESSOR, OTHER]), summaries),
)
SHARES = st.sampled_from(["0", "0.5", "50.1 %", "1", "0.000000001", "100 %"])
rules = st.builds(
    rule,
    collections=st.sampled_from([["line-1"], ["line-2"], ["line-1", "line-2"], ["line-1", "line-9"]]),
    keys=st.sampled_from(GLOBS),
    tags=TAGS.map(sorted),
    trigger=st.sampled_from(["captured", "first_seen", "event:end", "event:start"]),
    retain=st.sampled_from(["P1D", "P1M", "P1Y", "P7Y", "P40D", "P1Y1M1W1D"]),
    rounding=st.sampled_from(["day", "month", "calendar_year", "fiscal_year:04-01"]),
)
policies = st.builds(
    lambda drawn, **parts: policy(rules=[one | {"name": f"r{n}"} for n, one in enumerate(drawn)], **parts),
    drawn=st.lists(rules, min_size=1, max_size=3),
    zone=st.sampled_from(["Asia/Tokyo", "UTC", "America/St_Johns"]),
    effective_from=st.sampled_from(["2001-01-01", "2027-04-01"]),
    earliest=st.sampled_from(["1990-01-01", "2001-01-01"]),
    exempt=st.builds(lambda sample, tags: {"sample": sample, "tags": sorted(tags)}, SHARES, TAGS),
    verification=st.builds(
        verification,
        fidelity=st.sampled_from(["0.95", "1", "0.000001"]),
        compressor=st.sampled_from([COMPRESSOR, OTHER]),
    ),
    rollout=st.sampled_from([{"stage": "observe"}, {"stage": "enforce"}])
    | SHARES.filter(lambda share: share != "0").map(lambda share: {"stage": "pilot", "share": share}),
)
results = st.builds(
    LabelResult,
    questions=st.sampled_from([499, 500]),
    right=st.just(490),
    at_least=st.sampled_from([None, 0.9, 0.97, 0.97]),
    passed=st.sampled_from([None, False, True, True]),
    of_sample=st.booleans(),
)


def standings_of(name: str) -> st.SearchStrategy[Standing]:
    return st.builds(
        Standing,
        collection=st.just(name),
        originals=st.sampled_from(["s3://a/b", "memory://c", "file:///d", ""]),
        labels=st.dictionaries(
            st.tuples(st.sampled_from([COMPRESSOR, OTHER]), st.sampled_from(CODECS)), results, max_size=4
        ),
        demonstration=st.dictionaries(st.sampled_from([COMPRESSOR, OTHER]), st.booleans()),
    )


clocks = st.builds(Clock, now=TIMES | st.just(NOW), doubt=st.sampled_from([None, None, "it went back"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.lists(photos, min_size=1, max_size=20),
    by=policies,
    known=st.lists(st.sampled_from(sorted(COLLECTIONS)), unique=True).flatmap(
        lambda names: st.tuples(*map(standings_of, names))
    ),
    at=clocks,
    late=st.booleans(),
)
def test_sql_and_its_twin_decide_the_same(
    ledger: Ledger, drawn: list[ObjectFacts], by: Policy, known: tuple[Standing, ...], at: Clock, late: bool
) -> None:
    wanted = Terms(by, {one.collection: one for one in known}, at)
    with ledger.write() as connection, connection.begin_nested() as inserted:
        numbers = _put_all(connection, drawn)
        found = both(connection, wanted, numbers)
        for each in drawn[:1] if late else []:  # and to the microsecond: when each rule's period ends
            for one in by.rules:
                if (begun := each.date(one.trigger)) is not None:
                    end = not_before(begun, one.retain, one.rounding, by.tz)
                    for now in (end - timedelta(microseconds=1), end):
                        both(connection, Terms(by, wanted.standings, Clock(now)), numbers)
        groups = tally(connection, wanted)
        assert Counter({failed(one.masks[0]): one.objects for one in groups}) == Counter(found.values())
        inserted.rollback()


def _put_all(connection: sa.Connection, drawn: list[ObjectFacts]) -> list[int]:
    for number, each in enumerate(drawn, 1):
        named = {name: getattr(each, name) for name in ObjectFacts.__slots__}
        identity = f"{each.identity}-{number}"
        put(
            connection,
            ObjectFacts(**(named | {"id": number, "identity": identity})),
            released=number % 2 == 0,
        )
    return list(range(1, len(drawn) + 1))


def test_the_plain_photo_may_go_and_each_condition_alone_keeps_it(ledger: Ledger) -> None:
    """One photo for each condition, which fails that one and no other."""
    lone: dict[Condition, tuple[dict[str, Any], Terms]] = {
        Condition.PRESENT: ({"superseded": True, "identity": "etag"}, terms(policy())),
        Condition.PERIOD: ({"captured_at": NOW - timedelta(days=7 * 366)}, terms(policy())),
        Condition.HOLD: ({"holds": (Hold(name="case-2"),)}, terms(policy())),
        Condition.KEPT: ({"tags": frozenset({"disputed"})}, terms(policy(exempt={"sample": "0"}))),
        Condition.SAMPLE: ({"content": "00" * 32}, terms(policy())),
        Condition.FIDELITY: (
            {"summaries": {COMPRESSOR: Summary(codec="exact", fidelity=0.99, probes=OTHER_PROBES)}},
            terms(policy()),
        ),
        Condition.LABELS: (
            {"summaries": {COMPRESSOR: Summary(codec="bits4", fidelity=0.99, probes=PROBES)}},
            terms(policy()),
        ),
        Condition.DEMONSTRATION: ({}, terms(policy(), standing(demonstration={COMPRESSOR: True}))),
        Condition.STORE: ({}, terms(policy(), standing(originals="file:///photos"))),
        Condition.EFFECTIVE: ({}, terms(policy(effective_from="2035-06-02"))),
        Condition.CLOCK: ({}, terms(policy(), at=clock(doubt="it went back"))),
        Condition.ROLLOUT: ({}, terms(policy(rollout={"stage": "observe"}))),
    }
    with ledger.write() as connection:
        put(connection, photo(id=1))
        assert both(connection, terms(policy()), [1]) == {1: frozenset()}
        for condition, (changes, wanted) in lone.items():
            with connection.begin_nested() as inserted:
                put(connection, photo(**({"id": 2, "identity": "v:2"} | changes)))
                assert both(connection, wanted, [1, 2])[2] == {condition}
                inserted.rollback()


def test_the_longest_of_several_rules_wins_to_the_microsecond(ledger: Ledger) -> None:
    rules = [rule(), rule(name="service", trigger="event:end", retain="P1Y", rounding="fiscal_year:04-01")]
    by, month = policy(rules=rules), timedelta(days=31)
    end = datetime(
        2034, 12, 31, 15, tzinfo=UTC
    )  # the year 2035 begins in Tokyo: 2027 + P1Y by fiscal year is less
    with ledger.write() as connection:
        put(
            connection,
            photo(id=1, captured_at=datetime(2027, 5, 1, tzinfo=UTC), dates={"end": NOW - 60 * month}),
        )
        put(connection, photo(id=2, identity="v:2"))  # its end of production is not known
        for now, failing in ((end - timedelta(microseconds=1), {Condition.PERIOD}), (end, set())):
            found = both(connection, terms(by, at=clock(now)), [1, 2])
            assert found == {1: failing, 2: {Condition.DATED, Condition.PERIOD}}


def test_a_date_before_the_earliest_plausible_one_is_not_known(ledger: Ledger) -> None:
    first = datetime(2000, 12, 31, 15, tzinfo=UTC)  # 2001 begins in Tokyo
    with ledger.write() as connection:
        put(connection, photo(id=1, captured_at=first))
        put(connection, photo(id=2, identity="v:2", captured_at=first - timedelta(microseconds=1)))
        found = both(connection, terms(policy()), [1, 2])
    assert found == {1: frozenset(), 2: {Condition.DATED}}


def test_a_toy_passes_for_the_sample_archive_only(ledger: Ledger) -> None:
    toy = {"demonstration": {COMPRESSOR: True}}
    sample = LabelResult(questions=500, right=495, at_least=0.97, passed=True, of_sample=True)
    with ledger.write() as connection:
        put(connection, photo(id=1))
        assert both(connection, terms(policy(), standing(**toy)), [1])[1] == {Condition.DEMONSTRATION}
        own = standing(**toy, labels={(COMPRESSOR, "exact"): sample})
        assert both(connection, terms(policy(), own), [1])[1] == frozenset()


def test_two_policies_are_counted_side_by_side(ledger: Ledger) -> None:
    shorter = policy(rules=[rule(retain="P1Y")])
    with ledger.write() as connection:
        put(connection, photo(id=1), size=10)
        put(connection, photo(id=2, identity="v:2", captured_at=NOW - timedelta(days=1000)), size=200)
        put(connection, photo(id=3, identity="v:3", collection="line-2"), size=3000)
        groups = tally(connection, terms(policy()), terms(shorter))
        found = {tuple(failed(mask) for mask in one.masks): (one.objects, one.bytes) for one in groups}
    none: frozenset[Condition] = frozenset()
    assert found == {(none, none): (1, 10), (frozenset({Condition.PERIOD}), none): (1, 200)}


def test_collections_and_compressors_that_the_ledger_never_saw_let_nothing_go(ledger: Ledger) -> None:
    with ledger.write() as connection:
        put(connection, photo(id=1))
        never = policy(verification=verification(compressor="a" * 64, probes="b" * 64))
        assert Condition.TOKENS in both(connection, terms(never), [1])[1]
        elsewhere = policy(rules=[rule(collections=["line-9"])])
        assert both(connection, terms(elsewhere, standing(collection="line-9")), [1]) == {}
        assert tally(connection, terms(elsewhere)) == []


def test_a_stream_is_read_in_parts_and_in_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.policy_sql.CHUNK", 2)
    with ledger.write() as connection:
        for number in (3, 1, 2, 5, 4):
            put(connection, photo(id=number, identity=f"v:{number}"))
        assert list(stream(connection, terms(policy()))) == [(number, 0) for number in range(1, 6)]


def test_the_plain_parts_are_those_of_the_text() -> None:
    from fwd2bot_core.retention.policy_file import read
    from tests.core.retention.policies import TEXT

    assert read(TEXT.encode()).policy == policy()
    assert PASSED.passed
    assert PLAIN["version"] == 1
