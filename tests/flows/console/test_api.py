"""What programs are told: the same as people, as JSON, and clear answers to what is wrong."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

import infra.archive
from flows.console.answers import PATIENT, Answers
from flows.console.shield import Refused
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from tasks import people
from tests.flows.console.conftest import HOSTILE
from tests.flows.console.visits import program
from tests.houses import COLLECTION
from tests.tasks.signers import Signer
from tests.tasks.steps import events


@pytest.fixture(scope="module")
def api(archive: Installation) -> TestClient:
    people.register(archive.ledger, "Dee", Signer().public, [Role.DATA_TEAM])
    return program(archive, "Dee")


def test_an_answer_is_the_one_of_the_command_line_and_of_python(
    api: TestClient, archive: Installation
) -> None:
    question = "what is it?"
    (said,) = api.post("/api/ask", json={"images": ["0000.jpg"], "question": question}).json()
    stored, answer = infra.archive.ask(archive, "0000.jpg", question, COLLECTION)
    assert (said["answer"], said["confidence"]) == (answer.text, answer.confidence)
    assert (said["key"], said["sha256"], said["compressor"]) == (
        "0000.jpg",
        stored.sha256,
        stored.fingerprint,
    )
    page = api.get("/api/images/0000.jpg").json()
    assert page[0]["sha256"] == stored.sha256
    assert page[0]["audit"]


def test_several_at_once_need_a_role_and_are_logged(api: TestClient, archive: Installation) -> None:
    both = {"images": ["0000.jpg", "0001.jpg"], "question": "what is it?"}
    assert len(api.post("/api/ask", json=both).json()) == 2
    (event,) = events(archive, "archive.read")
    assert event["after"] == {"images": 2}
    refused = program(archive, "Oda").post("/api/ask", json=both)
    assert refused.status_code == 403
    assert "tokens.export is for" in refused.json()["error"]


def test_searching_by_text_and_by_example(api: TestClient) -> None:
    found = api.post("/api/search", json={"text": "red shoe", "k": 2}).json()
    assert len(found["hits"]) == 2
    like = api.post("/api/search", json={"like": ["0000.jpg"], "collection": COLLECTION}).json()
    assert {hit["key"] for hit in like["hits"]} == {"0001.jpg", HOSTILE}
    assert api.post("/api/search", json={"text": "x", "since": "2999-01-01T00:00:00Z"}).json()["hits"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("search", {"text": "x" * 1_000_000}, 400, "in 2,000 at most"),
        ("search", {"text": "x" * 1_048_576}, 413, "bytes at most"),
        ("search", {}, 400, "say what to look for"),
        ("search", {"text": "x", "k": 101}, 422, "k: "),
        ("search", {"text": "x", "since": "2026-01-01"}, 422, "since: "),
        ("search", {"text": "x", "what": 1}, 422, "what: "),
        ("search", {"like": ["/etc/hostname"]}, 404, "nothing is known of '/etc/hostname'"),
        ("search", {"text": "x", "collection": "none"}, 400, "none"),
        ("ask", {"images": ["none.jpg"], "question": "what?"}, 404, "nothing is known of 'none.jpg'"),
        ("ask", {"images": ["0000.jpg"], "question": "x" * 1_000_000}, 400, "in 2,000 at most"),
        ("ask", {"images": [], "question": "what?"}, 422, "images: "),
        ("ask", {"images": ["broken.jpg"], "question": "what?"}, 404, "not_an_image"),
    ],
)
def test_what_is_wrong_is_said(api: TestClient, path: str, body: dict, status: int, says: str) -> None:
    answer = api.post(f"/api/{path}", json=body)
    assert answer.status_code == status, answer.text[:300]
    assert says in answer.json()["error"]
    assert len(answer.text) < 1000


def test_a_path_of_this_machine_is_never_read_for_an_example(api: TestClient, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(b"\xff\xd8 private")
    answer = api.post("/api/search", json={"like": [str(file)]})
    assert answer.status_code == 404
    assert "There is no file" not in answer.text


def test_nights_and_what_one_could_not_do(api: TestClient) -> None:
    (run,) = api.get("/api/nights").json()["runs"]
    told = api.get(f"/api/nights/{run['run_id']}").json()
    assert (told["state"], told["failures"][0]["key"]) == ("partly_failed", "broken.jpg")
    assert api.get("/api/nights/none").status_code == 404
    assert api.get("/api/nights?limit=-1").status_code == 422


def test_metrics_are_read_by_prometheus(api: TestClient) -> None:
    answer = api.get("/metrics")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["fwd2bot_images", COLLECTION] == 3
    assert found["fwd2bot_failed_images", COLLECTION] == 1
    assert found["fwd2bot_last_night", COLLECTION, "partly_failed"] == 1
    assert found["fwd2bot_last_night", COLLECTION, "completed"] == 0
    assert 0 <= found["fwd2bot_seconds_since_good_night", COLLECTION] < 3600
    assert found[("fwd2bot_audit_events",)] > found[("fwd2bot_audit_signed_events",)] - 1


def test_it_describes_itself(api: TestClient) -> None:
    told = api.get("/api/openapi.json").json()
    assert set(told["paths"]) == {
        "/api/search", "/api/ask", "/api/images/{image}", "/api/nights", "/api/nights/{run_id}",
        "/api/edge/batches", "/api/edge/receipts",
    }  # fmt: skip
    assert api.get("/docs").status_code == 404


def test_who_comes_while_too_many_wait_for_the_model_is_told_so(
    archive: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, go = Answers(archive), Event()

    def wait(*_: object, **__: object) -> list[object]:
        go.wait(30)
        return []

    monkeypatch.setattr(answers._archive, "locate", wait)
    monkeypatch.setattr(answers._archive, "ask", lambda *_, **__: [])
    waiting = [Thread(target=answers.ask, args=([], "what?")) for _ in range(PATIENT)]
    for one in waiting:
        one.start()
    with pytest.raises(Refused, match="others are being answered"):
        answers.ask([], "what?")
    go.set()
    for one in waiting:
        one.join()
    assert answers.ask([], "what?") == []
