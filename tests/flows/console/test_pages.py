"""What people read: each page is whole, names nothing hostile as markup, and says what the ledger says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from infra.installation import Installation
from infra.tables import object_versions
from tests.flows.console.conftest import HOSTILE
from tests.flows.console.visits import Page, Visitor, signed_in
from tests.houses import COLLECTION
from tests.tasks.steps import events, planned, rows


@pytest.fixture(scope="module")
def visitor(archive: Installation) -> Visitor:
    return signed_in(archive, "Ivo")


@pytest.mark.parametrize(
    "address", ["/", "/images", "/search", "/lists", "/holds", "/calendar", "/audit", "/kpi"]
)
def test_every_page_has_landmarks_labels_and_no_script(visitor: Visitor, address: str) -> None:
    page = visitor.page(address)
    assert {"header", "nav", "main", "footer", "h1"} <= set(page.tags)
    assert page.tags.count("h1") == page.tags.count("main") == 1
    assert "script" not in page.tags
    assert all(page.labelled)
    assert page.links[0] == "#main"
    assert 'aria-current="page"' in page.source
    assert not any(link.startswith(("http", "//")) for link in page.links)


def test_nights_show_what_ran_and_what_failed_and_why(visitor: Visitor, archive: Installation) -> None:
    page = visitor.page("/")
    assert "Nothing runs now" in page.text
    assert "not_an_image" in page.text
    (run,) = {link for link in page.links if link.startswith("/runs/")}
    told = visitor.page(run)
    assert "1 of 1 images that it could not compress" in told.text
    assert "broken.jpg" in told.text
    assert "Partly failed" in told.text
    assert "there was no run" in visitor.page("/runs/none", 404).text


def test_a_night_under_way_is_followed_without_a_script(
    house: Callable[..., Installation], photos: Callable[..., list[Path]], registered: Callable[..., None]
) -> None:
    photos(4)
    made = house()
    registered(made, "Ivo")
    planned(made)
    visitor = signed_in(made, "Ivo")
    still, live = visitor.client.get("/"), visitor.client.get("/?live=1")
    assert ("refresh" in still.headers, live.headers["refresh"]) == (False, "5")
    assert "0 of 4 images" in Page(live.text).text
    assert "Stop following" in live.text


def test_a_hostile_name_is_only_text(visitor: Visitor, archive: Installation) -> None:
    page = visitor.page("/images?key=%3Cscript%3Ealert(1)%3C.script%3E.jpg")
    assert HOSTILE in page.text
    assert "script" not in page.tags
    assert "\\u202e" in visitor.page("/images?key=%E2%80%AEgpj.exe", 404).text


def test_an_image_shows_its_life_and_why_it_stays(visitor: Visitor) -> None:
    page = visitor.page(f"/images?key=0000.jpg&collection={COLLECTION}")
    assert "Summary tokens" in page.text
    assert "not signed for yet" in page.text or "proven" in page.text
    assert "No policy is about this collection, so it stays" in page.text
    assert "nothing is known of 'none.jpg'" in visitor.page("/images?key=none.jpg", 404).text


def test_tokens_are_asked_from_the_page(visitor: Visitor) -> None:
    page = visitor.page(f"/images?key=0000.jpg&collection={COLLECTION}&question=what+is+it%3F")
    assert "from stored tokens" in page.text
    assert "2,000 at most" in visitor.page(f"/images?key=0000.jpg&question={'x' * 3000}", 400).text


def test_searching_finds_and_links(visitor: Visitor) -> None:
    page = visitor.page("/search?text=red+shoe&since=2020-01-01")
    assert any(link.startswith("/images?key=0000.jpg") for link in page.links)
    assert "script" not in page.tags
    assert "Nothing is stored" in visitor.page("/search?text=shoe&until=2020-01-01").text
    assert visitor.page("/search?text=shoe&since=yesterday", 422)


def test_a_look_at_an_original_takes_a_role_and_is_an_event(archive: Installation) -> None:
    number = int(
        rows(archive, sa.select(object_versions.c.id).where(object_versions.c.key == "0000.jpg"))[0].id
    )
    auditor, operator = signed_in(archive, "Ivo"), signed_in(archive, "Oda")
    assert "Show the original" in auditor.page("/images?key=0000.jpg").text
    assert "Show the original" not in operator.page("/images?key=0000.jpg").text
    asked = {"version": number, "key": "0000.jpg", "collection": COLLECTION}
    refused = operator.send("/images/picture", **asked)
    assert refused.status_code == 403
    assert not events(archive, "original.seen")
    shown = auditor.send("/images/picture", **asked)
    assert 'src="data:image/jpeg;base64,' in shown.text
    assert len(events(archive, "original.seen")) == 1
    assert auditor.client.get("/images/picture").status_code == 405


def test_the_audit_trail_is_verified_in_the_background(archive: Installation) -> None:
    visitor = signed_in(archive, "Ivo")
    assert "not verified since this console was started" in visitor.page("/audit").text
    assert visitor.send("/audit/verify", all="yes").headers["location"] == "/audit"
    for _ in range(100):
        page = visitor.page("/audit")
        if "Being verified" not in page.text:
            break
        time.sleep(0.05)
    assert "events read from number 0 on" in page.text
    assert "No anchor is configured" in page.text
    assert "session.begun" in visitor.page("/audit?type=session").text
    assert "session.begun" not in visitor.page("/audit?type=run").text


def test_figures_come_with_their_policy(visitor: Visitor, archive: Installation) -> None:
    answer = visitor.client.get(f"/kpi?collection={COLLECTION}")
    assert "<svg" in answer.text
    assert "style-src-attr 'unsafe-inline'" in answer.headers["content-security-policy"]
    assert "nothing is saved" in Page(answer.text).text
    assert visitor.page("/kpi?collection=none", 400)


def test_the_style_sheet_is_ours_and_alone(visitor: Visitor) -> None:
    answer = visitor.client.get("/console.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert "url(" not in answer.text
    assert "@import" not in answer.text
