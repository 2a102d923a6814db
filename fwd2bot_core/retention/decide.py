"""May this original go? Every condition, what was found, what was required, and the verdict; all must hold.

The pure twin of ``infra.policy_sql``, which decides the same for millions; a property test holds the two equal. What is
not known never lets an original go. Knows no clock and no database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase

from fwd2bot_core.retention import drawing
from fwd2bot_core.retention.decision import Condition, Decision, Reason
from fwd2bot_core.retention.facts import Clock, LabelResult, ObjectFacts, Standing
from fwd2bot_core.retention.periods import midnight, not_before
from fwd2bot_core.retention.policy import Enforce, Pilot, Policy, Rule


def decide(policy: Policy, photo: ObjectFacts, standing: Standing, clock: Clock) -> Decision:
    """Look at every condition, also after one has failed. ``standing`` is that of the photo's collection."""
    if standing.collection != photo.collection:
        raise ValueError(f"the standing of {standing.collection!r} says nothing of {photo.collection!r}")
    given = _Given(policy, photo, standing, clock, [r for r in policy.rules if matches(r, photo)])
    return Decision(photo.id, tuple(reason for look in _LOOKS for reason in look(given)))


def matches(rule: Rule, photo: ObjectFacts) -> bool:
    """Whether a rule is about this photo."""
    chosen = rule.select
    return (
        photo.collection in chosen.collections
        and fnmatchcase(photo.key, literal_brackets(chosen.keys))
        and photo.tags.issuperset(chosen.tags)
    )


def literal_brackets(pattern: str) -> str:
    """A key pattern for machines to which [ begins a set of characters: only * and ? mean anything to us."""
    return pattern.replace("[", "[[]")


def labels_pass(policy: Policy, found: LabelResult | None) -> bool:
    """Whether a label check is what the policy asks for."""
    wanted = policy.verification.labels
    return (
        found is not None
        and found.passed is True
        and found.questions >= wanted.questions
        and found.at_least is not None
        and found.at_least >= float(wanted.accuracy)
    )


def no_toy(policy: Policy, standing: Standing, found: LabelResult | None) -> bool:
    """Whether the compressor may be the reason that an original of this collection goes."""
    toy = standing.demonstration.get(policy.verification.compressor)
    return toy is False or (toy is True and found is not None and found.of_sample)


def destructible(standing: Standing) -> bool:
    """Whether one version of an original can be destroyed for certain there; plain files have neither versions nor
    holds."""
    return standing.originals.startswith(("s3://", "memory://"))


@dataclass(frozen=True, slots=True)
class _Given:
    policy: Policy
    photo: ObjectFacts
    standing: Standing
    clock: Clock
    rules: list[Rule]  # those that match

    @property
    def labels(self) -> LabelResult | None:
        compressor = self.policy.verification.compressor
        tokens = self.photo.summaries.get(compressor)
        return None if tokens is None else self.standing.labels.get((compressor, tokens.codec))


def _covered(given: _Given) -> Iterator[Reason]:
    names = ", ".join(rule.name for rule in given.rules)
    yield Reason(Condition.COVERED, names or "no rule matches", "at least one rule matches", bool(names))


def _present(given: _Given) -> Iterator[Reason]:
    photo = given.photo
    value = "overwritten" if photo.superseded else "the current version"
    if photo.destroyed:
        value = "destroyed"
    elif photo.superseded and photo.present:
        value += ", kept by a versioned store"
    yield Reason(Condition.PRESENT, value, "the store may still hold it", photo.present)


def _dated(given: _Given) -> Iterator[Reason]:
    earliest = midnight(given.policy.earliest, given.policy.tz)
    required = f"known, and not before {given.policy.earliest}"
    for rule in given.rules:
        at = given.photo.date(rule.trigger)
        by = f", {given.photo.captured_by}" if rule.trigger == "captured" and given.photo.captured_by else ""
        value = f"{rule.trigger}: {told(at) if at else 'not known'}{by} (rule {rule.name})"
        yield Reason(Condition.DATED, value, required, at is not None and at >= earliest)
    if not given.rules:
        yield Reason(Condition.DATED, "no rule says which date counts", required, False)


def _period(given: _Given) -> Iterator[Reason]:
    zone = given.policy.tz
    for rule in given.rules:
        at = given.photo.date(rule.trigger)
        end = at and not_before(at, rule.retain, rule.rounding, zone)
        value = f"{rule.retain} by {rule.rounding} ends {told(end) if end else 'nobody knows when'} (rule {rule.name})"
        over = end is not None and end <= given.clock.now
        yield Reason(Condition.PERIOD, value, f"over at {told(given.clock.now)}", over)
    if not given.rules:
        yield Reason(Condition.PERIOD, "no rule says how long", f"over at {told(given.clock.now)}", False)


