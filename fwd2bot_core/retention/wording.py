"""A policy in sentences, for people who approve it and do not write YAML. Decides nothing."""

from __future__ import annotations

import re
from datetime import datetime

from fwd2bot_core.retention.decide import percent
from fwd2bot_core.retention.periods import Period, Rounding, not_before
from fwd2bot_core.retention.policy import Enforce, Observe, Policy, Reviewed, Rule

_UNITS = {"Y": "year", "M": "month", "W": "week", "D": "day"}
_ENDS = {"day": "day", "month": "month", "calendar_year": "calendar year"}
_SIZES = {10**12: "TB", 10**9: "GB", 10**6: "MB", 10**3: "KB"}


def sentences(policy: Policy, now: datetime) -> list[str]:
    """What it says, a sentence each; ``now`` is for an example with a photo of today."""
    return [
        *(_rule(policy, rule, now) for rule in policy.rules),
        *(
            ["Where several rules match a photo, it stays until the last of them lets it go."]
            * (len(policy.rules) > 1)
        ),
        f"A photo without the date that its rule asks for, or with one before {policy.earliest}, stays.",
        f"Kept whatever the rules say: photos tagged {_listed(sorted(policy.kept_tags))}, those under a legal hold, "
        f"and {percent(policy.exempt.sample)} of all, always the same ones, for later checks.",
        _verification(policy),
        _disposition(policy),
        _limits(policy),
        _rollout(policy),
    ]


def period(length: Period) -> str:
    """``7 years and 6 months``."""
    parts = [(int(number), _UNITS[unit]) for number, unit in re.findall(r"(\d+)([YMWD])", length.text)]
    return _listed([f"{number} {unit}{'s' * (number != 1)}" for number, unit in parts if number])


def size(count: int) -> str:
    """``500 GB``, never rounded."""
    for unit, name in _SIZES.items():
        if count and count % unit == 0:
            return f"{count // unit:,} {name}"
    return f"{count:,} bytes"


def _rule(policy: Policy, rule: Rule, now: datetime) -> str:
    chosen = rule.select
    which = f"photos of {_listed(chosen.collections)}"
    which += "" if chosen.keys == "*" else f" whose key is like {chosen.keys}"
    if chosen.tags:
        which += f"{'' if chosen.keys == '*' else ' and'} that are tagged {_listed(chosen.tags)}"
    begins = {"captured": "they were taken", "first_seen": "the ledger first saw them"}.get(
        rule.trigger, f"their event {rule.trigger.partition(':')[2]!r} happened"
    )
    first = not_before(now, rule.retain, rule.rounding, policy.tz).astimezone(policy.tz)
    return (
        f"{rule.name}: {which} stay for {period(rule.retain)} after the {_end(rule.rounding)} in which {begins} "
        f"({policy.zone}); of today, until {first:%Y-%m-%d}."
    ) + (f" {rule.duty} obliges to that; nobody's photo is erased before." if rule.duty else "")


def _end(rounding: Rounding) -> str:
    return _ENDS.get(rounding.text) or f"fiscal year (from {rounding.text.partition(':')[2]})"


def _verification(policy: Policy) -> str:
    wanted = policy.verification
    return (
        f"Before a photo goes, its summary tokens by compressor {wanted.compressor[:12]} must be read back from the "
        f"store and keep a fidelity of {wanted.fidelity.normalize():f} or more; and its collection must have passed a "
        f"check of {wanted.labels.questions:,} labelled questions or more with an accuracy of "
        f"{wanted.labels.accuracy.normalize():f} beyond doubt."
    )


def _disposition(policy: Policy) -> str:
    disposition = policy.disposition
    grace = f"{period(disposition.grace)} later"
    if isinstance(disposition, Reviewed):
        people = (
            "1 person approves" if disposition.approvals == 1 else f"{disposition.approvals} people approve"
        )
        return f"Lists are carried out {grace} than {people} them."
    return f"Lists are carried out {grace} than they are made; nobody reviews them."


def _limits(policy: Policy) -> str:
    limits = policy.limits
    return (
        f"A run that would destroy more than {limits.objects:,} photos, {percent(limits.percent)} of them, or "
        f"{size(limits.bytes)} stops before its first deletion."
    )


def _rollout(policy: Policy) -> str:
    since = f" from {policy.effective_from}"
    if isinstance(policy.rollout, Observe):
        return "Stage observe: it is only reported what would go; nothing goes."
    if isinstance(policy.rollout, Enforce):
        return f"Stage enforce: photos go{since}."
    return f"Stage pilot: of {percent(policy.rollout.share)} of the photos, always the same ones, originals go{since}."


def _listed(words: list[str] | tuple[str, ...]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
