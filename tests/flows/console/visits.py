"""A console over a small archive, visited without a network: pages for people with sessions, an API for tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
from fastapi.testclient import TestClient

from flows.console.app import make_app
from infra.installation import Installation
from tasks import tokens

HOST = "http://localhost:8484"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """What a browser would see: balanced elements, forms with their fields, links, text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source, self.open, self.tags = source, list[str](), list[str]()
        self.links: list[str] = []
        self.fields: dict[str, str] = {}  # of all forms
        self.labelled: list[str] = []
        self._words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self._words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "a":
            self.links.append(given["href"] or "")
        if tag in ("input", "textarea", "select") and given.get("type") != "hidden":
            self.labelled.append("label" if "label" in self.open else "")
        if tag == "input" and given.get("name"):
            self.fields[str(given["name"])] = given.get("value") or ""
        assert not any(name.startswith("on") or name == "style" for name in given if "svg" not in self.open)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.source

    def handle_data(self, data: str) -> None:
        self._words.append(data)


@dataclass
class Visitor:
    """A browser of somebody who is signed in."""

    client: TestClient
    pages: list[str] = field(default_factory=list)

    def page(self, address: str, status: int = 200) -> Page:
        answer = self.client.get(address)
        assert answer.status_code == status, answer.text
        return Page(answer.text)

    def send(self, address: str, **fields: Any) -> httpx.Response:
        """A form, with the hidden field of this visitor's own pages."""
        csrf = self.page("/").fields["csrf"]
        return self.client.post(address, data={"csrf": csrf, **fields})


def browser(house: Installation) -> TestClient:
    """Nobody yet."""
    return TestClient(make_app(house), base_url=HOST, follow_redirects=False, raise_server_exceptions=False)


def signed_in(house: Installation, name: str) -> Visitor:
    """Somebody who is registered, with a token of theirs."""
    client = browser(house)
    secret = tokens.issue(house.ledger, name, 1).secret
    answer = client.post("/sign-in", data={"token": secret})
    assert answer.status_code == 303, answer.text
    return Visitor(client)


def program(house: Installation, name: str) -> TestClient:
    """The same for the API."""
    client = browser(house)
    client.headers["authorization"] = f"Bearer {tokens.issue(house.ledger, name, 1).secret}"
    return client
