"""What of a new version of a policy would let more go than the old one; whatever cannot be put in an order counts.

Where nothing is found, no photo may go under the new version, at any time, that may not go under the old one; a
property test holds that. Knows the parts of a policy. Knows nothing of photos, approvals or cooling-off times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fwd2bot_core.retention.decide import percent
from fwd2bot_core.retention.periods import Period, Rounding
from fwd2bot_core.retention.policy import Automatic, Enforce, Observe, Pilot, Policy, Reviewed, Rule, Select


@dataclass(frozen=True, slots=True)
class Loosening:
    """One thing that lets more go, or may."""

    where: str  # "rules.trays", "limits.objects"
    what: str


def loosened(old: Policy | None, new: Policy) -> list[Loosening]:
    """Of ``new`` against the version in force, or against none: then nothing could go before.

    A version that only observes lets nothing go. Raises ``ValueError`` for versions of two policies.
    """
    if isinstance(new.rollout, Observe):
        return []
    if old is None:
        return [Loosening("rollout", f"no version was in force, this one is at stage {new.rollout.stage}")]
    if old.id != new.id:
        raise ValueError(f"{old.id!r} and {new.id!r} are two policies")
    return [one for name in Policy.model_fields for one in _part(name, old, new)]


def _part(name: str, old: Policy, new: Policy) -> Iterator[Loosening]:
    look = _LOOKS.get(name)
    if look is not None:
        yield from look(old, new)
    elif name not in {"id", "version"}:
        yield from _other(name, getattr(old, name), getattr(new, name))


def _other(where: str, old: object, new: object) -> Iterator[Loosening]:
    """For what has no order."""
    if old != new:
        yield Loosening(where, f"{old} became {new}, which cannot be compared")


def _less(where: str, old: Any, new: Any, told: Callable[[Any], str] = str) -> Iterator[Loosening]:
    """For what keeps more the greater it is."""
    if new < old:
        yield Loosening(where, f"{told(new)} instead of {told(old)}")


def _more(where: str, old: Any, new: Any, told: Callable[[Any], str] = str) -> Iterator[Loosening]:
    """For what lets more go the greater it is."""
    if new > old:
        yield Loosening(where, f"{told(new)} instead of {told(old)}")


def _effective(old: Policy, new: Policy) -> Iterator[Loosening]:
    yield from _less("effective_from", old.effective_from, new.effective_from)


def _earliest(old: Policy, new: Policy) -> Iterator[Loosening]:
    yield from _less("earliest", old.earliest, new.earliest)


def _rules(old: Policy, new: Policy) -> Iterator[Loosening]:
    """A photo goes when a rule matches it and every one that does is over."""
    for rule in new.rules:
        if not any(_covers(before.select, rule.select) for before in old.rules):
            yield Loosening(f"rules.{rule.name}", "may match photos that no rule matched")
    for before in old.rules:
        if before.duty and not any(_keeps_as_long(rule, before) and rule.duty for rule in new.rules):
            yield Loosening(
                f"rules.{before.name}.duty", f"photos that {before.duty} keeps may be erased earlier"
            )
        if not any(_keeps_as_long(rule, before) for rule in new.rules) and _met(before.select, new.rules):
            yield Loosening(f"rules.{before.name}", "photos that it matched may go earlier")


def _covers(wide: Select, narrow: Select) -> bool:
    """Whether whatever ``narrow`` matches is surely matched by ``wide``."""
    return (
        set(wide.collections) >= set(narrow.collections)
        and wide.keys in {"*", narrow.keys}
        and set(wide.tags) <= set(narrow.tags)
    )


def _keeps_as_long(rule: Rule, before: Rule) -> bool:
    """Whether whatever ``before`` keeps is surely kept by ``rule``."""
    return (
        _covers(rule.select, before.select)
        and rule.trigger == before.trigger
        and not _may_be_shorter(rule.retain, before.retain)
        and _begins_no_earlier(rule.rounding, before.rounding)
    )


def _met(select: Select, rules: tuple[Rule, ...]) -> bool:
    """Whether a rule may match a photo that ``select`` matches, too; a photo that none matches stays for ever."""
    return any(set(rule.select.collections) & set(select.collections) for rule in rules)


def _may_be_shorter(new: Period, old: Period) -> bool:
    longer = new.months >= old.months and new.days >= old.days
    return not longer and new.least_days < old.most_days


def _begins_no_earlier(new: Rounding, old: Rounding) -> bool:
    """Days end before months, and months before years that end with one; other years end on their own days."""
    return (
        new == old
        or old.text == "day"
        or (old.text == "month" and (new.text == "calendar_year" or new.text.endswith("-01")))
    )


def _exempt(old: Policy, new: Policy) -> Iterator[Loosening]:
    yield from _less("exempt.sample", old.exempt.sample, new.exempt.sample, percent)
    if lost := old.kept_tags - new.kept_tags:
        yield Loosening("exempt.tags", f"no longer keeps {', '.join(sorted(lost))}")
    yield from _unknown("exempt", old.exempt, new.exempt, {"sample", "tags"})


def _verification(old: Policy, new: Policy) -> Iterator[Loosening]:
    before, after = old.verification, new.verification
    yield from _less("verification.fidelity", before.fidelity, after.fidelity)
    labels = "verification.labels"
    yield from _less(f"{labels}.questions", before.labels.questions, after.labels.questions)
    yield from _less(f"{labels}.accuracy", before.labels.accuracy, after.labels.accuracy)
    yield from _unknown(labels, before.labels, after.labels, {"questions", "accuracy"})
    yield from _unknown("verification", before, after, {"fidelity", "labels"})


def _disposition(old: Policy, new: Policy) -> Iterator[Loosening]:
    before, after = old.disposition, new.disposition
    if _may_be_shorter(after.grace, before.grace):
        yield Loosening("disposition.grace", f"{after.grace} instead of {before.grace}")
    if isinstance(before, Reviewed) and isinstance(after, Reviewed):
        yield from _less("disposition.approvals", before.approvals, after.approvals)
    elif isinstance(before, Reviewed) and isinstance(after, Automatic):
        yield Loosening("disposition.mode", "nobody reviews its lists any more")
    yield from _unknown("disposition", before, after, {"mode", "approvals", "grace"})


def _limits(old: Policy, new: Policy) -> Iterator[Loosening]:
    yield from _more("limits.objects", old.limits.objects, new.limits.objects)
    yield from _more("limits.percent", old.limits.percent, new.limits.percent, percent)
    yield from _more("limits.bytes", old.limits.bytes, new.limits.bytes)
    yield from _unknown("limits", old.limits, new.limits, {"objects", "percent", "bytes"})


def _rollout(old: Policy, new: Policy) -> Iterator[Loosening]:
    before, after = old.rollout, new.rollout
    if isinstance(before, Pilot) and isinstance(after, Pilot):
        yield from _more("rollout.share", before.share, after.share, percent)
    elif not isinstance(before, Enforce) and type(before) is not type(after):
        yield Loosening("rollout.stage", f"{after.stage} instead of {before.stage}")


def _unknown(where: str, old: Any, new: Any, known: set[str]) -> Iterator[Loosening]:
    """Fields that the looks above do not know the order of, such as those of a later time."""
    before, after = (dict(part) for part in (old, new))
    for name in sorted((before.keys() | after.keys()) - known):
        yield from _other(f"{where}.{name}", before.get(name), after.get(name))


_LOOKS: Mapping[str, Callable[[Policy, Policy], Iterator[Loosening]]] = {
    "effective_from": _effective,
    "earliest": _earliest,
    "rules": _rules,
    "exempt": _exempt,
    "verification": _verification,
    "disposition": _disposition,
    "limits": _limits,
    "rollout": _rollout,
}
