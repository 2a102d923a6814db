"""A real witness, asked over HTTP: what it cosigns, what it shows, and what it will not have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fwd2bot_core.audit import checkpoints
from fwd2bot_core.audit.notes import COSIGNATURE, Ed25519Signer, add_lines, open_note
from fwd2bot_core.errors import IntegrityError, ObjectMissing, StoreError, StoreUnreachable
from infra.anchors import anchor_of
from infra.anchors.witness import WitnessAnchor
from infra.settings import AnchorSettings
from infra.witness import Witness, WitnessServer, _Handler
from infra.witness_state import WitnessState
from tests.infra.anchors.trees import KEY, ORIGIN, Log

ME = Ed25519Signer.generate("compliance.example/witness", COSIGNATURE)
LOG = Log(700)


@contextmanager
def serving(file: Path, *keys: Ed25519Signer) -> Iterator[str]:
    with WitnessState(file) as state:
        witness = Witness(ME, [key.verifier for key in keys], state, lambda line: None)
        with WitnessServer(witness, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "state", KEY) as url:
        yield url


def anchor(place: str, vkey: str | None = None) -> WitnessAnchor:
    given = AnchorSettings(kind="witness", place=place, vkey=vkey or ME.verifier.vkey())
    made = anchor_of("compliance", given)
    assert isinstance(made, WitnessAnchor)
    return made


def put(asked: WitnessAnchor, log: Log, size: int) -> str | None:
    return asked.publish(log.note(size), log.checkpoint(size), log).evidence


def test_it_cosigns_a_log_that_grows(place: str) -> None:
    asked = anchor(place)
    for size in (1, 256, 257, 700, 700):
        line = put(asked, LOG, size)
        assert line is not None
        opened = open_note(add_lines(LOG.note(size), line), [ME.verifier, KEY.verifier])
        assert set(opened.signatures) == {ME.verifier, KEY.verifier}
        [held] = asked.newest(LOG.note(1))
        assert held.size == size
        assert checkpoints.read(held.note or "", [KEY.verifier]) == LOG.checkpoint(size)


def test_it_is_asked_even_when_it_shows_nothing(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What C2SP asks of a witness is add-checkpoint and no more."""
    monkeypatch.setattr(_Handler, "do_GET", lambda self: self._answer(404, "text/plain", "no\n"))
    asked = anchor(place)
    assert asked.newest(None) == []
    assert [(one.size, one.note) for one in asked.newest(LOG.note(300))] == [(0, None)]
    put(asked, LOG, 500)
    assert [(one.size, one.note) for one in asked.newest(LOG.note(300))] == [(500, None)]
    assert asked.newest(LOG.note(500)) == []
    with pytest.raises(IntegrityError, match=r"of 500 events .*forked|other 500 events"):
        asked.newest(Log(500, "forged").note(500))


def test_another_history_is_a_contradiction(place: str) -> None:
    asked = anchor(place)
    put(asked, LOG, 500)
    with pytest.raises(IntegrityError, match="forked"):
        put(asked, Log(700, "forged"), 700)
    with pytest.raises(IntegrityError, match=r"of 500 events .*forked|other 500 events"):
        put(asked, Log(500, "forged"), 500)
    with pytest.raises(IntegrityError, match="has seen 500 events of this log, which now has 300"):
        put(asked, LOG, 300)
    assert put(asked, LOG, 700)


def test_a_log_that_it_does_not_know(tmp_path: Path) -> None:
    with serving(tmp_path / "state", Ed25519Signer.generate("other.example/log")) as url:
        with pytest.raises(StoreError, match=r"refused \(404\): it does not know this log"):
            put(anchor(url), LOG, 5)
        with pytest.raises(StoreError, match="404"):
            anchor(url).newest(LOG.note(5))
    with (
        serving(tmp_path / "state2", Ed25519Signer.generate(ORIGIN)) as url,
        pytest.raises(StoreError, match=r"refused \(403\): it knows none of the keys"),
    ):
        put(anchor(url), LOG, 5)


def test_a_witness_with_another_key_is_not_believed(place: str) -> None:
    stranger = Ed25519Signer.generate("compliance.example/witness", COSIGNATURE)
    with pytest.raises(StoreError, match=r"signs with another key than audit\.anchors\.compliance\.vkey"):
        put(anchor(place, stranger.verifier.vkey()), LOG, 5)


def test_nobody_there_and_nothing_kept(place: str) -> None:
    with pytest.raises(StoreUnreachable, match="does not answer"):
        put(anchor("http://127.0.0.1:9"), LOG, 5)
    asked = anchor(place)
    assert (asked.keeps, list(asked.held())) == (False, [])
    with pytest.raises(ObjectMissing):
        asked.read("checkpoint")


def test_it_can_be_examined_without_a_trace(place: str, tmp_path: Path) -> None:
    before = (tmp_path / "state").read_bytes()
    assert f"key is {ME.name}" in anchor(place).examine()
    assert (tmp_path / "state").read_bytes() == before
    with pytest.raises(StoreError, match="answers like no witness"):
        anchor(f"{place}/elsewhere").examine()
