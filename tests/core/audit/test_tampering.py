"""Somebody who changes a bundle, manifest and hashes included, or the log itself, is found out, each by his verdict."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.note_keys import Ed25519Signer
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.audit.verifier import verify
from tests.core.audit.bundles import (
    ACTOR,
    ORIGIN,
    SEGMENT,
    START,
    Log,
    anchor,
    event,
    judged,
    packed,
    part,
    repacked,
    segment,
    tiny,
    told,
)

LOG = tiny()
BUNDLE = packed(LOG.evidence())
KEY = verify.parse_key(LOG.log_key.verifier.vkey())
Parts = dict[str, bytes]


def edit(number: int) -> Callable[[Parts], None]:
    """Another operator in one event, as one with a database and patience would write it."""

    def change(parts: Parts) -> None:
        lines = parts["events.jsonl"].split(b"\n")
        lines[number] = lines[number].replace(b'"operator"', b'"approver"')
        parts["events.jsonl"] = b"\n".join(lines)
        parts["events.csv"] = parts["events.csv"].replace(b",operator,", b",approver,", number + 1)
        rows = parts["events.csv"].split(b",approver,")
        parts["events.csv"] = b",operator,".join(rows[:-1]) + b",approver," + rows[-1]

    return change


def drop_event(number: int) -> Callable[[Parts], dict[str, Any]]:
    def change(parts: Parts) -> dict[str, Any]:
        for name, end in (("events.jsonl", b"\n"), ("events.csv", b"\r\n")):
            lines = parts[name].split(end)
            del lines[number + (name == "events.csv")]
            parts[name] = end.join(lines)
        return {"events": 5}

    return change


def swap(name: str, old: bytes, new: bytes) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        assert old in parts[name]
        parts[name] = parts[name].replace(old, new)

    return change


def without_hash(data: bytes) -> bytes:
    proofs = json.loads(data)
    proofs[-1]["hashes"].pop()
    return json.dumps(proofs).encode()


NEWEST = f"checkpoints/{6:020}.note"
TAMPERED: dict[str, tuple[Callable[[Parts], Any], tuple[str, str, int | None]]] = {
    "an event edited": (edit(4), ("events", verify.MODIFIED, 4)),
    "an event in the middle gone": (drop_event(3), ("events", verify.TRUNCATED, 3)),
    "the last event gone": (drop_event(5), ("events", verify.TRUNCATED, 5)),
    "an event that is no JSON": (
        swap("events.jsonl", LOG.bodies[2], b"x"),
        ("events", verify.MODIFIED, 2),
    ),
    "the last line cut off": (
        swap("events.jsonl", LOG.bodies[5] + b"\n", LOG.bodies[5]),
        ("events", verify.TRUNCATED, None),
    ),
    "two events in the other order": (
        swap("events.jsonl", LOG.bodies[1] + b"\n" + LOG.bodies[2], LOG.bodies[2] + b"\n" + LOG.bodies[1]),
        ("events", verify.MODIFIED, 1),
    ),
    "a proof gone": (lambda parts: parts.pop(verify.proof_name(2)) and None, ("events", verify.MODIFIED, 2)),
    "a proof of another event": (
        lambda parts: parts.update({verify.proof_name(2): parts[verify.proof_name(3)]}),
        ("events", verify.MODIFIED, 2),
    ),
    "the table embellished": (
        swap("events.csv", b",operator,", b",approver,"),
        ("table", verify.MODIFIED, None),
    ),
    "a line more in the table": (
        lambda parts: parts.update({"events.csv": parts["events.csv"] + b"7\r\n"}),
        ("table", verify.MODIFIED, None),
    ),
    "another name for a commitment": (
        swap("values.json", b"tanaka", b"suzuki"),
        ("names", verify.MODIFIED, None),
    ),
    "a segment edited": (
        lambda parts: parts.update({f"segments/{SEGMENT}": segment().replace(b'"row":1', b'"row":7')}),
        ("segments", verify.MODIFIED, 1),
    ),
    "a segment gone": (
        lambda parts: parts.pop(f"segments/{SEGMENT}") and None,
        ("segments", verify.TRUNCATED, 1),
    ),
    "a segment that no event names": (
        lambda parts: parts.update({"segments/a.jsonl": b""}),
        ("segments", verify.MODIFIED, None),
    ),
    "a checkpoint edited": (swap(NEWEST, b"\n6\n", b"\n7\n"), ("checkpoints", verify.MODIFIED, None)),
    "a checkpoint under another size": (
        lambda parts: parts.update({f"checkpoints/{4:020}.note": parts[NEWEST]}),
        ("checkpoints", verify.MODIFIED, None),
    ),
    "a checkpoint without signatures": (
        lambda parts: parts.update({NEWEST: parts[NEWEST].split(b"\n\n")[0]}),
        ("checkpoints", verify.UNREADABLE, None),
    ),
    "a consistency proof gone": (
        lambda parts: parts.update({"consistency.json": b"[]"}),
        ("consistency", verify.TRUNCATED, 2),
    ),
    "a consistency proof of something else": (
        swap("consistency.json", b'"new": 5', b'"new": 6'),
        ("consistency", verify.TRUNCATED, 2),
    ),
    "a consistency proof changed": (
        lambda parts: parts.update({"consistency.json": without_hash(parts["consistency.json"])}),
        ("consistency", verify.MODIFIED, 5),
    ),
    "an anchored checkpoint gone": (
        lambda parts: parts.pop(f"checkpoints/{2:020}.note") and None,
        ("anchors", verify.TRUNCATED, None),
    ),
    "a witness that never signed": (
        lambda parts: parts.update(
            {
                "keys.json": json.dumps([{"vkey": str(KEY)}]).encode(),
                "anchors.json": json.dumps([anchor(6, "witness")]).encode(),
            }
        ),
        ("anchors", verify.UNKNOWN_KEY, None),
    ),
    "no JSON where JSON belongs": (
        lambda parts: parts.update({"anchors.json": b"[" * 100_000}),
        ("anchors", verify.UNREADABLE, None),
    ),
    "a ZIP in the bundle": (
        lambda parts: parts.update({"policies/a.zip": BUNDLE}),
        ("manifest", verify.UNREADABLE, None),
    ),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_whoever_makes_manifest_and_hashes_anew_is_still_found_out(case: str, tmp_path: Path) -> None:
    change, expected = TAMPERED[case]
    found = judged(repacked(BUNDLE, change), tmp_path, given=[KEY])
    assert found.verdict != verify.VALID
    assert expected in told(found), found.findings


@pytest.mark.parametrize("kept", [2, 5])
def test_a_log_that_was_rewritten_with_its_own_key_is_a_fork(tmp_path: Path, kept: int) -> None:
    """One older checkpoint is left: over a power of two events, and over another number of them."""
    other = rewritten()
    whole = other.evidence()
    notes = [(size, (LOG if size == kept else other).note(size)) for size, _ in whole.checkpoints]
    forged = replace(whole, checkpoints=notes)
    unclear = {("consistency", verify.MODIFIED, 2)}
    told_of = told(judged(packed(forged), tmp_path, given=[KEY]))
    assert (
        told_of
        == {
            2: {*unclear, ("events", verify.FORKED, 0)},
            5: {*unclear, ("consistency", verify.FORKED, 5), ("events", verify.FORKED, 2)},
        }[kept]
    )
    some = replace(forged, bodies=lambda: iter(other.bodies[3:]), segment=None)
    assert ("consistency", verify.MODIFIED, 2) in told(judged(packed(some), tmp_path, given=[KEY]))


def test_a_fork_shows_against_what_was_anchored(tmp_path: Path) -> None:
    alone = packed(rewritten().evidence(segment=None))
    assert judged(alone, tmp_path, given=[KEY]).verdict == verify.VALID  # nobody can tell, without ...
    against = {size: judged(alone, tmp_path, given=[KEY], elsewhere=[LOG.note(size)]) for size in (5, 3)}
    assert told(against[5]) == {("elsewhere", verify.FORKED, None)}  # ... what was kept outside
    assert told(against[3]) == {("elsewhere", verify.UNREADABLE, None)}


def rewritten() -> Log:
    other = tiny(log_key=LOG.log_key, witness=LOG.witness)
    other.bodies[1] = event(1, reason_text="rewritten")
    return other


def test_a_bundle_that_is_older_than_a_checkpoint_from_elsewhere_is_short(tmp_path: Path) -> None:
    grown = tiny(8, log_key=LOG.log_key, witness=LOG.witness)
    found = judged(BUNDLE, tmp_path, given=[KEY], elsewhere=[grown.note(8)])
    assert told(found) == {("elsewhere", verify.TRUNCATED, 6)}
    same = judged(BUNDLE, tmp_path, given=[KEY], elsewhere=[LOG.note(6)])
    assert same.verdict == verify.VALID


def test_a_restore_that_the_log_records_is_no_fork(tmp_path: Path) -> None:
    before = tiny(8, log_key=LOG.log_key, witness=LOG.witness, sizes=(2, 8))
    lost = verify.read_checkpoint(before.note(8), [KEY])
    after = tiny(log_key=LOG.log_key, witness=LOG.witness)
    after.bodies[4] = restore(4, [(8, lost.root)])
    data = packed(after.evidence())
    assert told(judged(data, tmp_path, given=[KEY])) == {("events", verify.RESTORED, 4)}
    found = judged(data, tmp_path, given=[KEY], elsewhere=[before.note(8)])
    assert told(found) == {("events", verify.RESTORED, 4), ("elsewhere", verify.RESTORED, None)}
    assert found.verdict == Verdict.RESTORED_FROM_BACKUP


def restore(number: int, lost: list[tuple[int, bytes]]) -> bytes:
    states = [{"size": size, "root": root.hex()} for size, root in lost]
    said = {"first": number, "last": 7, "checkpoints": states}
    return Event(
        type="log.restored",
        occurred_at=START + timedelta(minutes=1),
        actor=Actor(ACTOR, "operator"),
        subject=said,
    ).body(number)


def test_the_verdicts_are_the_product_s_in_its_order() -> None:
    known = Verdict.LOSS_ACKNOWLEDGED  # strangers acknowledge nothing
    assert tuple(verdict.value for verdict in Verdict if verdict is not known) == verify.VERDICTS


def test_policies_that_events_name_are_there_word_for_word(tmp_path: Path) -> None:
    yaml = b"id: keep-seven-years\n"
    sha256 = hashlib.sha256(yaml).hexdigest()
    log = tiny()
    log.bodies[2] = event(2, policy={"id": "keep", "version": 1, "sha256": sha256})
    data = packed(log.evidence(policy={sha256: yaml}.get))
    assert part(data, f"policies/{sha256}.yaml") == yaml
    assert judged(data, tmp_path).verdict == verify.VALID
    wrong = repacked(data, lambda parts: parts.update({f"policies/{sha256}.yaml": b"id: keep-one-day\n"}))
    assert told(judged(wrong, tmp_path)) == {("policies", verify.MODIFIED, None)}


def test_a_time_stamp_of_something_else_counts_for_nothing(tmp_path: Path) -> None:
    text = LOG.note(6).rpartition("\n\n")[0] + "\n"
    token = b"DER..." + hashlib.sha256(text.encode()).digest() + b"...DER"
    stamped = anchor(6, "timestamp") | {"evidence": base64.b64encode(token).decode()}
    assert judged(packed(LOG.evidence(anchors=[stamped])), tmp_path).verdict == verify.VALID
    other = stamped | {"evidence": base64.b64encode(token[1:-20]).decode()}
    assert ("anchors", verify.MODIFIED, None) in told(judged(packed(LOG.evidence(anchors=[other])), tmp_path))


def test_a_key_that_replaced_a_lost_one_is_to_be_compared(tmp_path: Path) -> None:
    keys = [each | {"vouched": False, "since": 3} for each in LOG.evidence().keys[:1]]
    anchors = [anchor(6, "store")]
    data = packed(LOG.evidence(keys=keys, anchors=anchors))
    assert told(judged(data, tmp_path)) == {("keys", verify.UNKNOWN_KEY, 3)}
    assert judged(data, tmp_path, given=[KEY]).verdict == verify.VALID


def test_a_wrong_key_is_an_unknown_one_even_if_the_bundle_brings_its_own(tmp_path: Path) -> None:
    stranger = verify.parse_key(Ed25519Signer.generate(ORIGIN).verifier.vkey())
    expected = {("checkpoints", verify.UNKNOWN_KEY, None)}
    assert told(judged(BUNDLE, tmp_path, given=[stranger])) == expected
    forged = packed(tiny().evidence())  # whole in itself, by another key
    assert judged(forged, tmp_path).verdict == verify.VALID
    assert told(judged(forged, tmp_path, given=[KEY])) == expected


def test_a_new_key_vouches_for_checkpoints_of_an_older_one(tmp_path: Path) -> None:
    rotated = tiny()
    older = rotated.evidence()
    rotated.log_key = Ed25519Signer.generate(ORIGIN)
    whole = rotated.evidence(
        checkpoints=[*older.checkpoints[:2], (6, rotated.note(6))],
        keys=[*older.keys, *rotated.evidence().keys],
    )
    new, old = (verify.parse_key(log.keys[0]["vkey"]) for log in (rotated.evidence(), older))
    assert judged(packed(whole), tmp_path, given=[new]).verdict == verify.VALID
    assert told(judged(packed(whole), tmp_path, given=[old])) == {("checkpoints", verify.UNKNOWN_KEY, None)}
