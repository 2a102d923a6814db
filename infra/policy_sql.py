"""A policy as SQL: the conditions of ``fwd2bot_core.retention.decide`` for millions of photos, in one pass.

Each condition is one boolean expression; where it is not true (false, or unknown) its bit stands in the photo's mask of
failed conditions. Rounded calendar time becomes one comparison with a time that is worked out beforehand. Knows the
ledger's tables. Knows nothing about what a policy is good for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.retention import drawing
from fwd2bot_core.retention.decide import destructible, labels_pass, literal_brackets, no_toy
from fwd2bot_core.retention.decision import Condition
from fwd2bot_core.retention.facts import IN_CONTAINER, Clock, Standing
from fwd2bot_core.retention.periods import latest_trigger, midnight
from fwd2bot_core.retention.policy import Enforce, Pilot, Policy, Rule
from infra.hold_reach import held_contents
from infra.retention_tables import hold_members, legal_holds, object_dates, object_facts, object_tags
from infra.tables import collections, compressors, object_versions, probe_sets, shards, summaries

CHUNK = 10_000  # rows that a stream holds at once
Truth = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Terms:
    """A policy, and what a decision by it needs to know beside the photos."""

    policy: Policy
    standings: Mapping[str, Standing]  # by collection; one that is absent lets nothing go
    clock: Clock


@dataclass(frozen=True, slots=True)
class Group:
    """Photos that failed the same conditions under each of the policies asked for."""

    masks: tuple[int, ...]
    objects: int
    bytes: int  # of the originals


def tally(connection: sa.Connection, *terms: Terms) -> list[Group]:
    """All photos of the policies' collections, counted by what failed; memory does not grow with them."""
    source, masks, where = _all_compiled(connection, terms)
    named = [mask.label(f"mask_{number}") for number, mask in enumerate(masks)]
    rows = connection.execute(
        sa.select(*named, sa.func.count(), sa.func.sum(object_versions.c.size))
        .select_from(source)
        .where(where)
        .group_by(*named)
        .order_by(*named)
    )
    return [Group(tuple(map(int, said)), int(count), int(size)) for *said, count, size in rows]


def stream(connection: sa.Connection, terms: Terms) -> Iterator[tuple[int, int]]:
    """(object version, mask of failed conditions) of each photo in the policy's collections, by number."""
    source, (mask,), where = _all_compiled(connection, [terms])
    query = (
        sa.select(object_versions.c.id, mask).select_from(source).where(where).order_by(object_versions.c.id)
    )
    rows = connection.execute(query, execution_options={"yield_per": CHUNK})
    yield from ((number, mask) for number, mask in rows)


def _all_compiled(
    connection: sa.Connection, terms: Sequence[Terms]
) -> tuple[sa.FromClause, list[sa.ColumnElement[int]], Truth]:
    if (
        connection.dialect.name == "postgresql"
    ):  # compiling so many expressions takes longer than a million photos
        connection.exec_driver_sql("SET LOCAL jit = off")
    numbers = _numbers(connection, collections.c.name, {c for one in terms for c in one.policy.collections})
    source: sa.FromClause = object_versions
    masks = []
    for one in terms:
        compiler = _Compiler(connection, one, numbers, source)
        masks.append(compiler.mask())
        source = compiler.source
    return source, masks, object_versions.c.collection_id.in_(sorted(numbers.values()))


def _numbers(connection: sa.Connection, name: sa.Column[Any], wanted: set[str]) -> dict[str, int]:
    """The ids of rows by what they are called; what the ledger has never seen is left out."""
    rows = connection.execute(sa.select(name, name.table.c.id).where(name.in_(sorted(wanted))))
    return {str(found): int(number) for found, number in rows}


