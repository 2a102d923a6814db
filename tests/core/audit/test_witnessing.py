"""A witness's decision: what extends is cosigned; a rollback, a fork and every malformed word are not."""

from __future__ import annotations

import base64
import hashlib
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit import checkpoints, merkle
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer, Verifier
from fwd2bot_core.audit.witnessing import MAX_REQUEST_BYTES, Extends, Refusal, judge, parse_request
from fwd2bot_core.errors import NoteInvalid

LOG = Ed25519Signer.generate("example.com/log")
LOGS = {LOG.name: [LOG.verifier]}
WITNESS = Ed25519Signer.generate("witness.example/w1", COSIGNATURE)
LEAVES = [merkle.leaf_hash(bytes([number])) for number in range(40)]

# A log's two checkpoints and the proof between them, of the tests of transparency-dev/witness.
MONKEYS = Verifier.parse("monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT")
MONKEYS_5 = (
    "monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n"
    "\u2014 monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=\n"
)
MONKEYS_8 = (
    "monkeys\n8\nV8K9aklZ4EPB+RMOk1/8VsJUdFZR77GDtZUQq84vSbo=\n\n"
    "\u2014 monkeys 202ffoUEboiQYpHzICeaFmoy3RNviHTpAxYrq/eO4QQVQMvu9UebKBMX2MJC76NLthZaKsnKbCA8GxrjePZhvDCH7Ag=\n"
)
MONKEYS_PROOF = [
    bytes.fromhex(digest)
    for digest in (
        "b9e1d62618f7fee8034e4c5010f727ab24d8e4705cb296c374bf2025a87a10d2",
        "aac66cd7a79ce4012d80762fe8eec3a77f22d1ca4145c3f4cee022e7efcd599d",
        "89d0f753f66a290c483b39cd5e9eafb12021293395fad3d4a2ad053cfbcfdc9e",
        "29e40bb79c966f4c6fe96aff6f30acfce5f3e8d84c02215175d6e018a5dee833",
    )
]


def subtree(level: int, number: int) -> bytes:
    return merkle.root(LEAVES[number << level : (number + 1) << level])


def at(size: int, fork: bytes = b"") -> Checkpoint:
    leaves = LEAVES[:size]
    if fork:
        leaves[0] = merkle.leaf_hash(fork)
    return Checkpoint(LOG.name, size, merkle.root(leaves))


def asked(old: int, proof: list[bytes], note: str) -> bytes:
    hashes = "".join(base64.b64encode(digest).decode() + "\n" for digest in proof)
    return f"old {old}\n{hashes}\n{note}".encode()


def grown(old: int, size: int) -> bytes:
    proof = merkle.consistency_proof(old, size, subtree)
    return asked(old, proof, checkpoints.sign(at(size), [LOG]))


def status(decided: Extends | Refusal) -> int:
    return decided.status.value if isinstance(decided, Refusal) else HTTPStatus.OK.value


def test_another_programs_log_is_followed() -> None:
    logs = {"monkeys": [MONKEYS]}
    first = judge(asked(0, [], MONKEYS_5), logs, {})
    assert isinstance(first, Extends)
    seen = {"monkeys": first.checkpoint}
    assert isinstance(judge(asked(5, MONKEYS_PROOF, MONKEYS_8), logs, seen), Extends)
    assert status(judge(asked(5, MONKEYS_PROOF[::-1], MONKEYS_8), logs, seen)) == 422


@given(st.integers(0, 40), st.integers(0, 40))
def test_every_growth_is_cosigned_and_no_fork(old: int, size: int) -> None:
    old, size = sorted((old, size))
    seen = {LOG.name: at(old)} if old else {}
    decided = judge(grown(old, size), LOGS, seen)
    assert isinstance(decided, Extends)
    assert decided.checkpoint == at(size)
    if old:
        assert status(judge(grown(old, size), LOGS, {LOG.name: at(old, b"other")})) == 422


def test_its_line_belongs_under_the_note_and_strangers_lines_do_not() -> None:
    stranger = Ed25519Signer.generate("stranger")
    note = checkpoints.sign(at(3), [stranger, LOG])
    decided = judge(asked(0, [], note), LOGS, {})
    assert isinstance(decided, Extends)
    line, whole = decided.cosigned(WITNESS)
    assert whole.endswith(line)
    assert "stranger" not in whole
    for key in (WITNESS.verifier, LOG.verifier):
        assert checkpoints.read(whole, [key]) == at(3)


