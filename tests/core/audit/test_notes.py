"""Signed notes: equal to what Go's ``sumdb/note`` writes, and closed to everything else."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.audit import notes
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer, Verifier, add_lines, open_note, sign_note
from fwd2bot_core.errors import ExitCode, NoteInvalid

# The keys and the note of the documentation and tests of golang.org/x/mod/sumdb/note.
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFup"
    "LLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSd"
    "eX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
NOTE = TEXT + "\n" + PETER_LINE
PETER = Verifier.parse(VKEY)


def test_what_go_signs_we_sign_byte_for_byte() -> None:
    signer = Ed25519Signer.load(SKEY)
    assert signer.verifier.vkey() == VKEY
    assert signer.skey() == SKEY
    assert sign_note(TEXT, [signer]) == NOTE


def test_one_known_key_is_verified_and_another_line_is_told() -> None:
    opened = open_note(NOTE + ENOCH_LINE, [PETER])
    assert (opened.text, opened.signatures) == (TEXT, (PETER,))
    assert opened.unknown == (("EnochRoot", bytes.fromhex("af0cfe78")),)
    assert open_note(NOTE + ENOCH_LINE, [PETER, Verifier.parse(ENOCH)]).unknown == ()
    assert open_note(NOTE, []).signatures == ()


def test_a_repeated_signature_counts_once_and_a_wrong_repetition_is_no_note() -> None:
    assert open_note(NOTE + PETER_LINE, [PETER]).signatures == (PETER,)
    wrong = PETER_LINE.replace("ZJku", "ZJkv")
    assert open_note(NOTE + wrong, []).unknown
    with pytest.raises(NoteInvalid, match="PeterNeumann"):
        open_note(NOTE + wrong, [PETER])


def test_a_known_keys_signature_over_another_text() -> None:
    with pytest.raises(NoteInvalid, match="not over this text") as caught:
        open_note(NOTE.replace("answer", "cause"), [PETER])
    assert caught.value.exit_code == ExitCode.INTEGRITY


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        TEXT,
        TEXT + "\n",
        TEXT + PETER_LINE,
        "\n" + PETER_LINE,
        NOTE[:-1],
        NOTE.replace("\n", "\r\n"),
        "\x01" + NOTE,
        "\t" + NOTE,
        "\ud800" + NOTE,
        NOTE + "Unexpected line.\n",
        NOTE + "\n",
        NOTE.replace("\u2014 ", "- "),
        NOTE.replace("PeterNeumann", "Peter Neumann"),
        NOTE.replace("PeterNeumann", "Peter\u00a0Neumann"),
        NOTE.replace("PeterNeumann", "Peter+Neumann"),
        NOTE.replace("PeterNeumann", ""),
        NOTE.replace("nAM=", "nAN="),  # the same bytes, spelt otherwise
        NOTE.replace("nAM=", "nAM"),
        NOTE.replace("nAM=", "nA-M="),
        NOTE.replace("nAM=", "nAM= "),
        TEXT + "\n\u2014 PeterNeumann x08gow==\n",  # a key's id without a signature
        TEXT + "\n" + PETER_LINE * 101,
        "a" * notes.MAX_NOTE_BYTES + NOTE,
        "\u2014" * (notes.MAX_NOTE_BYTES // 3) + NOTE,
    ],
)
def test_what_is_no_note(note: str) -> None:
    for verifiers in ([], [PETER]):
        with pytest.raises(NoteInvalid):
            open_note(note, verifiers)


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n", "\ud800\n"])
def test_a_text_that_no_note_can_hold_is_not_signed(text: str) -> None:
    with pytest.raises(NoteInvalid):
        sign_note(text, [Ed25519Signer.load(SKEY)])


def test_a_text_with_empty_lines_ends_at_the_last_one() -> None:
    text = "first\n\n\u2014 no signature\n\nlast\n\n"
    assert open_note(sign_note(text, [Ed25519Signer.load(SKEY)]), [PETER]).text == text


@pytest.mark.parametrize("key", [VKEY, SKEY])
def test_a_mangled_key_is_no_key(key: str) -> None:
    load = Verifier.parse if key == VKEY else Ed25519Signer.load
    parts = {key[i:j] for i in range(len(key)) for j in range(i + 1, len(key) + 1)} - {key}
    parts |= {key[:i] + chr(ord(key[i]) + 1) + key[i + 1 :] for i in range(len(key))}
    for mangled in parts:
        with pytest.raises(NoteInvalid) as caught:
            load(mangled)
        if key == SKEY and len(mangled) > 60:
            assert key[-40:-10] not in str(caught.value)  # a secret is not told


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        VKEY.replace("c74f20a3", "C74F20A3"),
        VKEY + "\n",
        "a" * 2000,
    ],
)
def test_a_key_of_another_length_type_or_spelling(vkey: str) -> None:
    with pytest.raises(NoteInvalid):
        Verifier.parse(vkey)


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    assert not Verifier.of("x", b"\x02" + bytes(31)).verify(TEXT, bytes(64))
    assert not PETER.verify(TEXT, b"")


def test_two_keys_of_one_name_and_id_are_refused() -> None:
    other = object.__new__(Verifier)  # nobody can compute one in a test's time
    for field, value in (("name", PETER.name), ("key_id", PETER.key_id), ("public", bytes(32)), ("kind", 1)):
        object.__setattr__(other, field, value)
    with pytest.raises(NoteInvalid, match="two different keys"):
        open_note(NOTE, [PETER, other])
    assert open_note(NOTE, [PETER, PETER]).signatures == (PETER,)


def test_a_signer_that_signs_with_another_key_is_found_out() -> None:
    class Mixed(Ed25519Signer):
        def sign(self, text: str) -> bytes:
            return Ed25519Signer.generate("other").sign(text)

    with pytest.raises(NoteInvalid, match="not of its own key"):
        sign_note(TEXT, [Mixed("mixed", Ed25519PrivateKey.generate())])


def test_a_private_key_does_not_show_in_a_message() -> None:
    signer = Ed25519Signer.generate("log")
    assert signer.skey()[-30:] not in f"{signer!r} {signer.verifier!r} {vars(signer)}"


def test_a_cosignature_signs_the_time_too() -> None:
    witness = Ed25519Signer("w", Ed25519PrivateKey.generate(), COSIGNATURE, clock=lambda: 1679315147.9)
    line = notes.signature(TEXT, witness)
    assert len(line.payload) == 72
    assert notes.cosigned_at(line.payload) == 1679315147
    assert witness.verifier.verify(TEXT, line.payload)
    assert not witness.verifier.verify(TEXT, (1679315148).to_bytes(8) + line.payload[8:])
    assert not witness.verifier.verify(TEXT, b"\xff" * 8 + line.payload[8:])
    plain = Verifier.of("w", witness.verifier.public)
    assert plain.key_id != witness.verifier.key_id
    assert plain.verify(f"cosignature/v1\ntime 1679315147\n{TEXT}", line.payload[8:])  # as C2SP writes it
    assert not plain.verify(TEXT, line.payload[8:])
    assert Ed25519Signer.load(witness.skey()).verifier == witness.verifier
    assert Verifier.parse(witness.verifier.vkey()) == witness.verifier


def test_lines_are_added_once() -> None:
    both = add_lines(NOTE, ENOCH_LINE)
    assert both == NOTE + ENOCH_LINE
    assert add_lines(both, ENOCH_LINE + PETER_LINE) == both
    for wrong in ("", "x\n", ENOCH_LINE[:-1], "x\n\n" + ENOCH_LINE, "\n" + ENOCH_LINE):
        with pytest.raises(NoteInvalid):
            add_lines(NOTE, wrong)


@given(st.text(max_size=200), st.binary(min_size=32, max_size=32))
def test_whatever_can_be_signed_opens_as_it_was(text: str, seed: bytes) -> None:
    signer = Ed25519Signer("log", Ed25519PrivateKey.from_private_bytes(seed))
    try:
        note = sign_note(text + "\n", [signer])
    except NoteInvalid:
        return
    opened = open_note(note, [signer.verifier])
    assert (opened.text, opened.signatures) == (text + "\n", (signer.verifier,))


@given(st.data())
def test_one_changed_byte_never_goes_unseen(data: st.DataObject) -> None:
    raw = bytearray(NOTE.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        opened = open_note(raw.decode("utf-8", "surrogateescape"), [PETER])
    except NoteInvalid:
        return
    assert opened.signatures == ()  # another name or id: nobody's whom we know
    assert opened.unknown


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: base64.b64encode(b).decode()))
def test_base64_has_one_spelling(text: str) -> None:
    try:
        data = notes.strict_base64(text, "it")
    except NoteInvalid:
        return
    assert base64.b64encode(data).decode() == text
