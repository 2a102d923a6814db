"""A line compresses by itself and sends tokens and facts only; the server believes no more than it can check."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import infra.edge_line
from flows.cli import main
from fwd2bot_core.errors import ObjectForbidden
from fwd2bot_core.retention.roles import Role
from infra.edge_line import Send, Sent, compress_folder
from infra.installation import Installation
from infra.objects import LegalHolds, Versions
from infra.tables import object_versions, summaries
from tasks import people
from tasks.audit_verify import verify_log
from tasks.destroy_checks import Kept, names_one_version
from tasks.verify import verify
from tests.flows.console.visits import program
from tests.houses import COLLECTION, lay_out, night, tiny_jpeg
from tests.tasks.signers import Signer
from tests.tasks.steps import events, rows


class Killed(Exception):
    """The line's process ends here."""


@pytest.fixture
def server(house: Callable[..., Installation], ledger_url: str) -> Installation:
    originals = {"originals": f"edge://{COLLECTION}"}
    made = house(
        archive={"ledger": ledger_url},
        night={"batch_size": 2, "smallest_batch": 1},
        **{f"collections__{COLLECTION}": originals},
    )
    people.register(made.ledger, "Line", Signer().public, [Role.OPERATOR])
    people.register(made.ledger, "Ivo", Signer().public, [Role.AUDITOR])
    return made


def sending(client: TestClient, spoilt: Callable[[str, dict[str, Any]], None] = lambda *_: None) -> Send:
    def send(path: str, said: dict[str, Any]) -> dict[str, Any]:
        spoilt(path, said)
        answer = client.post(f"/api/edge/{path}", json=said)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return send


def stored(house: Installation) -> int:
    return len(rows(house, summaries))


def at_the_line(house: Installation, folder: Path, send: Send) -> Sent:
    spool = folder.parent / "spool"
    spool.mkdir(exist_ok=True)
    return compress_folder(send, COLLECTION, folder, house.worker_config(COLLECTION), spool)


def test_tokens_and_facts_arrive_and_no_photo_does(server: Installation, tmp_path: Path) -> None:
    folder, client = tmp_path / "camera", program(server, "Line")
    lay_out(folder, 3)
    (folder / "broken.jpg").write_bytes(b"broken")
    sent = at_the_line(server, folder, sending(client))
    assert (sent.compressed, sent.rejected) == (3, 1)
    assert "3 compressed" in (sent.summary or "")
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    assert stored(server) == 3
    assert verify(server.ledger, server.archive).findings == ()
    assert verify_log(server).acceptable
    whole = {server.archive.sha256(one.key) for one in server.archive.list()}
    assert not whole & {hashlib.sha256(tiny_jpeg(number)).hexdigest() for number in range(3)}
    started, committed = events(server, "run.started")[0], events(server, "batch.committed")[0]
    with server.ledger.read() as connection:
        line = people.find(connection, "Line").ref
    assert started["actor"]["ref"] == committed["actor"]["ref"] == line
    again = at_the_line(server, folder, sending(client))
    assert (again.compressed, stored(server)) == (0, 3)
    assert "nothing new among 4 images" in (again.summary or "")
    lay_out(folder, 1, start=3)
    assert at_the_line(server, folder, sending(client)).compressed == 1


def test_originals_that_were_never_in_a_store_are_kept(server: Installation, tmp_path: Path) -> None:
    lay_out(tmp_path / "camera", 1)
    at_the_line(server, tmp_path / "camera", sending(program(server, "Line")))
    [version] = rows(server, object_versions)
    with pytest.raises(Kept):
        names_one_version(version.identity)
    originals = server.originals(COLLECTION)
    assert not isinstance(originals, Versions | LegalHolds)
    with pytest.raises(ObjectForbidden, match="stay at the line"):
        originals.read(version.key)
    with pytest.raises(ObjectForbidden, match="stay at the line"):
        night(server)


def test_a_killed_line_goes_on(server: Installation, tmp_path: Path) -> None:
    folder, client = tmp_path / "camera", program(server, "Line")
    lay_out(folder, 5)
    kept: list[dict[str, Any]] = []

    def dies(path: str, said: dict[str, Any]) -> None:
        if path == "receipts":
            kept.append(said)
            if len(kept) == 2:
                raise Killed

    with pytest.raises(Killed):
        at_the_line(server, folder, sending(client, dies))
    assert stored(server) == 2
    assert client.post("/api/edge/receipts", json=kept[0]).json() == {"committed": False}
    assert client.post("/api/edge/receipts", json=kept[1]).json() == {"committed": True}  # it came late
    assert at_the_line(server, folder, sending(client)).compressed == 1
    assert stored(server) == 5
    assert len(events(server, "run.started")) == 1
    stale = client.post("/api/edge/receipts", json=kept[0] | {"run": "edge-another"})
    assert stale.json() == {"committed": False}
    assert verify(server.ledger, server.archive).findings == ()


