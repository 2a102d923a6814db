"""Who may do what: roles, and the acts that each one is for.

A person has any number of roles; an act that is not in the table is nobody's. Knows names only.
"""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What somebody is registered for."""

    OPERATOR = "operator"  # runs what others decided
    POLICY_AUTHOR = "policy_author"
    APPROVER = "approver"
    COMPLIANCE = "compliance"
    DATA_TEAM = "data_team"
    AUDITOR = "auditor"


class Act(StrEnum):
    """What needs a registered person."""

    DRAFT_POLICY = "policy.draft"
    APPROVE_POLICY = "policy.approve"
    ACTIVATE_POLICY = "policy.activate"
    RETIRE_POLICY = "policy.retire"
    MAKE_LIST = "list.make"
    APPROVE_LIST = "list.approve"
    REFUSE_LIST = "list.refuse"
    RESCUE = "list.rescue"
    PLACE_HOLD = "hold.place"
    RELEASE_HOLD = "hold.release"
    SEE_CONFIDENTIAL = "hold.see-confidential"
    RESTORE = "original.restore"
    RUN = "list.run"
    RECORD_MOMENTS = "moments.record"
    OVERRULE_MOMENTS = "moments.overrule"
    PLAN_ERASURE = "erasure.plan"
    APPROVE_ERASURE = "erasure.approve"
    SIGN_IN = "console.sign-in"
    SEE_ORIGINAL = "original.see"
    EXPORT = "tokens.export"
    COMPRESS_AT_LINE = "edge.compress"


_ALLOWED: dict[Act, frozenset[Role]] = {
    Act.DRAFT_POLICY: frozenset({Role.POLICY_AUTHOR}),
    Act.APPROVE_POLICY: frozenset({Role.APPROVER}),
    Act.ACTIVATE_POLICY: frozenset({Role.POLICY_AUTHOR, Role.APPROVER}),  # what others approved
    Act.RETIRE_POLICY: frozenset({Role.POLICY_AUTHOR, Role.APPROVER, Role.COMPLIANCE}),
    Act.MAKE_LIST: frozenset({Role.OPERATOR, Role.COMPLIANCE}),
    Act.APPROVE_LIST: frozenset({Role.APPROVER}),
    Act.REFUSE_LIST: frozenset({Role.APPROVER, Role.COMPLIANCE}),
    Act.RESCUE: frozenset(Role),  # to keep something is everybody's right
    Act.PLACE_HOLD: frozenset({Role.COMPLIANCE}),
    Act.RELEASE_HOLD: frozenset({Role.COMPLIANCE}),
    Act.SEE_CONFIDENTIAL: frozenset({Role.COMPLIANCE}),
    Act.RESTORE: frozenset({Role.COMPLIANCE, Role.DATA_TEAM}),
    Act.RUN: frozenset({Role.OPERATOR, Role.COMPLIANCE}),
    Act.RECORD_MOMENTS: frozenset({Role.OPERATOR, Role.DATA_TEAM, Role.COMPLIANCE}),
    Act.OVERRULE_MOMENTS: frozenset({Role.COMPLIANCE}),  # it may let photos go earlier
    Act.PLAN_ERASURE: frozenset({Role.COMPLIANCE}),
    Act.APPROVE_ERASURE: frozenset({Role.APPROVER, Role.COMPLIANCE}),  # somebody else than who planned it
    Act.SIGN_IN: frozenset(Role),
    Act.SEE_ORIGINAL: frozenset({Role.COMPLIANCE, Role.DATA_TEAM, Role.APPROVER, Role.AUDITOR}),
    Act.EXPORT: frozenset({Role.COMPLIANCE, Role.DATA_TEAM}),  # what tokens say, in bulk
    Act.COMPRESS_AT_LINE: frozenset({Role.OPERATOR, Role.DATA_TEAM}),
}


def may(roles: frozenset[Role], act: Act) -> bool:
    """Whether one of ``roles`` is for that act."""
    return bool(roles & _ALLOWED.get(act, frozenset()))


def needed(act: Act) -> str:
    """The roles that an act is for, as a message says it."""
    return " or ".join(sorted(_ALLOWED.get(act, frozenset()))) or "nobody"
