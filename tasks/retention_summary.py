"""What a retention run found and did: one object for the screen, the report, the artifact and the audit trail.

Knows counts, bytes, reasons and what exit code they make. Knows nothing of how any of it came about.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from fwd2bot_core.errors import ExitCode
from infra.anchoring import cosigned_note
from infra.checkpoints import newest
from infra.installation import Installation
from tasks.reconcile import Kind, Reconciled
from tasks.retention_turn import Did, OneList, Turn
from tasks.summary import Anchored


@dataclass(slots=True, kw_only=True)
class RetentionSummary:
    """Sizes in bytes. Without ``acted`` everything is what would be."""

    run_id: str
    begun_at: datetime
    acted: bool
    seconds: float = 0.0
    expired: list[str] = field(default_factory=list)  # lists
    turns: list[Turn] = field(default_factory=list)
    reconciled: list[Reconciled] = field(default_factory=list)
    unreconciled: dict[str, str] = field(default_factory=dict)  # by collection: why its store was not asked
    audit: Anchored | None = None  # None: nothing was done that needs a signature
    note: str | None = None  # the newest checkpoint
    reports: list[str] = field(default_factory=list)  # in the archive

    def lists(self, did: Did) -> list[OneList]:
        return [one for turn in self.turns if turn.did is did for one in turn.lists]

    def counts(self) -> dict[str, Any]:
        """Whole numbers, as the audit trail takes them."""
        gone, listed = self.lists(Did.CARRIED_OUT), self.lists(Did.LISTED)
        found = Counter[str]()
        for one in self.reconciled:
            found.update({str(kind): count for kind, count in one.counts.items()})
        return {
            "expired": len(self.expired),
            "destroyed": {"objects": sum(x.objects for x in gone), "bytes": sum(x.bytes for x in gone)},
            "kept": sum(x.kept for x in gone),
            "unknown": sum(x.unknown for x in gone),
            "listed": {"objects": sum(x.objects for x in listed), "bytes": sum(x.bytes for x in listed)},
            "problems": len(self.problems),
            "reconciled": {"held_against": sum(one.held_against for one in self.reconciled), **found},
        }

    @property
    def problems(self) -> list[str]:
        """One sentence each; items that a hold or the policy keeps are none."""
        said = [f"policy {turn.policy}: {turn.problem}" for turn in self.turns if turn.problem]
        said += [f"list {x.id}: {x.problem}" for turn in self.turns for x in turn.lists if x.problem]
        said += [f"list {x.id}: a store did not say of {x.unknown}" for x in self._all() if x.unknown]
        said += [f"{name} was not reconciled: {why}" for name, why in self.unreconciled.items()]
        for one in self.reconciled:
            said += [
                f"{one.collection}: {count:,} originals {kind}"
                for kind, count in one.counts.items()
                if count and kind is not Kind.ORPHAN
            ]
        return said + ([self.audit.message] if self.audit and self.audit.message else [])

    @property
    def exit_code(self) -> ExitCode:
        codes = [turn.exit_code for turn in self.turns]
        if any(one.critical for one in self.reconciled) or (self.audit and self.audit.contradiction):
            codes.append(ExitCode.INTEGRITY)
        partly = self.unreconciled or any(one.counts[Kind.UNCLEAR] for one in self.reconciled)
        if partly or (self.audit and self.audit.message):
            codes.append(ExitCode.PARTLY_FAILED)
        return max(codes, default=ExitCode.OK)

    @property
    def message(self) -> str:
        """One sentence."""
        said = self.counts()
        words = ("destroyed", "listed") if self.acted else ("would be destroyed", "would be listed")
        gone, listed = said["destroyed"], said["listed"]
        text = (
            f"{gone['objects']:,} originals {words[0]} ({gone['bytes']:,} bytes), {listed['objects']:,} {words[1]} "
            f"({listed['bytes']:,} bytes), {said['kept']:,} kept"
        )
        return "; ".join([text, *self.problems])

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with counts, problems and exit code."""
        more = {"begun_at": self.begun_at.isoformat(), "counts": self.counts(), "problems": self.problems}
        return asdict(self) | more | {"exit_code": int(self.exit_code)}

    def _all(self) -> list[OneList]:
        return [one for turn in self.turns for one in turn.lists]


def newest_note(house: Installation) -> str | None:
    """The newest checkpoint with its witnesses' lines."""
    with house.ledger.read() as connection:
        last = newest(connection)
        return None if last is None else cosigned_note(connection, last.size)
