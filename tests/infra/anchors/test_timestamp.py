"""RFC 3161 stamps of a real authority: what is kept as evidence can be checked again, by openssl too."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fwd2bot_core.errors import IntegrityError, ObjectMissing, SettingsError, StoreError, StoreUnreachable
from infra.anchors import anchor_of
from infra.anchors.timestamp import TimestampAnchor
from infra.settings import AnchorSettings
from tests.infra.anchors.trees import Log
from tests.servers import timestamps
from tests.servers.timestamps import Authority

LOG = Log(12)


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    if reason := timestamps.missing():
        pytest.skip(reason)
    with timestamps.authority(tmp_path / "tsa") as made:
        yield made


def anchor(authority: Authority, certificate: Path | None = None) -> TimestampAnchor:
    given = AnchorSettings(
        kind="timestamp", place=authority.url, certificate=str(certificate or authority.root)
    )
    made = anchor_of("stamps", given)
    assert isinstance(made, TimestampAnchor)
    return made


def stamped(asked: TimestampAnchor, size: int = 12) -> str:
    receipt = asked.publish(LOG.note(size), LOG.checkpoint(size), LOG)
    assert (receipt.place, receipt.retain_until) == (asked.place, None)
    assert receipt.evidence is not None
    return receipt.evidence


def test_a_stamp_says_when_the_checkpoint_was_there(authority: Authority, tmp_path: Path) -> None:
    asked = anchor(authority)
    evidence = stamped(asked)
    assert abs(asked.check(evidence, LOG.checkpoint(12)) - datetime.now(UTC)) < timedelta(minutes=5)
    (tmp_path / "reply").write_bytes(base64.b64decode(evidence))
    (tmp_path / "text").write_text(LOG.checkpoint(12).text())
    command = ["openssl", "ts", "-verify", "-in", "reply", "-data", "text", "-CAfile", authority.root]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "Verification: OK" in ended.stdout + ended.stderr


def test_another_checkpoints_stamp_and_a_spoilt_one_prove_nothing(authority: Authority) -> None:
    asked = anchor(authority)
    evidence = stamped(asked)
    spoilt = bytearray(base64.b64decode(evidence))
    spoilt[-20] ^= 1
    for wrong, size in ((evidence, 11), (base64.b64encode(spoilt).decode(), 12), ("no base64", 12), ("", 12)):
        with pytest.raises(IntegrityError, match=f"time stamp of {size} events"):
            asked.check(wrong, LOG.checkpoint(size))


def test_an_authority_that_another_root_vouches_for_is_not_believed(
    authority: Authority, tmp_path: Path
) -> None:
    with timestamps.authority(tmp_path / "stranger") as stranger:
        evidence = stamped(anchor(stranger))
        with pytest.raises(StoreError, match=r"gave no stamp that .*root.pem vouches for"):
            stamped(anchor(stranger, authority.root))
    with pytest.raises(IntegrityError):
        anchor(authority).check(evidence, LOG.checkpoint(12))


@pytest.mark.parametrize(
    ("mood", "said"),
    [("away", "HTTP 503: come back later"), ("nonsense", "gave no stamp"), ("replay", "gave no stamp")],
)
def test_an_authority_that_misbehaves_is_named(authority: Authority, mood: str, said: str) -> None:
    asked = anchor(authority)
    stamped(asked)
    authority.mood = mood
    with pytest.raises(StoreError, match=said) as caught:
        stamped(asked)
    assert authority.url in str(caught.value)


def test_nobody_there(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("nothing")
    with pytest.raises(StoreUnreachable, match="does not answer at http://127"):
        stamped(anchor(Authority("http://127.0.0.1:9/stamp", tmp_path / "root.pem")))


def test_a_certificate_that_is_none_is_named(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "wrong.pem").write_text("nothing")
    with pytest.raises(SettingsError, match=r"audit.anchors.stamps.certificate: .*wrong.pem"):
        stamped(anchor(authority, tmp_path / "wrong.pem"))


def test_it_keeps_nothing_and_can_be_examined(authority: Authority) -> None:
    asked = anchor(authority)
    assert (asked.keeps, list(asked.held()), asked.newest()) == (False, [], [])
    with pytest.raises(ObjectMissing):
        asked.read("checkpoint")
    assert "its certificate is right" in asked.examine()


def test_without_the_extra_it_says_what_to_install(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    with pytest.raises(SettingsError, match=r"pip install 'fwd2bot\[timestamp\]'"):
        stamped(anchor(authority))


def test_a_stamp_that_nobody_vouches_for_is_not_configured() -> None:
    with pytest.raises(ValueError, match="root certificate"):
        AnchorSettings(kind="timestamp", place="https://tsa.example/")
