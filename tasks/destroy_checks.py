"""The guards of destruction: each one is a single question, and whatever is not clearly yes keeps the original.

A guard returns nothing, or raises: ``BlockedByPolicy`` stops a whole run, ``Kept`` takes one item off the straight way.
They ask about values that they are handed and read nothing themselves. There is no second net behind any of them:
``GUARDS`` lists all, and a test shows for each what goes wrong without it. Knows nothing of when they are asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fwd2bot_core.audit.canonical import parse
from fwd2bot_core.errors import BlockedByPolicy, IntegrityError, SignatureRefused
from fwd2bot_core.retention import sshsig
from fwd2bot_core.retention.decision import Decision, failed, own
from fwd2bot_core.retention.disposition import ItemState, ListState
from fwd2bot_core.retention.policy import Limits, Policy, Reviewed
from fwd2bot_core.retention.policy_file import Document
from fwd2bot_core.retention.roles import Role

LONGEST_SILENCE = timedelta(
    days=8
)  # of a log that is signed daily; after more, the clock may have jumped ahead
_STANDING = {ItemState.INTENT, ItemState.UNKNOWN, ItemState.DESTROYED}
_SSH = "ssh"  # the kind of key whose signatures can be read


class Kept(Exception):
    """One item leaves the straight way; its original stays, or what became of it is not known."""

    def __init__(self, state: ItemState, reason: str, detail: str = "") -> None:
        super().__init__(f"{state}: {reason} {detail}".rstrip())
        self.state, self.reason, self.detail = state, reason, detail


@dataclass(frozen=True, slots=True)
class Approval:
    """What one person signed about a list, and who that is now."""

    approved: bool
    statement: bytes
    signature: str
    kind: str  # of the key
    key: str
    ref: str  # what stands for the person in the log
    revoked: bool
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Blast:
    """How much a run would destroy, with what the last day destroyed already, out of how many."""

    objects: int
    bytes: int
    of: int  # photos in the policy's collections, those of the last day included


@dataclass(frozen=True, slots=True)
class Times:
    """What several clocks say at one moment; all aware."""

    here: datetime
    ledger: datetime  # the database's
    newest: datetime | None  # when the log's newest event says that it happened
    tolerance: timedelta


# the whole list


def clock_is_sane(times: Times) -> None:
    """A clock that went back, that differs from the database's, or that may have jumped ahead decides nothing."""
    if abs(times.here - times.ledger) > times.tolerance:
        raise _stopped(f"this machine's clock says {times.here} and the database's {times.ledger}")
    if times.newest is None or times.newest > times.here + times.tolerance:
        raise _stopped(f"the clock says {times.here}, and the audit log's newest event is of {times.newest}")
    if times.here - times.newest > LONGEST_SILENCE:
        raise _stopped(
            f"the clock says {times.here}, and nothing was logged since {times.newest}: it jumped ahead, or nobody "
            "signed the log; see to it, then run `fwd2bot audit checkpoint`"
        )


def list_is_the_signed_one(manifest: bytes, sha256: str) -> None:
    """The manifest in the archive is, byte for byte, what people signed."""
    if hashlib.sha256(manifest).hexdigest() != sha256:
        raise IntegrityError(
            f"the manifest in the archive is not the list {sha256[:12]} that people signed; nothing was destroyed. "
            "Make a new list, and run `fwd2bot verify`"
        )


def list_is_approved(state: str, needed: int, found: Sequence[Approval], authors: frozenset[str],
                     about: Mapping[str, str]) -> None:  # fmt: skip
    """Enough people who may approve, none an ``author`` of list or policy, signed just this; nobody refused."""
    if state != ListState.GRACE:
        raise _stopped(f"the list is {state}, not approved")
    if any(not one.approved for one in found):
        raise _stopped("somebody refused the list")
    good = {one.key for one in found if _counts(one, authors, about)}
    if len(good) < needed:
        raise _stopped(f"the list has {len(good)} approvals that count, and needs {needed}")


def grace_is_over(until: datetime | None, now: datetime) -> None:
    """The time in which anybody may take something off the list is known, and past."""
    if until is None or now < until:
        raise _stopped(f"the list's grace ends {until or 'at a time that is not known'}")


def list_is_not_expired(expires_at: datetime, now: datetime) -> None:
    """What people decided is not so old that they would decide otherwise today."""
    if now >= expires_at:
        raise _stopped(f"the list expired {expires_at}: make a new one")


def policy_is_in_force(document: Document, state: str, meaning_sha256: str, listed_sha256: str) -> None:
    """Active, the very bytes that the list was made under, and read by this software as it was then."""
    if state != "active" or document.sha256 != listed_sha256:
        raise _stopped(f"the policy of the list ({listed_sha256[:12]}) is {state}, or another one by now")
    if document.policy.meaning_sha256 != meaning_sha256:
        raise _stopped("this software reads the policy otherwise than it was approved; approve it anew")


def within_limits(limits: Limits, blast: Blast) -> None:
    """No more in a day than the policy lets go; stops before the first deletion."""
    over = (
        blast.objects > limits.objects
        or blast.bytes > limits.bytes
        or blast.objects > limits.percent * blast.of
    )
    if over:
        raise _stopped(
            f"{blast.objects:,} originals of {blast.of:,} ({blast.bytes:,} bytes) would go within a day, and the "
            f"policy lets go of {limits.objects:,}, of {limits.percent:%} and of {limits.bytes:,} bytes at most"
        )


def judged_as_the_policy_says(policy: Policy, fingerprint: str, probes: str) -> None:
    """The compressor and the questions by which fidelity is measured now are the policy's."""
    wanted = policy.verification
    if (wanted.compressor, wanted.probes) != (fingerprint, probes):
        raise _stopped(
            f"the policy wants compressor {wanted.compressor[:12]} and questions {wanted.probes[:12]}; the settings "
            f"say {fingerprint[:12]} and {probes[:12]}"
        )


