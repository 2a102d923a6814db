"""What two versions of a policy say differently, field by field. Knows nothing of which of them lets more go
(``comparison``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fwd2bot_core.retention.policy import Policy


@dataclass(frozen=True, slots=True)
class Difference:
    """One field; None where a version does not have it."""

    where: str  # "rules.trays.retain"
    before: str | None
    after: str | None


def differences(old: Policy, new: Policy) -> list[Difference]:
    """In the order of the file; rules are held against each other by name."""
    before, after = (dict(_leaves(policy)) for policy in (old, new))
    return [
        Difference(where, before.get(where), after.get(where))
        for where in dict.fromkeys([*before, *after])
        if before.get(where) != after.get(where)
    ]


def _leaves(policy: Policy) -> Iterator[tuple[str, str]]:
    said = policy.model_dump(mode="json")
    said["rules"] = {rule["name"]: rule for rule in said["rules"]}
    yield from _below("", said)


def _below(where: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _below(f"{where}.{name}" if where else name, item)
    elif isinstance(value, list):
        yield where, ", ".join(map(str, value)) or "none"
    else:
        yield where, str(value)
