"""The proof of one event as a text: small, made and read without loss, closed to everything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.merkle import Frontier, inclusion_proof, leaf_hash, node_hash, verify_inclusion
from fwd2bot_core.audit.notes import Ed25519Signer
from fwd2bot_core.audit.tlog_proof import TlogProof, format_proof, parse
from fwd2bot_core.errors import IntegrityError

ORIGIN = "fwd2bot/6f1c2f0e-7d0b-4a51-9f0e-2c8a4e0d9b11"  # as long as the default one of an installation
HASH = bytes(32)
NOTE = f"{ORIGIN}\n7\n+DLcWRTDUDu/vLM0Q7h+c/SKw2EG9/4wIvvqDy8K4pQ=\n\n\u2014 {ORIGIN} bm90IGEgc2lnbmF0dXJl\n"
HEAD = "c2sp.org/tlog-proof@v1\n"
LINE = "gZAzJm2ZfXj0GVqTAydMGzKCBXLDPRV2Pw7yTZ0bW1o=\n"


@pytest.fixture(scope="module")
def million() -> tuple[list[list[bytes]], Frontier]:
    """All levels of a tree of a million numbered events, and its frontier."""
    size = 1_000_000
    levels = [[leaf_hash(b"%d" % number) for number in range(size)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(*pair) for pair in zip(below[::2], below[1::2], strict=False)])
    peaks = [levels[level][(size >> level) - 1] for level in range(len(levels)) if size >> level & 1]
    return levels, Frontier(size, peaks[::-1])


@pytest.mark.parametrize("index", [0, 777_777, 999_999])
def test_the_proof_of_one_event_in_a_million_is_at_most_1200_bytes(
    million: tuple[list[list[bytes]], Frontier], index: int, tmp_path: Path
) -> None:
    levels, frontier = million
    signer = Ed25519Signer.generate(ORIGIN)
    note = checkpoints.sign(Checkpoint(ORIGIN, frontier.size, frontier.root()), [signer])
    path = tmp_path / "event.tlog-proof"
    path.write_text(
        format_proof(index, inclusion_proof(index, frontier.size, lambda level, n: levels[level][n]), note),
        encoding="utf-8",
    )
    assert path.stat().st_size <= 1_200

    found = parse(path.read_text(encoding="utf-8"))  # all that a stranger needs beside the event and the key
    trusted = checkpoints.read(found.note, [signer.verifier])
    leaf = leaf_hash(b"%d" % index)
    assert verify_inclusion(leaf, found.index, trusted.size, found.hashes, trusted.root)
    assert not verify_inclusion(leaf_hash(b"forged"), found.index, trusted.size, found.hashes, trusted.root)


def test_the_lines_are_those_of_the_format() -> None:
    assert format_proof(3, [HASH, HASH], NOTE).split("\n")[:5] == [
        "c2sp.org/tlog-proof@v1",
        "index 3",
        "A" * 43 + "=",
        "A" * 43 + "=",
        "",
    ]
    assert format_proof(3, [HASH], NOTE).endswith("=\n\n" + NOTE)
    assert format_proof(0, [], NOTE, b"hint").startswith(f"{HEAD}extra aGludA==\nindex 0\n\n")


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.none() | st.binary(max_size=50),
)
def test_what_was_formatted_comes_back(index: int, hashes: list[bytes], extra: bytes | None) -> None:
    assert parse(format_proof(index, hashes, NOTE, extra)) == TlogProof(index, hashes, NOTE, extra)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "first line"),
        (f"c2sp.org/tlog-proof@v2\nindex 3\n\n{NOTE}", "first line"),
        (f"{HEAD}index 3\n{LINE}", "no checkpoint"),
        (f"{HEAD}index 3\n{LINE}\n", "no checkpoint"),
        (f"{HEAD}{LINE}\n{NOTE}", "which event"),
        (f"{HEAD}\n{NOTE}", "which event"),
        (f"{HEAD}index -3\n{LINE}\n{NOTE}", "which event"),
        (f"{HEAD}index 03\n{LINE}\n{NOTE}", "which event"),
        (f"{HEAD}index \u0663\n{LINE}\n{NOTE}", "which event"),  # a digit, but no ASCII one
        (f"{HEAD}index 3 \n{LINE}\n{NOTE}", "which event"),
        (f"{HEAD}index  3\n{LINE}\n{NOTE}", "which event"),
        (f"{HEAD}index {'9' * 5000}\n{LINE}\n{NOTE}", "which event"),
        (f"{HEAD}index 3\nextra aGludA==\n{LINE}\n{NOTE}", "base64"),
        (f"{HEAD}extra aGludA\nindex 3\n{LINE}\n{NOTE}", "base64"),
        (f"{HEAD}index 3\nno hash!\n\n{NOTE}", "base64"),
        (f"{HEAD}index 3\naGludA==\n\n{NOTE}", "32 bytes"),
        (f"{HEAD}index 3\n{LINE.replace('1o=', '1p=')}\n{NOTE}", "base64"),  # the same bytes, spelt otherwise
        (f"{HEAD}index 3\r\n{LINE}\n{NOTE}", "which event"),
        (f"{HEAD}index 3\n{LINE * 64}\n{NOTE}", "64 hashes"),
        (f"{HEAD}index 3\n{LINE}\n{NOTE}{'x' * 2**20}", "the most is"),
    ],
)
def test_another_text_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(IntegrityError, match=complaint):
        parse(text)


@given(st.data())
def test_a_text_with_one_character_changed_is_refused_or_says_something_else(data: st.DataObject) -> None:
    text = format_proof(3, [HASH, HASH], NOTE)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.characters(codec="utf-8")) + text[at + 1 :]
    try:
        said = parse(changed)
    except IntegrityError:
        return
    assert (said == parse(text)) == (changed == text)
