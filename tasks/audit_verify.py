"""Is the audit log what was written, all of it, and in its order? Answers with classes, each with its first event.

The anchors are asked first, and the archive how far the log had come, so that all they hold must be in the ledger's
snapshot that is taken next; then every body is read, and everything is held against everything. Writes nothing; nights
may run meanwhile. What an event says about objects in the archive is not looked at: that is ``tasks.verify``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fwd2bot_core.audit.notes import Verifier
from fwd2bot_core.audit.verdicts import Finding, Verdict, acceptable, sharpened, worst
from fwd2bot_core.errors import UsageError
from infra.anchors import anchors_of
from infra.audit_growth import Tree
from infra.database import Ledger
from infra.installation import Installation
from tasks.audit_anchored import Run, differing
from tasks.audit_bodies import Bodies, read_bodies
from tasks.audit_judging import Judge
from tasks.audit_seen import ask_archive, held_against
from tasks.audit_statements import Outside, Statement, ask, statements
from tasks.audit_told import Told, read_before, read_told


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What a verification found."""

    findings: tuple[Finding, ...]
    since: int  # bodies from this number on were read; the earlier ones are vouched for by the checkpoint over them
    events: int  # bodies that were read
    checkpoints: int  # signed states that the log was held against
    anchored_to: int  # events, from the first one on, that somebody outside vouches for
    seconds: float
    unacknowledged: tuple[str, ...] = ()  # recorded losses, as ``acknowledged`` names them

    @property
    def verdict(self) -> Verdict:
        """The gravest class."""
        return worst(self.findings)

    @property
    def acceptable(self) -> bool:
        """VALID, or nothing worse than events that are still to be anchored and losses that are acknowledged."""
        return acceptable(self.findings)

    def of(self, verdict: Verdict) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict == verdict]


@dataclass(frozen=True, slots=True)
class Examined:
    """A verification with what it was made of."""

    verdict: LogVerdict
    judge: Judge


def verify_log(
    house: Installation,
    *,
    since: int = 0,
    acknowledged: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> LogVerdict:
    """Verify the whole log, or from the checkpoint of ``since`` events on; ``progress``: (done, in all) events.

    ``acknowledged``: recorded losses, beside those of the settings, that the caller knows of (``Restore.known_as``).

    Raises ``UsageError`` if there is no checkpoint of ``since`` events, ``LedgerError`` if the ledger cannot be opened.
    """
    return examine(house, since=since, acknowledged=acknowledged, progress=progress).verdict


def last_checkpoint(house: Installation) -> int:
    """The size of the newest state that somebody outside holds, else of the ledger's own newest; 0: there is none.

    Whatever was signed was computed again from the bodies before, so that daily verification may start there.
    """
    outside = _ask(house, 0, newest=True)
    with house.ledger.read() as connection:
        told = read_told(connection, 0)
    found, _ = statements(told, outside, house.settings.audit, 0)
    usable = [
        one
        for one in found
        if one.root
        and one.size <= told.rows
        and not any(r.explains(one.size, one.root) for r in told.restores)
    ]
    return max(
        (one.size for one in usable if one.outside), default=max((one.size for one in usable), default=0)
    )


def examine(
    house: Installation,
    *,
    since: int = 0,
    later_keys: Sequence[Verifier] = (),
    acknowledged: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Examined:
    """``verify_log`` for who needs the statements too; ``later_keys`` may have signed what the log lacks by now."""
    begun = time.monotonic()
    outside, archive = _ask(house, since, newest=since > 0), ask_archive(house)
    with house.ledger.read() as connection:
        told = read_told(connection, since)
        seen, doubts = held_against(connection, archive, told.rows, told.restores)
    signed, noted = statements(told, outside, house.settings.audit, since, later_keys)
    if since and not any(one.size == since and one.root for one in signed):
        raise UsageError(
            f"there is no signed checkpoint of {since:,} events; leave --since out, or name one that is"
        )
    bodies = _bodies(house, told, signed, since, progress)
    known = {*house.settings.audit.acknowledged, *acknowledged}
    judge = Judge(told, bodies, signed, _by_tiles(house.ledger, outside), seen, known)
    judged = judge.judge()
    found = [*told.findings, *outside.findings, *noted, *bodies.found.all(), *judged]
    findings = sharpened([*found, *_weaker(doubts, found)])
    read, seconds = bodies.tree.size - since, time.monotonic() - begun
    to, news = judge.anchored_to, judge.news
    return Examined(LogVerdict(findings, since, read, len(signed), to, seconds, news), judge)


def _weaker(doubts: Sequence[Finding], found: Sequence[Finding]) -> list[Finding]:
    """What the archive contradicts, unsigned: left out where better evidence says that the log was changed."""
    changed = any(one.verdict is Verdict.MODIFIED for one in found)
    return [one for one in doubts if not (changed and one.verdict is Verdict.MODIFIED)]


def _ask(house: Installation, since: int, *, newest: bool) -> Outside:
    with house.ledger.read() as connection:
        before = read_before(connection, since)
    return ask(anchors_of(house.settings), before, newest=newest)


def _bodies(
    house: Installation, told: Told, signed: list[Statement], since: int, progress: Callable[[int, int], None]
) -> Bodies:
    with house.ledger.read() as connection:
        tree = Tree.stored(connection, since)
    return read_bodies(
        house.ledger,
        tree,
        told.rows,
        sizes={one.size for one in signed},
        tolerance=house.settings.audit.clock_tolerance_seconds,
        progress=progress,
    )


def _by_tiles(ledger: Ledger, outside: Outside) -> Callable[[Statement, int, int], list[Run] | None]:
    def compare(statement: Statement, first: int, last: int) -> list[Run] | None:
        anchor = outside.anchors[statement.where]
        if not anchor.keeps or statement.root is None:
            return None
        return differing(ledger, anchor, statement.size, statement.root, first, last)

    return compare
