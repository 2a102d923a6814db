"""A bundle is whole, the same for the same evidence, and each way to tamper with it has its verdict."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fwd2bot_core.audit import evidence
from fwd2bot_core.audit.events import Actor, Event
from fwd2bot_core.audit.note_keys import Ed25519Signer
from fwd2bot_core.audit.verdicts import Verdict
from fwd2bot_core.audit.verifier import verify
from fwd2bot_core.errors import UsageError
from tests.core.audit.bundles import (
    ACTOR,
    ORIGIN,
    SEGMENT,
    START,
    anchor,
    event,
    judged,
    packed,
    repacked,
    segment,
    tiny,
    told,
)

LOG = tiny()
BUNDLE = packed(LOG.evidence())
KEY = verify.parse_key(LOG.log_key.verifier.vkey())
Parts = dict[str, bytes]


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.namelist()


def part(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


def test_equal_evidence_makes_equal_bundles() -> None:
    assert packed(LOG.evidence()) == BUNDLE
    assert packed(LOG.evidence(selection={})) != BUNDLE


def test_what_is_in_a_bundle() -> None:
    assert part(BUNDLE, "events.jsonl") == b"".join(body + b"\n" for body in LOG.bodies)
    assert part(BUNDLE, f"segments/{SEGMENT}") == segment()
    assert part(BUNDLE, "verify.py") == Path(verify.__file__).read_bytes()
    table = part(BUNDLE, "events.csv").decode().splitlines()
    assert table[0].split(",") == verify.COLUMNS.split()
    assert table[1].startswith(
        "0,00000000-0000-0000-0000-000000000000,2026-11-24T17:00:00.000000Z,test,tanaka,"
    )
    proofs = [name for name in names(BUNDLE) if name.startswith("proofs/")]
    assert proofs == [verify.proof_name(number) for number in range(6)]
    assert part(BUNDLE, proofs[3]).decode().startswith("c2sp.org/tlog-proof@v1\nindex 3\n")
    assert f"audit log {ORIGIN}" in part(BUNDLE, "certificate.txt").decode()


def test_names_and_segments_are_left_out_on_demand(tmp_path: Path) -> None:
    bare = packed(LOG.evidence(values=None, segment=None))
    assert not {"values.json", f"segments/{SEGMENT}"} & set(names(bare))
    with zipfile.ZipFile(io.BytesIO(bare)) as archive:
        assert [name for name in archive.namelist() if b"tanaka" in archive.read(name)] == []
    assert judged(bare, tmp_path, given=[KEY]).verdict == verify.VALID


@pytest.mark.parametrize("given", [[], [KEY]])
def test_a_whole_bundle_is_valid_packed_and_unpacked(tmp_path: Path, given: list[verify.Key]) -> None:
    found = judged(BUNDLE, tmp_path, given=given)
    assert (found.verdict, told(found), found.events, found.anchored) == (verify.VALID, set(), 6, 6)
    details = {each.part: each.detail for each in found.findings}
    assert details["keys"].startswith("given to this program" if given else "TAKEN FROM THE BUNDLE")
    assert details["events"] == "6, each proven; none from 0 to 5 is left out"
    with zipfile.ZipFile(tmp_path / "evidence.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert verify.verify(tmp_path / "unpacked", given).verdict == verify.VALID


def test_many_events_share_one_file_of_proofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "SINGLE_PROOFS", 5)
    data = packed(LOG.evidence())
    assert "proofs.jsonl" in names(data)
    assert not any(name.startswith("proofs/") for name in names(data))
    assert judged(data, tmp_path).verdict == verify.VALID
    lines = part(data, "proofs.jsonl").split(b"\n")
    wrong = repacked(data, lambda parts: parts.update({"proofs.jsonl": b"\n".join([*lines[:2], *lines[3:]])}))
    assert told(judged(wrong, tmp_path)) == {("events", verify.MODIFIED, 2)}


def test_events_that_wait_for_a_checkpoint_or_an_anchor_are_told_as_a_window(tmp_path: Path) -> None:
    log = tiny(8)
    found = judged(packed(log.evidence()), tmp_path)  # the newest checkpoint is of 6 events
    assert told(found) == {("events", verify.NOT_YET_ANCHORED, 6)}
    unanchored = log.evidence(anchors=[each for each in log.evidence().anchors if each["size"] < 5])
    found = judged(packed(unanchored), tmp_path)
    assert told(found) == {("events", verify.NOT_YET_ANCHORED, 2)}
    assert "events 2 to 7" in next(each.detail for each in found.findings if each.part == "events")
    nothing = log.evidence(anchors=[], checkpoints=[], keys=[])
    found = judged(packed(nothing), tmp_path)
    assert {verdict for _, verdict, _ in told(found)} == {verify.NOT_YET_ANCHORED}


def test_no_events_at_all_are_valid_evidence_of_nothing(tmp_path: Path) -> None:
    assert judged(packed(LOG.evidence(bodies=lambda: iter(()))), tmp_path).verdict == verify.VALID


def test_times_that_cannot_be(tmp_path: Path) -> None:
    back = tiny()
    back.bodies[3] = event(3, minute=-6)  # more than five minutes before the one in front of it
    assert told(judged(packed(back.evidence()), tmp_path)) == {("events", verify.CLOCK_SUSPECT, 3)}
    late = tiny()
    late.bodies[5] = event(5, minute=11)  # six minutes after the witness signed it
    assert told(judged(packed(late.evidence()), tmp_path)) == {("events", verify.CLOCK_SUSPECT, 5)}
    near = tiny()
    near.bodies[3:6] = [event(3, minute=-4), event(4, minute=0), event(5, minute=9)]
    assert judged(packed(near.evidence()), tmp_path).verdict == verify.VALID


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
        ("consistency", verify.FORKED, 2),
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


def test_a_log_that_was_rewritten_with_its_own_key_is_a_fork(tmp_path: Path) -> None:
    other = tiny(log_key=LOG.log_key, witness=LOG.witness)
    other.bodies[1] = event(1, reason_text="rewritten")
    forged = other.evidence(checkpoints=[(2, LOG.note(2)), *other.evidence().checkpoints[1:]])
    assert told(judged(packed(forged), tmp_path, given=[KEY])) == {("consistency", verify.FORKED, 2)}
    alone = packed(replace(other.evidence(), segment=None))
    assert judged(alone, tmp_path, given=[KEY]).verdict == verify.VALID  # nobody can tell, without ...
    against = {size: judged(alone, tmp_path, given=[KEY], elsewhere=[LOG.note(size)]) for size in (5, 3)}
    assert told(against[5]) == {("elsewhere", verify.FORKED, None)}  # ... what was anchored
    assert told(against[3]) == {("elsewhere", verify.UNREADABLE, None)}


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
    assert tuple(verdict.value for verdict in Verdict) == verify.VERDICTS


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


def test_a_hostile_event_does_nothing_to_the_page() -> None:
    log = tiny(1, sizes=(1,))
    log.bodies[0] = event(0, reason_text="<script>alert(1)</script>\u202egpj.exe", run_id='"><img src=x>')
    shown = part(packed(log.evidence()), "index.html").decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202egpj.exe" in shown
    assert not {"<script", "<img", "\u202e"} & {
        word for word in ("<script", "<img", "\u202e") if word in shown
    }
    assert "http" not in shown.replace("http-equiv", "")
    assert ACTOR not in shown


def test_the_page_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "SHOWN", 4)
    assert "These are the first 4 of 6" in part(packed(LOG.evidence()), "index.html").decode()


def test_a_bundle_that_nobody_could_open_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fwd2bot_core.audit.bundle.MAX_BYTES", 8_000)
    with pytest.raises(UsageError, match="Export less at a time"):
        packed(LOG.evidence())


@pytest.mark.parametrize("options", [(), ("--json",), ("--key", str(KEY))])
def test_the_program_runs_alone(options: tuple[str, ...], tmp_path: Path) -> None:
    """Without the product, without any package, in another folder."""
    (tmp_path / "evidence.zip").write_bytes(BUNDLE)
    (tmp_path / "verify.py").write_bytes(part(BUNDLE, "verify.py"))
    command = [sys.executable, "-I", "-S", "verify.py", "evidence.zip", *options]
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    if options == ("--json",):
        said = json.loads(ended.stdout)
        assert (said["verdict"], said["key"], said["events"]) == ("VALID", "from the bundle", 6)
    else:
        assert ended.stdout.endswith("\nVALID: evidence.zip\n")
