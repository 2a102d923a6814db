"""What compliance and approvers do in the console: holds, approvals and refusals; each an event in their own name."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from infra.retention_tables import disposition_items, legal_holds
from tests.flows.console.visits import Visitor, signed_in
from tests.houses import COLLECTION
from tests.tasks.dispositions import Site, listed, put_in_force
from tests.tasks.steps import events, rows

HOLD = {"case": "recall-7", "reason": "recalled", "collection": COLLECTION, "pattern": "0*"}


def decide(site: Site, visitor: Visitor, name: str, address: str, **about: str) -> int:
    """Write, download, sign and send; the status."""
    query = "&".join(f"{key}={value}" for key, value in about.items())
    page = visitor.page(f"{address}?{query}")
    assert "Nothing is decided yet" in page.text
    statement = visitor.client.get(f"{address}/statement?{query}")
    assert re.fullmatch(
        r'attachment; filename="[\w.-]+\.statement"', statement.headers["content-disposition"]
    )
    signature = (
        site.signers[name].sign(statement.content).replace("\n", "\r\n")
    )  # as a browser's text field sends it
    return visitor.send(address, signature=signature, **about).status_code


def test_a_hold_is_placed_by_compliance_and_in_force_at_once(site: Site) -> None:
    visitor = signed_in(site.house, "Nika")
    answer = visitor.send("/holds", **HOLD, confidential="yes")
    assert answer.headers["location"] == "/holds?placed=1&objects=4&untold=0"
    page = visitor.page(answer.headers["location"])
    assert "Hold 1 is in force: 4 originals are held" in page.text
    assert "recall-7 (confidential)" in page.text
    (event,) = events(site.house, "hold.placed")
    assert event["actor"]["role"] == "compliance"
    assert "recall-7" not in signed_in(site.house, "Dee").page("/holds").text


def test_a_hold_is_released_by_a_signature_only(site: Site) -> None:
    visitor = signed_in(site.house, "Nika")
    visitor.send("/holds", **HOLD)
    wrong = visitor.send("/holds/1/release", reason="settled", signature="nonsense")
    assert wrong.status_code == 403
    assert rows(site.house, legal_holds)[0].released_at is None
    assert decide(site, visitor, "Nika", "/holds/1/release", reason="settled") == 303
    assert rows(site.house, legal_holds)[0].released_at is not None
    assert (
        decide(site, visitor, "Nika", "/holds/1/release", reason="settled") == 400
    )  # it is released already
    assert len(events(site.house, "hold.released")) == 1


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({"pattern": "none*"}, 404, "no key"),
        ({"pattern": ""}, 400, "name images"),
        ({"pattern": "", "images": "none.jpg"}, 404, "nothing is known"),
        ({"collection": "other"}, 400, "no collection"),
        ({"case": " "}, 400, "a legal hold has a case"),
        ({"case": "x" * 201}, 422, "case"),
    ],
)
def test_what_cannot_be_held_is_said_and_nothing_is_held(
    site: Site, changed: dict[str, str], status: int, says: str
) -> None:
    answer = signed_in(site.house, "Nika").send("/holds", **HOLD | changed)
    assert answer.status_code == status
    assert says in answer.text
    assert not rows(site.house, legal_holds)


def test_who_may_not_sees_no_forms_and_is_refused_and_written_down(site: Site) -> None:
    put_in_force(site)
    made = listed(site)
    visitor = signed_in(site.house, "Dee")
    assert "Place a hold" not in visitor.page("/holds").text
    assert "Approve it" not in visitor.page(f"/lists/{made.id}").text
    assert visitor.send("/holds", **HOLD).status_code == 403
    assert decide(site, visitor, "Dee", f"/lists/{made.id}/decide", decision="approve", reason="no") == 403
    refused = events(site.house, "access.denied")
    assert [event["subject"]["act"] for event in refused] == ["hold.place", "list.approve"]
    assert not rows(site.house, legal_holds)


def test_a_list_is_approved_by_two_signatures_and_then_in_grace(site: Site) -> None:
    put_in_force(site)
    made = listed(site)
    address = f"/lists/{made.id}/decide"
    assert "waits for approval" in signed_in(site.house, "Oda").page("/lists").text
    for name in ("Ann", "Ben"):
        visitor = signed_in(site.house, name)
        assert decide(site, visitor, name, address, decision="approve", reason="samples seen") == 303
    page = visitor.page(f"/lists/{made.id}")
    assert "2 of 2 approvals" in page.text
    assert "Grace" in page.text
    assert len(events(site.house, "list.approved")) == 2
    again = decide(site, visitor, "Ben", address, decision="approve", reason="samples seen")
    assert again == 409


def test_somebody_elses_signature_is_refused(site: Site) -> None:
    put_in_force(site)
    made = listed(site)
    visitor = signed_in(site.house, "Ann")
    address = f"/lists/{made.id}/decide"
    assert decide(site, visitor, "Ben", address, decision="approve", reason="seen") == 403
    assert "0 of 2 approvals" in visitor.page(f"/lists/{made.id}").text
    assert events(site.house, "access.denied")[-1]["reason_code"] == "SignatureRefused"


def test_a_list_is_refused_and_over(site: Site) -> None:
    put_in_force(site)
    made = listed(site)
    visitor = signed_in(site.house, "Nika")
    address = f"/lists/{made.id}/decide"
    assert decide(site, visitor, "Nika", address, decision="refuse", reason="claim 88") == 303
    assert "Refused" in visitor.page(f"/lists/{made.id}").text
    assert "claim 88" in visitor.page(f"/lists/{made.id}").text


def test_a_whole_list_is_a_table_that_no_spreadsheet_runs(site: Site) -> None:
    put_in_force(site)
    made = listed(site)
    visitor = signed_in(site.house, "Ann")
    answer = visitor.client.get(f"/lists/{made.id}/items.csv")
    lines = answer.text.splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("0000.jpg,")
    assert visitor.page("/lists/none", 400)
    assert visitor.client.get("/lists/none/items.csv").status_code == 400


def test_the_calendar_shows_what_is_due(site: Site) -> None:
    put_in_force(site)
    page = signed_in(site.house, "Ann").page("/calendar")
    assert "Due already: 4 originals" in page.text
    assert rows(site.house, sa.select(disposition_items)) == []