def test_what_is_not_what_the_receipt_says_is_not_committed(server: Installation, tmp_path: Path) -> None:
    folder, client = tmp_path / "camera", program(server, "Line")
    lay_out(folder, 1)
    caught: list[dict[str, Any]] = []

    def catch(path: str, said: dict[str, Any]) -> None:
        if path == "receipts":
            caught.append(said)
            raise Killed

    with pytest.raises(Killed):
        at_the_line(server, folder, sending(client, catch))
    good = caught[0]
    image = good["receipt"]["images"][0]
    spoilt = [
        good | {"shard": base64.b64encode(b"no shard").decode()},
        good | {"segment": base64.b64encode(b"{}\n").decode()},
        good | {"shard": None},
        good | {"shard": "?"},
        good | {"receipt": good["receipt"] | {"images": [image | {"sha256": "0" * 64}]}},
        good | {"receipt": good["receipt"] | {"images": []}},
        good | {"receipt": good["receipt"] | {"batch_id": "0" * 32}},
        good | {"receipt": good["receipt"] | {"shard": good["receipt"]["shard"] | {"path": "../away"}}},
    ]
    before = {one.key for one in server.archive.list()}
    for said in spoilt:
        assert client.post("/api/edge/receipts", json=said).status_code == 400
    for said in (good | {"run": "edge-another"}, good | {"fencing": 99}):
        assert client.post("/api/edge/receipts", json=said).status_code == 409
    assert {one.key for one in server.archive.list()} == before
    assert stored(server) == 0
    assert client.post("/api/edge/receipts", json=good).json() == {"committed": True}


def test_who_may_not(server: Installation, tmp_path: Path) -> None:
    people.register(server.ledger, "Other", Signer().public, [Role.DATA_TEAM])
    mine = {"collection": COLLECTION, "compressor": server.spec(COLLECTION).fingerprint, "files": []}
    assert program(server, "Ivo").post("/api/edge/batches", json=mine).status_code == 403
    line = program(server, "Line")
    other = line.post("/api/edge/batches", json=mine | {"compressor": "0" * 64})
    assert (other.status_code, "install the same bundle" in other.json()["error"]) == (400, True)
    assert line.post("/api/edge/batches", json=mine).status_code == 200
    held = program(server, "Other").post("/api/edge/batches", json=mine)
    assert (held.status_code, "is working on" in held.json()["error"]) == (409, True)


def test_a_collection_in_a_store_is_not_a_lines(house: Callable[..., Installation]) -> None:
    made = house()
    people.register(made.ledger, "Line", Signer().public, [Role.OPERATOR])
    mine = {"collection": COLLECTION, "compressor": made.spec(COLLECTION).fingerprint, "files": []}
    answer = program(made, "Line").post("/api/edge/batches", json=mine)
    assert (answer.status_code, "nights compress them" in answer.json()["error"]) == (400, True)


def test_the_command_from_its_folder_to_the_console(
    server: Installation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = program(server, "Line")
    lay_out(tmp_path / "camera", 2)

    def posted(url: str, data: bytes, kind: str, *, token: str, **_: Any) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {token}", "content-type": kind}
        answer = client.post(url.removeprefix("https://server"), content=data, headers=headers)
        return answer.status_code, answer.content

    monkeypatch.setattr(infra.edge_line, "post", posted)
    monkeypatch.setenv("EDGE_TOKEN", client.headers["authorization"].removeprefix("Bearer "))
    words = ["edge", COLLECTION, str(tmp_path / "camera"), "--config", str(tmp_path / "fwd2bot.toml")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--server", "https://server/"])
    assert ended.value.code == 0
    assert "2 compressed" in capsys.readouterr().out
    assert stored(server) == 2
    monkeypatch.setenv("EDGE_TOKEN", "fwd2bot_wrong")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--server", "https://server"])
    assert ended.value.code == 2


def test_the_command_says_what_it_lacks(
    server: Installation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["edge", COLLECTION, str(tmp_path), "--config", str(tmp_path / "fwd2bot.toml"), "--server"]
    for token, address, says in (
        ("", "http://127.0.0.1:1", "no token"),
        ("fwd2bot_x", "http://elsewhere", "no address"),
        ("fwd2bot_x", "http://127.0.0.1:1", "does not answer"),
    ):
        monkeypatch.setenv("EDGE_TOKEN", token)
        with pytest.raises(SystemExit) as ended:
            main([*words, address])
        assert ended.value.code
        assert says in capsys.readouterr().err