def test_a_rollback_is_answered_with_what_was_seen() -> None:
    seen = {LOG.name: at(9)}
    for old, size in ((0, 5), (5, 7), (0, 9), (0, 12), (7, 12)):
        decided = judge(grown(old, size), LOGS, seen)
        assert isinstance(decided, Refusal)
        assert (decided.status, decided.size) == (HTTPStatus.CONFLICT, 9)


def test_the_same_size_twice() -> None:
    seen = {LOG.name: at(9)}
    assert isinstance(judge(grown(9, 9), LOGS, seen), Extends)
    other = checkpoints.sign(at(9, b"other"), [LOG])
    assert status(judge(asked(9, [], other), LOGS, seen)) == 422
    assert status(judge(asked(9, [bytes(32)], checkpoints.sign(at(9), [LOG])), LOGS, seen)) == 422


def test_the_beginning() -> None:
    first = checkpoints.sign(at(3), [LOG])
    assert status(judge(asked(0, [bytes(32)], first), LOGS, {})) == 422  # a proof from nothing
    assert status(judge(asked(2, [], first), LOGS, {})) == 409
    empty = Checkpoint(LOG.name, 0, hashlib.sha256(b"").digest())
    assert status(judge(asked(0, [], checkpoints.sign(empty, [LOG])), LOGS, {})) == 200
    wrong = Checkpoint(LOG.name, 0, bytes(32))
    assert status(judge(asked(0, [], checkpoints.sign(wrong, [LOG])), LOGS, {})) == 422


def test_whom_it_believes() -> None:
    stranger = Ed25519Signer.generate(LOG.name)
    note = checkpoints.sign(at(3), [LOG])
    assert status(judge(asked(0, [], checkpoints.sign(at(3), [stranger])), LOGS, {})) == 403
    changed = note.replace("\n3\n", "\n4\n")
    assert status(judge(asked(0, [], changed), LOGS, {})) == 403
    assert status(judge(asked(0, [], note), {"other": [stranger.verifier]}, {})) == 404
    assert status(judge(asked(4, [], note), LOGS, {})) == 400  # old larger than new
    both = {LOG.name: [stranger.verifier, LOG.verifier]}  # before and after a rotation
    assert status(judge(asked(0, [], note), both, {})) == 200


NOTE = checkpoints.sign(at(3), [LOG])
HASH = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        "",
        "old 0\n",
        NOTE,
        f"old 0\n{NOTE}",
        f"old\n\n{NOTE}",
        f"old 00\n\n{NOTE}",
        f"old 01\n\n{NOTE}",
        f"old -1\n\n{NOTE}",
        f"old  1\n\n{NOTE}",
        f"old 1 \n\n{NOTE}",
        f"old {2**63}\n\n{NOTE}",
        f"OLD 0\n\n{NOTE}",
        f"old 0\r\n\r\n{NOTE}",
        f"old 1\n{HASH[:-1]}\n\n{NOTE}",
        f"old 1\n{HASH.replace('A=', 'B=')}\n\n{NOTE}",
        f"old 1\n{base64.b64encode(bytes(33)).decode()}\n\n{NOTE}",
        f"old 1\n{HASH} \n\n{NOTE}",
        "old 1\n" + f"{HASH}\n" * 64 + f"\n{NOTE}",
        f"old 0\n\n\n{NOTE}",
        f"old 0\n\n{NOTE}more\n",
        f"old 0\n\n{NOTE}" + "x" * MAX_REQUEST_BYTES,
        "old 0\n\nexample.com/log\nthree\n\n\u2014 example.com/log AAAAAAAA\n",
    ],
)
def test_a_malformed_request(body: str) -> None:
    assert status(judge(body.encode(), LOGS, {})) == 400


def test_bytes_that_are_no_text() -> None:
    assert status(judge(b"old 0\n\n\xff" + NOTE.encode(), LOGS, {})) == 400


def test_the_longest_proof_is_read() -> None:
    request = parse_request(("old 1\n" + f"{HASH}\n" * 63 + f"\n{NOTE}").encode())
    assert len(request.proof) == 63
    assert request.note == NOTE


@given(st.binary(max_size=300))
def test_rubbish_is_refused_and_never_more(body: bytes) -> None:
    assert status(judge(body, LOGS, {})) == 400
    with pytest.raises(NoteInvalid):
        parse_request(b"x" + body)
