"""Who may come in: tokens, sessions, forms of one's own, hosts, sizes, numbers; and what every answer's head says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from flows.console.app import make_app
from flows.console.budget import Budget
from flows.console.visitors import way_back
from fwd2bot_core.retention.roles import Role
from infra.installation import Installation
from tasks import people, tokens
from tests.flows.console.visits import HOST, browser, program, signed_in
from tests.tasks.signers import Signer
from tests.tasks.steps import events

PAGES = ("/", "/images", "/search", "/lists", "/holds", "/calendar", "/audit", "/kpi", "/runs/x", "/lists/x")
API = ("/api/nights", "/api/images/0000.jpg", "/metrics")


@pytest.mark.parametrize("page", PAGES)
def test_no_page_without_a_session(archive: Installation, page: str) -> None:
    answer = browser(archive).get(page)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("path", API)
def test_no_api_without_a_token(archive: Installation, path: str) -> None:
    answer = browser(archive).get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "give a token" in answer.json()["error"]


def test_signing_in_and_out_are_events_and_end_what_was_open(archive: Installation) -> None:
    visitor = signed_in(archive, "Ivo")
    cookie = next(iter(visitor.client.cookies.jar))
    assert (cookie.name, cookie.path) == ("fwd2bot", "/")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "strict"
    before = len(events(archive, "session.ended"))
    assert visitor.send("/sign-out").headers["location"] == "/sign-in"
    visitor.client.cookies.set("fwd2bot", cookie.value or "")
    assert visitor.client.get("/").status_code == 303
    assert len(events(archive, "session.ended")) == before + 1


def test_a_wrong_token_is_an_event_and_few_are_looked_at(house: Callable[..., Installation]) -> None:
    made = house()
    client = browser(made)
    answers = [client.post("/sign-in", data={"token": f"fwd2bot_{n}"}).status_code for n in range(30)]
    assert answers == [403] * 10 + [429] * 20
    assert client.get("/api/nights", headers={"authorization": "Bearer x"}).status_code == 429
    assert len(events(made, "access.denied")) == 10


def test_over_tls_the_cookie_is_for_tls_only(house: Callable[..., Installation]) -> None:
    made = house(service={"proxies": ["127.0.0.1"]})
    people.register(made.ledger, "Ivo", Signer().public, [Role.AUDITOR])
    secret = tokens.issue(made.ledger, "Ivo", 1).secret
    answer = browser(made).post("/sign-in", data={"token": secret})
    assert answer.headers["set-cookie"].startswith("__Host-fwd2bot=")
    assert "Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]


def test_a_form_must_be_ones_own(archive: Installation) -> None:
    visitor = signed_in(archive, "Ivo")
    other = signed_in(archive, "Ivo").page("/").fields["csrf"]
    for csrf in ("", other, "é"):
        assert visitor.client.post("/sign-out", data={"csrf": csrf}).status_code == 403
    mine = {"csrf": visitor.page("/").fields["csrf"]}
    for header in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert visitor.client.post("/sign-out", data=mine, headers=header).status_code == 403
        assert browser(archive).post("/sign-in", data={"token": "x"}, headers=header).status_code == 403
    assert visitor.client.post("/sign-out", data=mine, headers={"origin": HOST}).status_code == 303


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example/", "/\\evil.example", "evil", "/a\r\nb: c"]
)
def test_signing_in_leads_nowhere_else(path: str) -> None:
    assert way_back(path) == "/"


def test_every_answer_forbids_what_a_page_does_not_need(archive: Installation) -> None:
    client = browser(archive)
    answers = [client.get(path) for path in ("/sign-in", "/api/nights", "/nowhere", "/healthz")]
    answers.append(client.get("/", headers={"host": "evil.example"}))
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
    assert [answer.status_code for answer in answers] == [200, 401, 404, 200, 421]


def test_what_is_too_big_or_too_often_is_refused(house: Callable[..., Installation]) -> None:
    client = browser(house(service={"body_bytes": 1024, "per_minute": 4}))
    assert client.post("/sign-in", content=b"x" * 1025).status_code == 413
    assert client.post("/sign-in", content=(b"x" * 600 for _ in range(2))).status_code == 413
    assert [client.get("/healthz").status_code for _ in range(3)] == [200, 200, 429]


def test_a_thousand_at_once_are_all_answered_and_few_are_worked_on(archive: Installation) -> None:
    app = make_app(archive)

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            return await asyncio.gather(*(client.get("/healthz") for _ in range(1000)))

    answers = asyncio.run(ask())
    found = {code: sum(one.status_code == code for one in answers) for code in (200, 429, 503)}
    assert sum(found.values()) == 1000
    assert found[200] >= 100
    assert found[429] == 400  # beyond 600 a minute from one address
    assert all("retry-after" in one.headers for one in answers if one.status_code != 200)


def test_names_that_are_counted_are_bounded() -> None:
    now = [0.0]
    budget = Budget(1, clock=lambda: now[0])
    assert all(budget.spend(str(n)) for n in range(10_000))
    assert budget.spend("one more")
    assert not budget.spend("another")
    now[0] = 61.0
    assert budget.spend("another")


def test_a_surprise_says_nothing_of_what_is_inside(
    archive: Installation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret inside")

    visitor, api = signed_in(archive, "Ivo"), program(archive, "Ivo")
    monkeypatch.setattr("flows.console.nights.running", fail)
    monkeypatch.setattr("flows.console.api.archive.status", fail)
    for client, path in ((visitor.client, "/"), (api, "/api/nights")):
        answer = client.get(path)
        assert answer.status_code == 500
        assert "our fault" in answer.text
        assert "secret" not in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "secret inside" in caplog.text
