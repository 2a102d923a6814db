"""Checkpoints: three exact lines, and only the log's own key or a witness's makes one believed."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit import checkpoints, notes
from fwd2bot_core.audit.checkpoints import Checkpoint
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer, Verifier
from fwd2bot_core.errors import NoteInvalid, UnknownKey

# A log, and a checkpoint of it, of the tests of transparency-dev/witness.
MONKEYS = Verifier.parse("monkeys+db4d9f7e+AULaJMvTtDLHPUcUrjdDad9vDlh/PTfC2VV60JUtCfWT")
MONKEYS_5 = (
    "monkeys\n5\n41smjBUiAU70EtKlT6lIOIYtRTYxYXsDB+XHfcvu/BE=\n\n"
    "\u2014 monkeys 202fftzGl3LVoqjXfwCFZZXs8I+5G22+Ek2K0AOyBuSJ/8/CZawNF+6fNlTKOCd622pbzJNkkJFWuw9DbicZCkEx9AY=\n"
)
ROOT = base64.b64encode(bytes(32)).decode()
LOG = Ed25519Signer.generate("example.com/log")


def test_another_programs_checkpoint_is_read() -> None:
    checkpoint = checkpoints.read(MONKEYS_5, [MONKEYS])
    assert (checkpoint.origin, checkpoint.size) == ("monkeys", 5)
    assert checkpoint.root.hex().startswith("e35b268c")
    assert notes.split_note(MONKEYS_5)[0] == checkpoint.text()


@given(st.integers(0, checkpoints.LARGEST_SIZE), st.binary(min_size=32, max_size=32))
def test_what_is_signed_is_read(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(LOG.name, size, root)
    assert checkpoints.read(checkpoints.sign(checkpoint, [LOG]), [LOG.verifier]) == checkpoint


def test_ours_is_small_enough_to_be_printed_in_every_report() -> None:
    log = Ed25519Signer.generate("fwd2bot/0b3e5ff6-d0a4-4f4d-9d8e-3d34d6a4ad7a")
    note = checkpoints.sign(Checkpoint(log.name, 10**9, hashlib.sha256(b"").digest()), [log])
    assert len(note.encode()) <= 256


def test_further_lines_of_other_logs_are_kept() -> None:
    text = f"example.com/log\n7\n{ROOT}\nmore\nand more\n"
    checkpoint = Checkpoint.parse(text)
    assert checkpoint.extensions == ("more", "and more")
    assert checkpoint.text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "log\n1\n",
        f"log\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"log\n\n{ROOT}\n",
        f"log\n1\n{ROOT}\n\n",
        f"log\n1\n{ROOT}\n\nmore\n",
        f"log\n1\r\n{ROOT}\n",
        *(
            f"log\n{size}\n{ROOT}\n"
            for size in (
                "00",
                "01",
                "+1",
                "-1",
                " 1",
                "1 ",
                "1.0",
                "1_000",
                "0x1",
                "\u0661",
                "1e3",
                "9" * 5000,
            )
        ),
        f"log\n{2**63}\n{ROOT}\n",
        f"log\n1\n{ROOT[:-1]}\n",
        f"log\n1\n{ROOT} \n",
        f"log\n1\n{ROOT.replace('A=', 'B=')}\n",
        f"log\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        f"log\n1\n{base64.b64encode(bytes(33)).decode()}\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteInvalid):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "checkpoint",
    [
        Checkpoint("", 1, bytes(32)),
        Checkpoint("a\nb", 1, bytes(32)),
        Checkpoint("log", -1, bytes(32)),
        Checkpoint("log", 2**63, bytes(32)),
        Checkpoint("log", 1, bytes(31)),
        Checkpoint("log", 1, bytes(32), ("",)),
        Checkpoint("log", 1, bytes(32), ("a\nb",)),
    ],
)
def test_what_no_checkpoint_can_say_is_not_signed(checkpoint: Checkpoint) -> None:
    with pytest.raises(NoteInvalid):
        checkpoints.sign(checkpoint, [LOG])


def test_nobody_whom_we_know_signed() -> None:
    note = checkpoints.sign(Checkpoint(LOG.name, 3, bytes(32)), [LOG])
    stranger = Ed25519Signer.generate(LOG.name)
    with pytest.raises(UnknownKey, match=f"example.com/log {LOG.verifier.key_id.hex()}"):
        checkpoints.read(note, [stranger.verifier])
    with pytest.raises(UnknownKey):
        checkpoints.read(note, [])


def test_a_logs_key_does_not_speak_for_another_log() -> None:
    note = checkpoints.sign(Checkpoint("example.com/other", 3, bytes(32)), [LOG])
    with pytest.raises(UnknownKey, match="keys of other logs"):
        checkpoints.read(note, [LOG.verifier])


def test_a_witnesss_cosignature_is_enough_for_whoever_trusts_it() -> None:
    witness = Ed25519Signer.generate("witness.example/w1", COSIGNATURE)
    note = checkpoints.sign(Checkpoint(LOG.name, 3, bytes(32)), [LOG, witness])
    assert checkpoints.read(note, [witness.verifier]).size == 3
    assert checkpoints.read(note, [LOG.verifier]).size == 3


def test_a_note_that_is_no_checkpoint() -> None:
    with pytest.raises(NoteInvalid):
        checkpoints.read(notes.sign_note("example.com/log\nhello\n", [LOG]), [LOG.verifier])
