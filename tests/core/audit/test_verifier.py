"""The verifier's own cryptography and form checks, against RFC 8032, ``cryptography`` and the product's modules."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fwd2bot_core.audit import canonical, checkpoints, merkle, note_keys
from fwd2bot_core.audit.verifier import verify
from fwd2bot_core.errors import Fwd2BotError
from tests.core.audit.bundles import ORIGIN, tiny

SOURCE = Path(verify.__file__)
LOG = tiny()
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(40)]
RFC_8032 = [  # section 7.1, tests 1 to 3: public key, message, signature
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def test_it_needs_the_standard_library_of_python_3_8_only() -> None:
    tree = ast.parse(SOURCE.read_text(), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    assert not imported & {"socket", "urllib", "subprocess", "ctypes", "tempfile", "shutil", "pickle"}


@pytest.mark.parametrize(("public", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(public: str, message: str, signature: str) -> None:
    key, text, signed = map(bytes.fromhex, (public, message, signature))
    assert verify.ed25519_verify(key, text, signed)
    assert not verify.ed25519_verify(key, text + b"x", signed)
    higher = int.from_bytes(signed[32:], "little") + verify.ORDER  # the same scalar, written in another way
    assert not verify.ed25519_verify(key, text, signed[:32] + higher.to_bytes(32, "little"))
    assert not verify.ed25519_verify(key, text, signed + b"x")
    assert not verify.ed25519_verify(key[:31], text, signed)


@settings(max_examples=40, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), text=st.binary(max_size=50), bit=st.integers(-1, 511))
@example(seed=bytes(32), text=b"", bit=255)
@example(seed=bytes(32), text=b"", bit=511)
def test_signatures_are_judged_as_by_cryptography(seed: bytes, text: bytes, bit: int) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(text)
    if bit >= 0:
        signature = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
    assert verify.ed25519_verify(public, text, signature) is judged(public, text, signature)
    assert verify.ed25519_verify(signature[:32], text, signature) is judged(signature[:32], text, signature)


def judged(public: bytes, text: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def subtree(level: int, number: int) -> bytes:
    return merkle.root(LEAVES[number << level : (number + 1) << level])


def test_every_inclusion_in_every_small_tree() -> None:
    for size in range(1, len(LEAVES) + 1):
        top = merkle.root(LEAVES[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, subtree)
            assert verify.verify_inclusion(LEAVES[index], index, size, proof, top)
            for wrong in (*range(index), *range(index + 1, size + 2)):
                assert not verify.verify_inclusion(LEAVES[index], wrong, size, proof, top)
            assert not verify.verify_inclusion(LEAVES[index], index, size, [*proof, LEAVES[0]], top)
            assert not proof or not verify.verify_inclusion(LEAVES[index], index, size, proof[:-1], top)


def test_every_consistency_of_every_small_tree() -> None:
    roots = [merkle.root(LEAVES[:size]) for size in range(len(LEAVES) + 1)]
    for size in range(len(LEAVES) + 1):
        tree = verify.Tree()
        for leaf in LEAVES[:size]:
            tree.add(leaf)
        assert (tree.size, tree.root()) == (size, roots[size])
        for old in range(size + 1):
            proof = merkle.consistency_proof(old, size, subtree)
            arguments = (old, roots[old], size, roots[size])
            assert verify.verify_consistency(*arguments, proof)
            assert not verify.verify_consistency(*arguments, [*proof, LEAVES[0]])
            assert not verify.verify_consistency(old, LEAVES[1], size, roots[size], proof)
            assert not verify.verify_consistency(old, roots[old], size, LEAVES[1], proof) or old == 0


@settings(max_examples=150, deadline=None)
@given(
    old=st.integers(-1, 41),
    size=st.integers(-1, 41),
    proof=st.lists(st.sampled_from(LEAVES[:3]) | st.just(b""), max_size=7),
    place=st.integers(0, 7),
)
def test_wrong_proofs_are_judged_as_by_the_product(
    old: int, size: int, proof: list[bytes], place: int
) -> None:
    top = merkle.root(LEAVES[: max(size, 0)])
    before = merkle.root(LEAVES[: max(old, 0)])
    if 0 <= old < size <= 40:
        proof = [*merkle.consistency_proof(old, size, subtree)[:place], *proof[place:]]
    assert verify.verify_consistency(old, before, size, top, proof) is merkle.verify_consistency(
        old, before, size, top, proof
    )
    assert verify.verify_inclusion(LEAVES[0], old, size, proof, top) is merkle.verify_inclusion(
        LEAVES[0], old, size, proof, top
    )


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_notes_are_judged_as_by_the_product(data: st.DataObject) -> None:
    note = LOG.note(5)
    place = data.draw(st.integers(0, len(note)))
    kept = data.draw(st.integers(0, 2))
    note = note[:place] + data.draw(st.text("\n +A=\u2014\t5w\u3000", max_size=2)) + note[place + kept :]
    signers = data.draw(st.lists(st.sampled_from([LOG.log_key, LOG.witness]), unique_by=id))
    verifiers = [signer.verifier for signer in signers]
    keys = [verify.parse_key(each.vkey()) for each in verifiers]
    try:
        ours = checkpoints.read(note, verifiers)
    except Fwd2BotError:
        ours = None
    try:
        theirs = verify.read_checkpoint(note, keys)
    except (verify.Bad, *verify.UNREADABLES):
        theirs = None
    if theirs is not None and not theirs.signed:
        theirs = None  # nobody known signed it: the product raises, the verifier asks its caller to look
    assert (ours and (ours.origin, ours.size, ours.root)) == (
        theirs and (theirs.origin, theirs.size, theirs.root)
    )


def test_a_log_key_speaks_for_its_own_log_only() -> None:
    other = note_keys.Ed25519Signer.generate("another/log")
    note = checkpoints.sign(checkpoints.Checkpoint(ORIGIN, 1, LEAVES[0]), [other])
    assert not verify.read_checkpoint(note, [verify.parse_key(other.verifier.vkey())]).signed


def test_keys_are_read_as_by_the_product() -> None:
    for signer in (LOG.log_key, LOG.witness):
        vkey = signer.verifier.vkey()
        key = verify.parse_key(vkey)
        assert (key.name, key.id, key.kind, key.public) == (
            signer.verifier.name,
            signer.verifier.key_id,
            signer.verifier.kind,
            signer.verifier.public,
        )
        assert str(key) == vkey
        for wrong in (vkey[:-1], vkey.replace("+", "-", 1), "x" + vkey, vkey + "A", ""):
            with pytest.raises(ValueError):  # noqa: PT011 (one sentence for each way to mistype)
                verify.parse_key(wrong)


@given(salt=st.binary(min_size=16, max_size=20), field=st.text(max_size=5), value=st.text(max_size=9))
def test_commitments_are_the_product_s(salt: bytes, field: str, value: str) -> None:
    assert verify.commitment(salt, field, value) == canonical.commitment(salt, field, value)


def test_a_cell_never_starts_a_formula() -> None:
    event = {"seq": 1, "type": "=cmd|' /C calc'!A0", "reason_text": "@x", "actor": {"ref": "r", "role": "+1"}}
    row = verify.table_row(event, {"r": "-tanaka"}).decode()
    assert row.startswith("1,,,'=cmd|' /C calc'!A0,'-tanaka,'+1,")
    assert ",'@x," in row
