"""A plan is plain arithmetic that can be done again by hand, over figures of which each says where it comes from."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwd2bot_core.capacity.figures import ASSUMED, GIVEN, MEASURED, Figure, Figures, shipped
from fwd2bot_core.capacity.models import MODELS, model
from fwd2bot_core.capacity.reckoning import Load, Reckoning, rate, reckon
from fwd2bot_core.errors import UsageError

ROUND = {
    "listed_known_a_second": 1_000,
    "listed_new_a_second": 100,
    "planned_a_second": 200,
    "walked_a_second.postgresql": 3_000,
    "walked_a_second.sqlite": 1_500,
    "images_a_second.llava-1.5-7b": 10,
    "image_bytes": 1_000,
    "image_megapixels": 2,
    "store_bytes_a_second_a_worker": 5_000,
    "decode_seconds_a_megapixel": 0.5,
    "encode_seconds_an_image": 1,
    "cores_a_gpu": 4,
    "committed_a_second.postgresql": 50,
    "committed_a_second.sqlite": 100,
    "scheduled_batches_a_second": 2,
    "shard_overhead_bytes": 100,
    "segment_bytes": 500,
    "ledger_bytes.postgresql": 2_000,
    "ledger_bytes.sqlite": 1_000,
}
FIGURES = Figures({name: Figure(name, value, "of it", MEASURED, "a test") for name, value in ROUND.items()})
LOAD = Load(images=10_000, gpus=5, model=model("llava-1.5-7b"), batch=100, known=20_000)


def seconds(found: Reckoning) -> dict[str, float]:
    return {one.name: one.seconds for one in found.phases}


def test_each_phase_is_what_it_says() -> None:
    assert seconds(reckon(LOAD, FIGURES)) == {
        "discovery": 20_000 / 1_000 + 10_000 / 100,
        "plan": 30_000 / 3_000 + 10_000 / 200,
        "forward": 10_000 / (5 * 10),
        "fetch": 10_000 * 1_000 / (5 * 5_000),
        "decode and encode": 10_000 * (2 * 0.5 + 1) / (5 * 4),
        "scheduler": 100 / 2,
        "commit": 200,
    }


def test_what_goes_on_together_takes_as_long_as_its_slowest() -> None:
    found = reckon(LOAD, FIGURES)
    assert found.seconds == 120 + 60 + 1_000
    assert found.bottleneck.name == "decode and encode"
    assert found.gpu_hours == 1_000 * 5 / 3600
    assert found.gpu_busy == pytest.approx(0.2)


def test_requests_and_bytes_are_counted() -> None:
    found = reckon(LOAD, FIGURES)
    stored = 36 * 4096 * 2 + 4096 * 4 + 100 + 500
    assert (found.reads, found.writes) == (10_000 + 4 * 100, 30 + 2 * 100)
    assert (found.bytes_in, found.bytes_out, found.ledger_bytes) == (1e7, 10_000 * stored, 2e7)
    assert found.bytes_checked == found.bytes_out
    small = reckon(replace(LOAD, codec="int8", database="sqlite"), FIGURES)
    assert small.bytes_out < 0.6 * found.bytes_out
    assert small.ledger_bytes == 1e7


def test_every_figure_that_was_reckoned_with_is_named_once() -> None:
    names = [figure.name for figure in reckon(LOAD, FIGURES).used]
    assert sorted(names) == sorted(name for name in ROUND if not name.endswith(".sqlite"))


@given(images=st.integers(1, 10**10), gpus=st.integers(1, 10_000), more=st.integers(1, 100))
def test_more_gpus_never_take_longer_and_more_images_never_less(images: int, gpus: int, more: int) -> None:
    load = replace(LOAD, images=images, gpus=gpus)
    found = reckon(load, FIGURES)
    assert reckon(replace(load, gpus=gpus + more), FIGURES).seconds <= found.seconds
    assert reckon(replace(load, images=images + more), FIGURES).seconds >= found.seconds


def test_a_rate_that_nobody_measured_is_reckoned_from_the_card_and_says_so() -> None:
    big = rate(model("llava-1.5-13b"), shipped())
    small = rate(model("llava-1.5-7b"), shipped())
    assert big.kind == ASSUMED
    assert 5 < big.value < small.value
    assert "operations" in big.source


def test_whoever_asks_may_know_better() -> None:
    mine = shipped().replaced({"image_bytes": 3e5, "images_a_second.llava-1.5-13b": 12})
    assert (mine["image_bytes"].value, mine["image_bytes"].kind) == (3e5, GIVEN)
    assert rate(model("llava-1.5-13b"), mine).value == 12
    assert shipped()["image_bytes"].kind == ASSUMED


@pytest.mark.parametrize("given", [{"image_bytse": 1.0}, {"image_bytes": 0.0}, {"image_bytes": float("nan")}])
def test_a_figure_that_is_none_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(given))):
        shipped().replaced(given)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match=r"llava-1\.5-7b"):
        model("llava-9")
    for wrong in ({"images": 0}, {"gpus": 0}, {"batch": 0}, {"known": -1}):
        with pytest.raises(UsageError, match="at least"):
            replace(LOAD, **wrong)  # type: ignore[arg-type]


def test_the_shipped_figures_serve_every_model_on_both_databases() -> None:
    for one in MODELS.values():
        for database in ("sqlite", "postgresql"):
            found = reckon(Load(images=10**8, gpus=64, model=one, database=database), shipped())
            assert found.seconds > 0
            assert {figure.kind for figure in found.used} == {MEASURED, ASSUMED}