class _Compiler:
    """One policy's expressions, and the joins that they need."""

    def __init__(
        self, connection: sa.Connection, terms: Terms, numbers: Mapping[str, int], source: sa.FromClause
    ) -> None:
        self._postgresql = connection.dialect.name == "postgresql"
        self._policy, self._standings, self._clock = terms.policy, terms.standings, terms.clock
        self._numbers = numbers
        wanted = terms.policy.verification
        self._compressor = _numbers(connection, compressors.c.fingerprint, {wanted.compressor}).get(
            wanted.compressor
        )
        self._probes = _numbers(connection, probe_sets.c.sha256, {wanted.probes}).get(wanted.probes)
        self._tokens, self._shard = summaries.alias(), shards.alias()
        self.source = source
        self._join(self._tokens, self._tokens.c.compressor_id == self._compressor)
        self.source = self.source.outerjoin(self._shard, self._shard.c.id == self._tokens.c.shard_id)
        self._dates = {
            trigger: self._date(trigger) for trigger in {rule.trigger for rule in self._policy.rules}
        }
        content = object_versions.c.content_sha256
        self._content = sa.collate(content, "C") if self._postgresql else content  # digits before letters

    def mask(self) -> sa.ColumnElement[int]:
        """The sum of the bits of all conditions that are not true."""
        truths = self._of_the_photo() | self._of_the_collection() | self._of_the_policy()
        assert set(truths) == set(Condition)
        zero = sa.literal_column("0", sa.Integer)
        bits = [
            sa.case((true, zero), else_=sa.literal_column(str(condition.bit), sa.Integer))
            for condition, true in truths.items()
        ]
        return reduce(add, bits)

    def _of_the_photo(self) -> dict[Condition, Truth]:
        photo, policy = object_versions.c, self._policy
        matching = {rule.name: self._matches(rule) for rule in policy.rules}
        covered = sa.or_(*matching.values())
        earliest = midnight(policy.earliest, policy.tz)
        known = {rule.name: self._dates[rule.trigger] >= earliest for rule in policy.rules}
        over = {rule.name: self._over(rule) for rule in policy.rules}
        return {
            Condition.COVERED: covered,
            Condition.PRESENT: sa.and_(
                photo.destroyed_seq.is_(None),
                sa.or_(photo.superseded_at.is_(None), sa.func.substr(photo.identity, 1, 2) == "v:"),
            ),
            Condition.DATED: sa.and_(covered, *(~match | known[name] for name, match in matching.items())),
            Condition.PERIOD: sa.and_(covered, *(~match | over[name] for name, match in matching.items())),
            Condition.HOLD: ~sa.or_(
                _held(), sa.and_(photo.content_sha256.is_not(None), photo.content_sha256.in_(held_contents()))
            ),
            Condition.KEPT: ~_tagged(sorted(policy.kept_tags)),
            Condition.SAMPLE: self._content >= drawing.sample_bound(policy.exempt.sample),
            Condition.TOKENS: self._tokens.c.object_version_id.is_not(None),
            Condition.FIDELITY: sa.and_(
                self._tokens.c.probe_set_id == self._probes,
                # PostgreSQL takes NaN for greater than every number
                self._tokens.c.fidelity.between(float(policy.verification.fidelity), 1.0),
            ),
        }

    def _of_the_collection(self) -> dict[Condition, Truth]:
        fingerprint = self._policy.verification.compressor
        known = [
            (self._numbers[s.collection], s)
            for s in self._standings.values()
            if s.collection in self._numbers
        ]
        checked = [
            (number, codec, standing, result)
            for number, standing in known
            for (compressor, codec), result in standing.labels.items()
            if compressor == fingerprint
        ]
        passed = [(n, codec) for n, codec, _, result in checked if labels_pass(self._policy, result)]
        sample = [
            (n, codec) for n, codec, standing, result in checked if no_toy(self._policy, standing, result)
        ]
        grown_up = [number for number, standing in known if no_toy(self._policy, standing, None)]
        return {
            Condition.LABELS: self._among(passed),
            Condition.DEMONSTRATION: self._in(grown_up) | self._among(sample),
            Condition.STORE: sa.and_(
                self._in([number for number, standing in known if destructible(standing)]),
                ~object_versions.c.identity.contains(IN_CONTAINER, autoescape=True),
            ),
        }

    def _of_the_policy(self) -> dict[Condition, Truth]:
        policy, now = self._policy, self._clock.now
        stage: Truth = sa.true() if isinstance(policy.rollout, Enforce) else sa.false()
        if isinstance(policy.rollout, Pilot):
            place = sa.func.substr(self._content, drawing.DIGITS + 1, drawing.DIGITS)
            stage = place < drawing.pilot_bound(policy.rollout.share)
        return {
            Condition.EFFECTIVE: sa.true()
            if midnight(policy.effective_from, policy.tz) <= now
            else sa.false(),
            Condition.CLOCK: sa.true() if self._clock.doubt is None else sa.false(),
            Condition.ROLLOUT: stage,
        }

    def _matches(self, rule: Rule) -> Truth:
        chosen = rule.select
        own = [self._numbers[name] for name in chosen.collections if name in self._numbers]
        return sa.and_(
            self._in(own), self._named(chosen.keys), *(_tagged([tag]) for tag in sorted(set(chosen.tags)))
        )

    def _named(self, pattern: str) -> Truth:
        key = object_versions.c.key
        if pattern == "*":
            return sa.true()
        if self._postgresql:
            special = {"*": "%", "?": "_"} | {char: f"!{char}" for char in "%_!"}
            return key.like("".join(special.get(char, char) for char in pattern), escape="!")
        return key.op("GLOB", is_comparison=True)(literal_brackets(pattern))

    def _over(self, rule: Rule) -> Truth:
        latest = latest_trigger(self._clock.now, rule.retain, rule.rounding, self._policy.tz)
        return sa.false() if latest is None else self._dates[rule.trigger] <= latest

    def _date(self, trigger: str) -> sa.ColumnElement[Any]:
        if trigger == "first_seen":
            return object_versions.c.first_seen_at
        if trigger == "captured":
            facts = object_facts.alias()
            self._join(facts)
            return facts.c.captured_at
        dates = object_dates.alias()
        self._join(dates, dates.c.name == trigger.removeprefix("event:"))
        return dates.c.at

    def _join(self, table: Any, *where: Truth) -> None:
        same = table.c.object_version_id == object_versions.c.id
        self.source = self.source.outerjoin(table, sa.and_(same, *where))

    def _in(self, numbers: Sequence[int]) -> Truth:
        return object_versions.c.collection_id.in_(sorted(numbers)) if numbers else sa.false()

    def _among(self, places: Sequence[tuple[int, str]]) -> Truth:
        """Photos of these collections whose tokens were written with these codecs."""
        return sa.or_(
            sa.false(),
            *(
                sa.and_(object_versions.c.collection_id == number, self._shard.c.codec == codec)
                for number, codec in sorted(places)
            ),
        )


def _held() -> Truth:
    return sa.exists().where(
        hold_members.c.object_version_id == object_versions.c.id,
        legal_holds.c.id == hold_members.c.hold_id,
        legal_holds.c.released_at.is_(None),
    )


def _tagged(tags: Sequence[str]) -> Truth:
    """Any of these."""
    return sa.exists().where(
        object_tags.c.object_version_id == object_versions.c.id, object_tags.c.tag.in_(tags)
    )
