"""The log tells its own keys: a chain of signed statements that cannot be bent."""

from __future__ import annotations

from typing import Any

import pytest

from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.key_history import ADDED, REPLACED, ROTATED, Span, history, statement
from fwd2bot_core.audit.notes import Ed25519Signer, sign_note, split_note
from fwd2bot_core.errors import NoteInvalid

FIRST, SECOND, THIRD = (Ed25519Signer.generate("log") for _ in range(3))
Told = list[tuple[int, str, dict[str, Any]]]


def told() -> Told:
    return [
        (3, ADDED, statement(3, FIRST)),
        (9, ROTATED, statement(9, SECOND, FIRST.verifier, FIRST)),
        (12, REPLACED, statement(12, THIRD, SECOND.verifier)),
    ]


def test_keys_in_their_order_and_what_they_may_sign() -> None:
    spans = history(told())
    assert spans == [
        Span(FIRST.verifier, 3, 9),
        Span(SECOND.verifier, 9, 12),
        Span(THIRD.verifier, 12, None, vouched=False),
    ]
    assert [size for size in range(20) if spans[0].covers(size)] == [4, 5, 6, 7, 8, 9]
    assert [size for size in range(20) if spans[1].covers(size)] == [10, 11, 12]
    assert spans[2].covers(13)
    assert history([]) == []


def test_a_statement_is_no_checkpoint() -> None:
    for _, _, after in told():
        with pytest.raises(NoteInvalid):
            Checkpoint.parse(split_note(after["statement"])[0])


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (1, lambda seq, kind, after: (seq + 1, kind, after)),  # moved to another place of the log
        (1, lambda seq, kind, after: (seq, REPLACED, {**after, "old": THIRD.verifier.vkey()})),
        (1, lambda seq, kind, after: (seq, kind, {**after, "new": THIRD.verifier.vkey()})),
        (
            1,
            lambda seq, kind, after: (seq, kind, statement(9, SECOND, FIRST.verifier)),
        ),  # the old one did not sign
        (1, lambda seq, kind, after: (seq, kind, {"new": after["new"], "statement": after["statement"]})),
        (1, lambda seq, kind, after: (seq, ADDED, statement(9, SECOND))),  # as if there had been no key
        (1, lambda seq, kind, after: (seq, ADDED, after)),
        (1, lambda seq, kind, after: (seq, "audit.key-loved", after)),
        (1, lambda seq, kind, after: (seq, kind, {"new": after["new"], "old": after["old"]})),
        (0, lambda seq, kind, after: (seq, kind, {**after, "statement": sign_note("x\n", [FIRST])})),
        (2, lambda seq, kind, after: (seq, ROTATED, after)),
    ],
)
def test_a_bent_history(place: int, change: Any) -> None:
    events = told()
    events[place] = change(*events[place])
    with pytest.raises(NoteInvalid):
        history(events)


def test_a_history_without_its_beginning_or_middle() -> None:
    for missing in (0, 1):
        with pytest.raises(NoteInvalid):
            history([event for place, event in enumerate(told()) if place != missing])


def test_another_logs_key_or_the_same_one_cannot_follow() -> None:
    for new in (FIRST, Ed25519Signer.generate("another/log")):
        with pytest.raises(NoteInvalid, match="cannot follow"):
            statement(9, new, FIRST.verifier, FIRST)
