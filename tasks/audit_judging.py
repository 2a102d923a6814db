"""From what was read to findings: does the log agree with everything that was signed about it, and how long must it be?

Decides classes. Reads nothing itself but, through ``differing``, the tiles of an anchor that the log does not agree
with. Knows nothing about how findings are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from fwd2bot_core.audit.verdicts import Finding, Verdict
from fwd2bot_core.errors import IntegrityError, StoreError
from infra import pairing
from infra.audit_restores import Restore
from infra.pairing import Head
from tasks.audit_anchored import Run
from tasks.audit_bodies import Bodies
from tasks.audit_statements import Statement
from tasks.audit_told import Told

Differing = Callable[[Statement, int, int], list[Run] | None]
"""(statement of an anchor, first, last): the events that differ from those that it keeps; None if it keeps none."""

_BAD = Verdict.MODIFIED


class Judge:
    """One log, all that was read of it, and what was signed about it."""

    def __init__(
        self,
        told: Told,
        bodies: Bodies,
        statements: Sequence[Statement],
        differing: Differing,
        seen: Head | None = None,
        acknowledged: Collection[str] = (),
    ) -> None:
        self.told, self.bodies, self._differing = told, bodies, differing
        self._acknowledged = acknowledged
        self.seen = seen  # what the archive says, if it knows of more events
        self._findings: list[Finding] = []
        self.runs: dict[Statement, list[Run]] = {}  # of anchors whose tiles were compared
        self.open = [one for one in statements if not self._lost(one)]
        self.agreed = [one for one in self.open if self._says(one) is True]
        self.denied = [one for one in self.open if self._says(one) is False]
        self.beyond = [one for one in self.open if one.size > told.rows]

    def judge(self) -> list[Finding]:
        """All that follows from statements and lengths."""
        self._compare_with_tiles()
        self._modified()
        self._forked()
        self._length()
        self._head()
        self._restored()
        self._not_yet_anchored()
        return self._findings

    @property
    def anchored_to(self) -> int:
        """How many events, from the first one on, somebody outside vouches for."""
        whole = [self._reach(one) for one, runs in self.runs.items() if not runs]
        return max([self._agreed_to(lambda one: one.outside), *whole])

    @property
    def news(self) -> tuple[str, ...]:
        """Recorded losses that nobody acknowledged yet, as they are acknowledged."""
        return tuple(one.known_as for one in self.told.restores if one.known_as not in self._acknowledged)

    def _agreed_to(self, counts: Callable[[Statement], bool]) -> int:
        """The largest size, below whatever is denied, that a statement which counts agrees with."""
        denied = min((one.size for one in self.denied), default=self.told.rows + 1)
        return max((one.size for one in self.agreed if one.size < denied and counts(one)), default=0)

    def _says(self, one: Statement) -> bool | None:
        """Whether the log agrees; None where that cannot be told."""
        root = self.bodies.roots.get(one.size)
        return None if root is None or one.root is None else root == one.root

    def _lost(self, one: Statement) -> bool:
        return self._says(one) is not True and any(r.explains(one.size, one.root) for r in self.told.restores)

    def _reach(self, one: Statement) -> int:
        """How far bodies and a statement can be compared."""
        return min(one.size, self.bodies.tree.size)

    def _compare_with_tiles(self) -> None:
        """Of each anchor that the log denies, or that has seen more, event by event."""
        suspects = {one.where: one for one in [*self.denied, *self.beyond] if one.outside and one.root}
        for one in suspects.values():  # the largest of each anchor
            try:
                runs = self._differing(one, self._agreed_to(_of(one.where)), self._reach(one))
            except (StoreError, IntegrityError) as error:
                self._add(Verdict.UNREADABLE, None, None, f"{error}", one.where)
                continue
            if runs is not None:
                self.runs[one] = runs

    def _modified(self) -> None:
        known = {one.seq for one in self._found(_BAD) if not one.somewhere}
        for one, runs in self.runs.items():
            for run in runs:
                if run.first == run.last and run.first in known:
                    continue  # the row itself told more
                until = run.last if run.last > run.first else None
                detail = f"not what was anchored: {one.where} keeps another hash"
                self._add(_BAD, run.first, until, detail, "audit_events.body")
        if self.denied and not any(self.runs.values()):
            self._window(self.denied[0])

    def _window(self, denied: Statement) -> None:
        """Nobody keeps single hashes, so that only two signed states limit where it is."""
        first = self._agreed_to(
            lambda one: one.outside or not denied.outside
        )  # the ledger's own may be forged
        exact = [one.seq or 0 for one in self._found(_BAD) if not one.somewhere]
        if any(first <= seq < denied.size for seq in exact):
            return  # a row that does not agree with itself explains it
        detail = (
            f"the events up to {denied.size - 1:,} do not give the root that {_named(denied)} was signed over"
            + (f", those up to {first - 1:,} do" if first else "")
        )
        self._add(_BAD, first, denied.size - 1, detail, denied.where, somewhere=True)

    def _forked(self) -> None:
        pair = self._contradiction()
        if pair is None:
            return
        firsts = [runs[0].first for runs in self.runs.values() if runs]
        window = self._agreed_to(lambda one: one.outside), max(min(one.size for one in pair) - 1, 0)
        seq, until = (min(firsts), None) if firsts else window
        detail = (
            f"{_named(pair[0])} and {_named(pair[1])} are both signed and cannot both be true: whoever has the key "
            "signed two histories"
        )
        self._add(Verdict.FORKED, seq, until, detail, pair[1].where, somewhere=until is not None)

    def _contradiction(self) -> tuple[Statement, Statement] | None:
        """Two signed states that exclude each other."""
        roots = dict[int, Statement]()
        for one in self.open:
            if one.root is not None and (other := roots.setdefault(one.size, one)).root != one.root:
                return other, one
        for denied in self.denied:  # the log, which one of them describes, is larger than both
            for agreed in self.agreed:
                if agreed.size >= denied.size:
                    return agreed, denied
        for kept, runs in self.runs.items():  # the anchor's events differ below a smaller state of the log
            for agreed in self.agreed:
                if runs and runs[0].first < agreed.size:
                    return agreed, kept
        return None

    def _length(self) -> None:
        """Events that certainly were there are gone; or the whole ledger is an older state of itself."""
        told, rows = self.told, self.told.rows
        traces = [one for one in told.traces if one.size is not None or not self._found(_BAD)]
        if not self.beyond and not traces and self.seen is None:
            return
        expected = max([*(one.size for one in self.beyond), *(one.size or 0 for one in traces)], default=0)
        if self.seen is not None and expected <= rows:
            expected = self.seen.events  # where anybody signed more, that counts
        witnesses = [f"{_named(one)} is signed" for one in self.beyond[-2:]] + [
            one.what for one in traces[:5]
        ]
        if self.seen is not None:
            witnesses.append(
                f"the archive has seen {self.seen.events:,} ({pairing.PATH}, which nobody signed and nights can write: "
                "weaker than an anchor)"
            )
        missing = (
            f"{expected - rows:,} events are missing after the last one"
            if expected > rows
            else "events are missing"
        )
        until = expected - 1 if expected > rows else None
        if traces or any(self.runs.values()) or self._found(_BAD):
            detail = f"{missing}: {'; '.join(witnesses)}"
            self._add(Verdict.TRUNCATED, rows, until, detail, "audit_events")
        else:
            detail = (
                f"{missing}: {'; '.join(witnesses)}. Nothing else in the ledger is later, so it was probably restored "
                "from a backup: restore a newer one, or record the loss with `fwd2bot audit restored`"
            )
            self._add(Verdict.RESTORED_FROM_BACKUP, rows, until, detail, "audit_events")

    def _head(self) -> None:
        told, tree = self.told, self.bodies.tree
        if told.head < told.rows:
            detail = f"the head counts {told.head:,} events, and there are {told.rows:,}"
            self._add(_BAD, told.head, told.rows - 1, detail, "audit_head")
        elif told.head == tree.size and told.frontier != tree.frontier().dump() and not self._found(_BAD):
            self._add(_BAD, None, None, "the head's hashes are not what the events give", "audit_head")

    def _restored(self) -> None:
        for one in self.told.restores:  # also before the events that were read: a loss is never left out
            known = one.known_as in self._acknowledged
            verdict = Verdict.LOSS_ACKNOWLEDGED if known else Verdict.RESTORED_FROM_BACKUP
            self._add(verdict, one.first, one.last, _loss(one), "log.restored")

    def _not_yet_anchored(self) -> None:
        rows = self.told.rows
        seen = max(
            (one.size for one in self.open if one.outside and one.root and one.size <= rows), default=0
        )
        first = max(seen, self.anchored_to)
        if first < rows:
            detail = f"nobody outside vouches for {rows - first:,} events so far"
            self._add(Verdict.NOT_YET_ANCHORED, first, rows - 1, detail, "anchors")

    def _found(self, verdict: Verdict) -> list[Finding]:
        return [one for one in (*self.bodies.found.all(), *self._findings) if one.verdict == verdict]

    def _add(
        self,
        verdict: Verdict,
        seq: int | None,
        until: int | None,
        detail: str,
        where: str,
        *,
        somewhere: bool = False,
    ) -> None:
        self._findings.append(Finding(verdict, seq, until, detail, where, somewhere))


def _of(where: str) -> Callable[[Statement], bool]:
    return lambda one: one.where == where


def _named(one: Statement) -> str:
    return f"the checkpoint of {one.size:,} events in {one.where}"


def _loss(one: Restore) -> str:
    weak = "" if one.signed else "; only the archive told of them, and nobody had signed that"
    lost = f"the events up to {one.last:,} of before were lost, as event {one.seq:,} of {one.at} records"
    return f"{lost}{weak}: {one.reason}"