def _hold(given: _Given) -> Iterator[Reason]:
    holds = sorted(given.photo.holds, key=lambda hold: hold.name)
    named = [hold.name for hold in holds if not hold.confidential]
    secret = len(holds) - len(named)
    value = ", ".join([*named, f"{secret} confidential"] if secret else named)
    yield Reason(Condition.HOLD, value or "none", "no legal hold", not holds)


def _kept(given: _Given) -> Iterator[Reason]:
    tags = given.photo.tags & given.policy.kept_tags
    required = "no tag of " + ", ".join(sorted(given.policy.kept_tags))
    yield Reason(Condition.KEPT, ", ".join(sorted(tags)) or "none", required, not tags)


def _sample(given: _Given) -> Iterator[Reason]:
    content, share = given.photo.content, given.policy.exempt.sample
    value = f"sha256 {content[: drawing.DIGITS]}…" if content else "content not known"
    required = f"not below {drawing.sample_bound(share)}, the share kept ({percent(share)})"
    ok = content is not None and not drawing.in_sample(content, share)
    yield Reason(Condition.SAMPLE, value, required, ok)


def _tokens(given: _Given) -> Iterator[Reason]:
    wanted, found = given.policy.verification.compressor, given.photo.summaries
    others = (
        f"; tokens of {len(found)} other compressors do not count" if found and wanted not in found else ""
    )
    value = "committed" if wanted in found else f"none{others}"
    yield Reason(Condition.TOKENS, value, f"tokens by compressor {wanted[:12]}", wanted in found)


def _fidelity(given: _Given) -> Iterator[Reason]:
    wanted = given.policy.verification
    tokens = given.photo.summaries.get(wanted.compressor)
    score = tokens.fidelity if tokens else None
    same = tokens is not None and tokens.probes == wanted.probes
    other = "" if same or score is None else ", by other questions"
    value = "not known" if score is None else f"{score:.6f}{other}"
    required = f"at least {wanted.fidelity.normalize():f}, by the questions {wanted.probes[:12]}"
    ok = same and score is not None and float(wanted.fidelity) <= score <= 1  # NaN is neither
    yield Reason(Condition.FIDELITY, value, required, ok)


def _labels(given: _Given) -> Iterator[Reason]:
    wanted, found = given.policy.verification.labels, given.labels
    value = "never checked for such tokens"
    if found is not None:
        asked = "nothing" if found.at_least is None else f"{found.at_least:g}"
        passed = "passed" if found.passed else "not passed"
        value = f"{found.right} of {found.questions} right, {passed}, {asked} was asked for"
    required = f"passed with {wanted.questions} questions or more and accuracy {wanted.accuracy.normalize():f} or more"
    yield Reason(Condition.LABELS, value, required, labels_pass(given.policy, found))


def _demonstration(given: _Given) -> Iterator[Reason]:
    toy = given.standing.demonstration.get(given.policy.verification.compressor)
    value = {None: "not known", True: "for demonstrations only", False: "made for use"}[toy]
    required = "a compressor made for use, or the sample archive"
    yield Reason(Condition.DEMONSTRATION, value, required, no_toy(given.policy, given.standing, given.labels))


def _store(given: _Given) -> Iterator[Reason]:
    scheme = given.standing.originals.partition("://")[0]
    within = ", within a container with other photos" if given.photo.in_container else ""
    required = "a file of its own in a store that destroys one version and says so"
    ok = destructible(given.standing) and not given.photo.in_container
    yield Reason(Condition.STORE, f"{scheme}://{within}", required, ok)


def _effective(given: _Given) -> Iterator[Reason]:
    begins = midnight(given.policy.effective_from, given.policy.tz)
    value = f"in force from {given.policy.effective_from}"
    yield Reason(Condition.EFFECTIVE, value, f"reached at {told(given.clock.now)}", begins <= given.clock.now)


def _clock(given: _Given) -> Iterator[Reason]:
    doubt = given.clock.doubt
    yield Reason(Condition.CLOCK, doubt or "no doubt", "a clock that nobody doubts", doubt is None)


def _rollout(given: _Given) -> Iterator[Reason]:
    rollout, content, required = given.policy.rollout, given.photo.content, "the policy's stage lets it go"
    if isinstance(rollout, Pilot):
        ok = content is not None and drawing.in_pilot(content, rollout.share)
        value = f"pilot of {percent(rollout.share)}: {'in it' if ok else 'not in it'}"
        yield Reason(Condition.ROLLOUT, value, required, ok)
    else:
        yield Reason(Condition.ROLLOUT, rollout.stage, required, isinstance(rollout, Enforce))


_LOOKS: tuple[Callable[[_Given], Iterator[Reason]], ...] = (
    _covered, _present, _dated, _period, _hold, _kept, _sample, _tokens, _fidelity, _labels, _demonstration, _store,
    _effective, _clock, _rollout,
)  # fmt: skip


def told(moment: datetime) -> str:
    """UTC, to the second, as people read it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def percent(share: Decimal) -> str:
    """``0.5 %``."""
    return f"{(share * 100).normalize():f} %"
