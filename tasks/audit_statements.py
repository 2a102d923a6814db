"""Every signed state of the log that anybody holds: the ledger's own checkpoints, what anchors really hold, what
witnesses and time stamps swear.

Opens notes and checks who signed. A state that nobody known signed is a finding and no statement. Knows nothing about
whether the log agrees with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from fwd2bot_core.audit.checkpoints import Checkpoint, read_opened
from fwd2bot_core.audit.notes import Opened, Verifier, add_lines, open_note, split_note
from fwd2bot_core.audit.verdicts import Finding, Verdict
from fwd2bot_core.errors import Fwd2BotError, IntegrityError, NoteInvalid, UnknownKey
from infra.anchors import Anchor, Held
from infra.anchors.timestamp import TimestampAnchor
from infra.audit_settings import AuditSettings
from tasks.audit_told import Before, Told

OWN = "audit_checkpoints"
SWEARING = ("timestamp", "witness")  # anchors that keep nothing; their receipts prove something by themselves


@dataclass(frozen=True, slots=True)
class Statement:
    """Somebody known signed that the first ``size`` events have this root. ``root`` None: a witness said the size."""

    size: int
    root: bytes | None
    where: str  # ``OWN``, or an anchor's name

    @property
    def outside(self) -> bool:
        """Kept where whoever has the ledger cannot change it."""
        return self.where != OWN


@dataclass(frozen=True, slots=True)
class Outside:
    """What the anchors answered."""

    anchors: Mapping[str, Anchor]
    before: Before
    held: Mapping[str, list[Held]]  # by anchor, without those that could not be read
    findings: list[Finding]
    newest: bool  # only each one's newest checkpoint was read

    def lacks(self, receipt: sa.Row[Any]) -> bool:
        """Whether a checkpoint that was put into an anchor is surely not there."""
        anchor, size = self.anchors[receipt.anchor], receipt.size
        if anchor.name not in self.held or not anchor.keeps or receipt.place != anchor.at(size):
            return False  # not read; keeps nothing; or its place is another one now
        sizes = {held.size for held in self.held[anchor.name]}
        return size not in sizes and (not self.newest or size > max(sizes, default=0))


def ask(anchors: Sequence[Anchor], before: Before, *, newest: bool) -> Outside:
    """Read every anchor, or only its newest checkpoint. Before the ledger's snapshot is taken: what is anchored must be
    in it then."""
    held, findings = dict[str, list[Held]](), list[Finding]()
    for anchor in anchors:
        try:
            held[anchor.name] = list(
                anchor.held() if anchor.keeps and not newest else anchor.newest(before.newest_note)
            )
        except Fwd2BotError as error:
            # a witness that cannot follow from what it saw contradicts; what is no note says nothing
            forked = isinstance(error, IntegrityError) and not isinstance(error, NoteInvalid | UnknownKey)
            verdict = Verdict.FORKED if forked else Verdict.UNREADABLE
            findings.append(Finding(verdict, None, None, f"{error}", anchor.name))
    return Outside({anchor.name: anchor for anchor in anchors}, before, held, findings, newest)


def statements(
    told: Told, outside: Outside, audit: AuditSettings, since: int, later_keys: Sequence[Verifier] = ()
) -> tuple[list[Statement], list[Finding]]:
    """All statements over ``since`` events and more, smallest first, and what is wrong with notes and receipts.

    ``later_keys`` may have signed states that are longer than the log is now.
    """
    reader = _Reader(told, later_keys)
    found = [*reader.own(), *reader.held(outside, since), *reader.sworn(audit, outside)]
    return sorted(set(found), key=lambda one: (one.size, one.where)), reader.findings


class _Reader:
    def __init__(self, told: Told, later_keys: Sequence[Verifier]) -> None:
        self._told, self._later_keys = told, later_keys
        self._keys = [*(span.verifier for span in told.spans), *later_keys]
        self._read = cache(self._opened)  # the same notes lie in the ledger and in several anchors
        self.findings: list[Finding] = []

    def own(self) -> Iterator[Statement]:
        for row in self._told.checkpoints:
            checkpoint = self._checkpoint(row.note, row.size, OWN)
            if checkpoint is None:
                continue
            if (checkpoint.size, checkpoint.root) != (row.size, row.root):
                self._note(Verdict.MODIFIED, row.size, "its size or root is not what its own note says", OWN)
            yield Statement(checkpoint.size, checkpoint.root, OWN)

    def held(self, outside: Outside, since: int) -> Iterator[Statement]:
        for name, notes in outside.held.items():
            for held in notes:
                if held.size < max(since, 1):
                    continue
                if held.note is None:
                    yield Statement(held.size, None, name)
                elif checkpoint := self._checkpoint(held.note, held.size, name):
                    yield Statement(checkpoint.size, checkpoint.root, name)

    def sworn(self, audit: AuditSettings, outside: Outside) -> Iterator[Statement]:
        """What receipts prove by themselves, and receipts for what is not there."""
        own = {row.size: row.note for row in self._told.checkpoints}
        for row in outside.before.receipts:
            given = audit.anchors.get(row.anchor)
            if given is None:
                continue  # an anchor that is not used any more
            if outside.lacks(row):
                self._note(
                    Verdict.UNREADABLE, row.size, "it was put there and is not there any more", row.anchor
                )
            elif (
                given.kind in SWEARING
                and row.size in own
                and (checkpoint := self._sworn(audit, row, own[row.size]))
            ):
                yield Statement(checkpoint.size, checkpoint.root, row.anchor)

    def _sworn(self, audit: AuditSettings, row: sa.Row[Any], note: str) -> Checkpoint | None:
        given = audit.anchors[row.anchor]
        try:
            checkpoint = Checkpoint.parse(split_note(note)[0])
            if given.kind == "timestamp":
                TimestampAnchor(row.anchor, given).check(row.evidence or "", checkpoint)
            else:
                _check_cosigned(note, row.evidence or "", given.vkey or "")
        except UnknownKey as error:
            self._note(Verdict.UNKNOWN_KEY, row.size, f"{error}", row.anchor)
            return None
        except IntegrityError as error:
            self._note(Verdict.MODIFIED, row.size, f"its receipt proves nothing: {error}", row.anchor)
            return None
        except Fwd2BotError as error:
            self._note(Verdict.UNREADABLE, row.size, f"{error}", row.anchor)
            return None
        return checkpoint

    def _checkpoint(self, note: str, size: int, where: str) -> Checkpoint | None:
        """The checkpoint of a note, if somebody signed it who might."""
        try:
            opened, checkpoint = self._read(note)
            if checkpoint.size != size:
                raise NoteInvalid(f"it is the checkpoint of {checkpoint.size:,} events")
            signed = {
                span.verifier.key_id.hex() for span in self._told.spans if span.verifier in opened.signatures
            }
            if not self._lost(checkpoint) and not self._might_sign(opened, checkpoint):
                raise UnknownKey(f"key {' and '.join(sorted(signed))} signed it, outside of its own time")
        except UnknownKey as error:
            self._note(Verdict.UNKNOWN_KEY, size, f"{error}", where)
            return None
        except NoteInvalid as error:
            broken = Verdict.MODIFIED if where == OWN else Verdict.UNREADABLE
            self._note(broken, size, f"what lies there is not what was signed: {error}", where)
            return None
        return checkpoint

    def _opened(self, note: str) -> tuple[Opened, Checkpoint]:
        opened = open_note(note, self._keys)
        checkpoint = Checkpoint.parse(opened.text)
        if not self._lost(checkpoint):  # a restore may have taken the key along that signed it
            read_opened(opened)
        return opened, checkpoint

    def _lost(self, checkpoint: Checkpoint) -> bool:
        return any(restore.explains(checkpoint.size, checkpoint.root) for restore in self._told.restores)

    def _might_sign(self, opened: Opened, checkpoint: Checkpoint) -> bool:
        spans = (span for span in self._told.spans if span.verifier in opened.signatures)
        lost = checkpoint.size > self._told.rows and any(key in opened.signatures for key in self._later_keys)
        return lost or any(span.covers(checkpoint.size) for span in spans)

    def _note(self, verdict: Verdict, size: int, problem: str, where: str) -> None:
        detail = f"the checkpoint of {size:,} events: {problem}"
        self.findings.append(Finding(verdict, None, None, detail, where))


def _check_cosigned(note: str, line: str, vkey: str) -> None:
    verifier = Verifier.parse(vkey)
    if verifier not in open_note(add_lines(note, line), [verifier]).signatures:
        raise UnknownKey("it was not signed by the witness that the settings name")
