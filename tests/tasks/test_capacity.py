"""What a capacity plan says in money, as JSON and as a page."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from fwd2bot_core.capacity.figures import shipped
from fwd2bot_core.capacity.models import model
from fwd2bot_core.capacity.reckoning import Load
from infra.prices import PriceSettings
from tasks.capacity import Capacity, as_html, capacity

LOAD = Load(images=10**8, gpus=64, model=model("llava-1.5-7b"))
PRICES = PriceSettings(
    currency="CHF",
    gpu_hour=Decimal("2.50"),
    read_1000=Decimal("0.0004"),
    archive_gb_month=Decimal("0.02"),
    sources={"gpu_hour": "our contract of 2026 <draft>"},
)


@pytest.fixture(scope="module")
def plan() -> Capacity:
    return capacity(LOAD, shipped(), PRICES)


def test_only_what_has_a_price_is_priced_and_says_whose_price_it_is(plan: Capacity) -> None:
    assert [(line.what, line.per) for line in plan.money] == [
        ("GPUs", "once"),
        ("requests that read", "once"),
        ("tokens", "month"),
    ]
    gpus, reads, tokens = plan.money
    assert gpus.amount == pytest.approx(Decimal(plan.found.gpu_hours) * Decimal("2.5"))
    assert "our contract" in gpus.assumption
    assert "assumed; no source is named" in reads.assumption
    assert reads.amount == Decimal(plan.found.reads) / 1000 * Decimal("0.0004")
    assert tokens.amount == pytest.approx(Decimal(plan.found.bytes_out) / 10**9 * Decimal("0.02"))
    assert plan.once == gpus.amount + reads.amount
    assert capacity(LOAD, shipped(), PriceSettings()).once is None


def test_the_sentence_names_the_bottleneck_and_its_cure(plan: Capacity) -> None:
    slow = plan.found.bottleneck
    assert "100,000,000 images on 64 GPU(s)" in plan.sentence
    assert slow.name in plan.sentence
    assert slow.cure in plan.sentence


def test_json_holds_plain_values(plan: Capacity) -> None:
    said = json.loads(json.dumps(plan.as_json()))
    assert (said["images"], said["gpus"], said["batches"], said["currency"]) == (10**8, 64, 10**5, "CHF")
    assert said["phases"][said["bottleneck"]]["seconds"] == plan.found.bottleneck.seconds
    assert {figure["kind"] for figure in said["figures"]} == {"measured", "assumed"}
    assert Decimal(said["money"][0]["amount"]) == plan.money[0].amount


def test_the_page_names_every_figure_and_takes_no_text_for_markup(plan: Capacity) -> None:
    page = as_html(plan)
    assert page.startswith("<!DOCTYPE html>")
    assert all(figure.name in page for figure in plan.found.used)
    assert "contract of 2026 &lt;draft&gt;" in page
    assert "no price" not in page