def log_is_anchored(size: int, anchored: int, seq: int) -> None:
    """A signed checkpoint of ``size`` events covers event ``seq``, and at least one anchor has it."""
    if size <= seq or anchored < 1:
        raise _stopped(
            f"the intents up to event {seq} are not kept outside (a checkpoint of {size} events, {anchored} anchors "
            "have it): nothing more is destroyed until they are"
        )


# one item


def item_is_on_the_list(line: Mapping[str, Any] | None, item: Mapping[str, Any]) -> None:
    """What the ledger calls an item is one in the signed manifest, and the same version of the same bytes."""
    if line is None or any(line[name] != value for name, value in item.items()):
        raise Kept(ItemState.BLOCKED, "not-on-the-list", "the signed manifest does not name this version")


def still_listed(state: ItemState) -> None:
    """Nobody took it off since; an intent of an earlier run may go on."""
    if state not in (ItemState.LISTED, ItemState.INTENT):
        raise Kept(state, "left-the-list")


def only_here(elsewhere: Sequence[ItemState], destroyed_seq: int | None) -> None:
    """No other list means to destroy it, or did."""
    if destroyed_seq is not None or _STANDING & set(elsewhere):
        raise Kept(ItemState.BLOCKED, "on-another-list", "another list destroys it, or did")


def names_one_version(identity: str) -> None:
    """The store calls this version by a name that is never given twice."""
    if not identity.startswith("v:") or identity == "v:null":
        raise Kept(ItemState.BLOCKED, "no-versions", "its store does not name single versions")


def decided_to_go(decision: Decision) -> None:
    """The policy lets it go, decided now."""
    if not decision.may_go:
        why = ", ".join(sorted(own(failed(decision.mask)))) or "not every condition was looked at"
        raise Kept(ItemState.BLOCKED, "policy", why)


def original_is_unchanged(listed: tuple[int, str | None], found: tuple[int, int, str]) -> None:
    """``listed``: size and sha256; ``found``: size as the store tells it, bytes read, and their sha256."""
    if (listed[0], listed[0], listed[1]) != found:
        raise Kept(ItemState.CHANGED, "changed", f"the store holds {found[1]:,} bytes, sha256 {found[2]}")


def tokens_are_the_committed_ones(committed: str, shard: bytes) -> None:
    """The shard, read from the store just now, is byte for byte the one that was committed."""
    if hashlib.sha256(shard).hexdigest() != committed:
        raise Kept(ItemState.BLOCKED, "tokens", "the shard in the store is not the one that was committed")


def faithful_now(policy: Policy, score: float | None) -> None:
    """What was measured against the original just now; a number that is none is not enough."""
    least = float(policy.verification.fidelity)
    if score is None or not least <= score <= 1:
        said = "could not be measured" if score is None else f"is {score:.6f}"
        raise Kept(ItemState.BLOCKED, "fidelity", f"fidelity {said}; the policy asks for {least:g}")


# just before and after a deletion


def intent_stands(state: ItemState, intent_seq: int | None) -> None:
    """The log says that it will go, and nobody took that back."""
    if state is not ItemState.INTENT or intent_seq is None:
        raise Kept(state, "no-intent")


def not_held(cases: Sequence[str]) -> None:
    """No legal hold, asked while nobody can place one."""
    if cases:
        raise Kept(ItemState.BLOCKED, "hold", f"{len(cases)} legal holds")


def is_gone(gone: bool | None, forbidden: bool) -> None:
    """The store was asked again and does not hold it; what a deletion answered is no evidence."""
    if gone is False and forbidden:
        raise Kept(
            ItemState.BLOCKED, "store-lock", "the store refuses to delete it: a lock, a hold, or no right"
        )
    if gone is not True:
        said = "still holds it" if gone is False else "does not say whether it holds it"
        raise Kept(ItemState.UNKNOWN, "store", f"the store {said}")


def gone_by_our_hand(anchored: bool) -> None:
    """Nothing is deleted before its intent is anchored, so what went before that was somebody else."""
    if not anchored:
        raise Kept(
            ItemState.UNKNOWN, GONE_UNANCHORED, "gone before its intent was anchored: find out who did it"
        )


GONE_UNANCHORED = "gone-unanchored"
GUARDS = (
    clock_is_sane, list_is_the_signed_one, list_is_approved, grace_is_over, list_is_not_expired, policy_is_in_force,
    within_limits, judged_as_the_policy_says, log_is_anchored, item_is_on_the_list, still_listed, only_here,
    names_one_version, decided_to_go, original_is_unchanged, tokens_are_the_committed_ones, faithful_now,
    intent_stands, not_held, is_gone, gone_by_our_hand,
)  # fmt: skip


def approvals_needed(policy: Policy, listed: int) -> int:
    """The larger of what the policy says and what the list says."""
    asked = policy.disposition.approvals if isinstance(policy.disposition, Reviewed) else 0
    return max(asked, listed)


def _counts(one: Approval, authors: frozenset[str], about: Mapping[str, str]) -> bool:
    if one.kind != _SSH or one.revoked or one.ref in authors or Role.APPROVER not in one.roles:
        return False
    try:
        sshsig.verify(one.statement, one.signature, one.key)
        said = parse(one.statement.removesuffix(b"\n"))
    except (SignatureRefused, IntegrityError):
        return False
    return all(said.get(name) == value for name, value in about.items())


def _stopped(why: str) -> BlockedByPolicy:
    return BlockedByPolicy(f"{why}. Nothing was destroyed by this step")
