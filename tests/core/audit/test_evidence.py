"""A bundle is whole, the same for the same evidence, and each way to tamper with it has its verdict."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fwd2bot_core.audit import evidence
from fwd2bot_core.audit.verifier import verify
from fwd2bot_core.errors import UsageError
from tests.core.audit.bundles import (
    ACTOR,
    ORIGIN,
    SEGMENT,
    event,
    judged,
    names,
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
    assert details["events"] == "6, each proven; no event from 0 to 5 is left out"
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
