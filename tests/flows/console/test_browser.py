"""The console in a real browser, JavaScript switched off: signing in, a hold, an approval, all of it by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.retention_tables import legal_holds
from tasks import tokens
from tests.flows.console.browsers import browser, missing, page_of, served, sign_in
from tests.tasks.dispositions import Site, listed, put_in_force
from tests.tasks.steps import events, rows

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as made:
        yield made


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    with served(site.house) as at:
        yield at


def visit(opened: Any, site: Site, address: str, name: str) -> Any:
    page = page_of(opened, address)
    sign_in(page, address, tokens.issue(site.house.ledger, name, 1).secret)
    return page


def test_a_wrong_token_is_told_and_the_right_one_leads_back(opened: Any, site: Site, address: str) -> None:
    page = page_of(opened, address)
    page.goto(f"{address}/lists")
    page.get_by_label("Your token").fill("fwd2bot_wrong")
    page.get_by_role("button", name="Sign in").click()
    assert "no token that is good now" in page.get_by_role("alert").inner_text()
    page.get_by_label("Your token").fill(tokens.issue(site.house.ledger, "Ann", 1).secret)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Disposition lists").wait_for()
    assert page.url == f"{address}/lists"
    assert page.heard == ["Failed to load resource: the server responded with a status of 403 (Forbidden)"]


def test_a_hold_is_placed_with_the_keyboard_alone(opened: Any, site: Site, address: str) -> None:
    page = visit(opened, site, address, "Nika")
    page.goto(f"{address}/holds")
    keys = page.keyboard
    keys.press("Tab")
    keys.press("Enter")  # the link past the navigation
    assert page.url.endswith("#main")
    keys.press("Tab")
    for text in ("recall-7", "recalled", None, "0*"):  # case, reason, collection, pattern
        if text is not None:
            keys.type(text)
        keys.press("Tab")
    keys.press("Tab")  # past the images
    keys.press("Space")  # confidential
    keys.press("Tab")
    keys.press("Enter")
    page.get_by_role("status").wait_for()
    assert "Hold 1 is in force: 4 originals are held" in page.get_by_role("status").inner_text()
    (hold,) = rows(site.house, legal_holds)
    assert (hold.name, hold.reason, hold.confidential) == ("recall-7", "recalled", True)
    assert page.heard == []


def test_a_list_is_approved_by_a_signature_over_the_downloaded_file(
    opened: Any, site: Site, address: str, tmp_path: Path
) -> None:
    put_in_force(site)
    made = listed(site)
    page = visit(opened, site, address, "Ann")
    page.get_by_role("link", name="Lists").click()
    page.get_by_role("link", name=made.id).click()
    page.get_by_role("link", name="Approve it").click()
    page.get_by_label("Reason").fill("Stichprobe geprüft, 見本を確認")
    page.get_by_role("button", name="Write down").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download it as a file").click()
    statement = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename.startswith(f"approve-{made.id}-")
    page.get_by_label("What ssh-keygen wrote").fill(site.signers["Ann"].sign(statement))
    page.get_by_role("button", name=f"Approve list {made.id}").click()
    page.get_by_text("1 of 2 approvals").wait_for()
    (event,) = events(site.house, "list.approved")
    assert event["reason_text"] == "Stichprobe geprüft, 見本を確認"


def test_an_original_is_looked_at_and_every_page_draws_without_complaint(
    opened: Any, site: Site, address: str
) -> None:
    page = visit(opened, site, address, "Ann")
    page.goto(f"{address}/images?key=0000.jpg")
    page.get_by_role("button", name="Show the original").click()
    page.get_by_role("img", name="The original 0000.jpg").wait_for()
    assert len(events(site.house, "original.seen")) == 1
    watching = page_of(opened, address, scripts=True)  # ours have none; what is forbidden is complained of
    sign_in(watching, address, tokens.issue(site.house.ledger, "Ann", 1).secret)
    for path in ("/", "/images?key=0000.jpg", "/search?text=shoe", "/holds", "/calendar", "/audit", "/kpi"):
        watching.goto(address + path)
        assert _cut_off(watching) <= 0, path
    assert watching.heard == []


def _cut_off(page: Any) -> int:
    """Pixels by which a page is wider than its window, on a narrow screen."""
    page.set_viewport_size({"width": 400, "height": 800})
    return int(page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))
