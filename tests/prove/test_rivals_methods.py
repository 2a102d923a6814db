"""Each rival does what its name says, learns its own numbers alone, and is examined like the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fwd2bot_core.compressor.double_forward import script
from fwd2bot_core.compressor.losses import IGNORE
from fwd2bot_core.compressor.lvlm import Stage
from fwd2bot_core.compressor.nano import data, design, easy_vqa, trays
from fwd2bot_core.compressor.nano.faster import made_faster
from fwd2bot_core.compressor.nano.lessons import Bench, pictured, questioned
from fwd2bot_core.compressor.nano.stages import answer_losses, half
from fwd2bot_core.compressor.training.course import Lesson
from tests.prove.rivals import exam, methods, plan
from tests.prove.rivals.learning import _apart, lessons

PICTURES = 6
LEARNERS = sorted(set(methods.METHODS) - {"base"})


def pictures(seed: int, count: int = PICTURES) -> data.Pool:
    """Noise that claims to show trays."""
    rng = np.random.default_rng(seed)
    cells = np.array([trays.draw_facts(rng).cells for _ in range(count)])
    return data.Pool(rng.integers(0, 256, (count, 3, 96, 96)).astype(np.uint8), cells)


@pytest.fixture(scope="module")
def origin() -> methods.Origin:
    tokenizer = design.tokenizer()
    model = design.model(tokenizer.get_vocab_size(), 5).requires_grad_(False)
    words = data.Words(tokenizer)
    return methods.Origin(model, design.METHOD, script(tokenizer, design.METHOD), words)


@pytest.fixture(scope="module")
def bench(origin: methods.Origin) -> Bench:
    drawn = pictures(2, 2)
    asked = [("what shape is in the image?", "circle"), ("is there a red shape?", "no")]
    easy = easy_vqa.Split(drawn.pixels, [list(asked) for _ in drawn.pixels])
    return Bench(3, origin.words, pictures(1), easy, methods.make("base", origin, 0).net)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_method_learns_its_own_numbers_and_nothing_of_the_base(name, origin, bench) -> None:
    method = methods.make(name, origin, 1)
    k = plan.ALL if name == "twin" else 4
    contrast = name in ("ours", "one-adapter", "single-pass")
    run = plan.Run(name, name, (k,), 1, batch=4, contrast=contrast)
    course = lessons(bench, method, run, 0.27)
    learn, terms = course.learn, course.terms
    pairs = [p for n, p in learn.items() if n.endswith("lora_b")]
    for p in learn.values():
        p.requires_grad_(True)
    with torch.no_grad():  # else no gradient comes through to the others
        for p in pairs:
            p.normal_(0, 0.02)
    with made_faster(method.net):
        losses = terms(0)
    assert ("contrast" in losses) == contrast
    assert ("lead" in losses) == (contrast or name == "querying")
    torch.stack(list(losses.values())).sum().backward()
    left_out = [n for n, p in learn.items() if p.grad is None or not p.grad.abs().sum() > 0]
    assert left_out == []
    assert [n for n, p in origin.model.named_parameters() if p.grad is not None] == []
    assert len({id(p) for p in learn.values()}) == len(learn)
    assert {id(p) for p in learn.values()}.isdisjoint(id(p) for p in origin.model.parameters())


def test_each_loss_can_be_left_out(origin, bench) -> None:
    method = methods.make("ours", origin, 1)
    answers = lessons(bench, method, plan.Run("a", "ours", (4,), 1, batch=4), 0)
    contrast = lessons(
        bench, method, plan.Run("c", "ours", (4,), 1, batch=4, answers=False, contrast=True), 0
    )
    with made_faster(method.net):
        assert "contrast" not in answers.terms(0)
        assert set(contrast.terms(0)) == {"contrast"}
    assert "heat" in contrast.learn


def test_methods_and_seeds_see_the_same_pictures_or_others(origin, bench, monkeypatch) -> None:
    seen: list[float] = []
    batch = Bench.batch

    def spied(self, *args, **options):  # type: ignore[no-untyped-def]
        found = batch(self, *args, **options)
        seen.append(float(found.pixels.float().mean()))
        return found

    monkeypatch.setattr(Bench, "batch", spied)
    for name, seed in (("ours", 1), ("pooling", 1), ("ours", 2)):
        method = methods.make(name, origin, seed)
        with made_faster(method.net):
            lessons(bench, method, plan.Run("x", name, (4,), 1, seed, batch=4), 0).terms(0)
    assert seen[0] == seen[1] != seen[2]


def test_tokens_are_led_to_the_compartments_at_first_and_ever_less(origin, bench) -> None:
    """Of 40 steps, 20 are led, and in the first ten of these all tokens are asked for."""
    method = methods.make("ours", origin, 1)
    torch.testing.assert_close(
        method.net.summary_tokens[2], method.net.lvlm.embed(torch.tensor(origin.words.ids["a3"]))
    )
    course = lessons(bench, method, plan.Run("x", "ours", (1, 9), 40, batch=4, answers=False), 0.5)
    with made_faster(method.net):
        led = {step: course.terms(step).get("lead") for step in range(0, 24, 2)}
    assert all(led[step] is not None for step in range(0, 10, 2))
    assert None in [led[step] for step in range(10, 20, 2)]
    assert led[20] is None
    assert led[22] is None
    assert float(led[0]) > float(led[8]) > 0
    seen = torch.randn(2, 144, 160)
    cells = seen.view(2, 3, 4, 3, 4, 160).mean((2, 4)).flatten(1, 2)
    assert float(_apart(cells, seen)) == pytest.approx(0, abs=1e-5)
    assert float(_apart(-cells, seen)) == pytest.approx(2, abs=1e-5)


def test_a_new_net_depends_on_the_seed_alone(origin) -> None:
    torch.manual_seed(9)
    one = methods.make("querying", origin, 1).learns()
    torch.manual_seed(10)
    same, other = (methods.make("querying", origin, seed).learns() for seed in (1, 2))
    assert all(torch.equal(p, same[name]) for name, p in one.items())
    assert any(not torch.equal(p, other[name]) for name, p in one.items())


def test_in_a_single_pass_the_question_sees_the_summary_tokens_alone(origin, bench) -> None:
    """With what the summary positions are reading cut off, no gradient comes from the answer to the image."""
    method = methods.make("single-pass", origin, 1)
    assert isinstance(method, methods.SinglePass)
    batch = bench.batch(3, 0, 4)
    with torch.no_grad():
        image = method.image(batch.pixels, 2)
    assert image.shape[1] == design.VISUAL + len(method.net.prompt) + 2
    options = method.options(2)
    first = len(method.net.before)
    unseen = design.VISUAL + len(method.net.prompt)
    through = _gradient(method, bench, batch, image, options)
    assert through[:, : design.VISUAL].abs().sum() > 0  # by way of the summary tokens
    cut = {name: value.clone() for name, value in options.items()}
    cut["attention_mask"][..., first + unseen : first + unseen + 2, first : first + unseen] = -1e9
    alone = _gradient(method, bench, batch, image, cut)
    assert alone[:, :unseen].abs().sum() == 0
    assert alone[:, unseen:].abs().sum() > 0


def _gradient(method, bench, batch, image, options) -> torch.Tensor:  # type: ignore[no-untyped-def]
    given = image.clone().requires_grad_(True)
    batch = replace(batch, rng=np.random.default_rng(0))
    lesson = Lesson((), pictured(batch) | questioned(bench.words, batch))
    losses = answer_losses(method.net, method.stage, given, lesson, options)
    return torch.autograd.grad(torch.stack(list(losses.values())).sum(), given)[0]


def test_a_single_passes_search_tokens_are_those_of_its_own_sequence(origin) -> None:
    method = methods.make("single-pass", origin, 1)
    with torch.no_grad():
        image = method.image(torch.from_numpy(pictures(4, 2).pixels), 3)
        ids = torch.full((2, data.PACKED), 7)
        states = method.net.lvlm.hidden(method.stage, method.net.question(image, ids), **method.options(3))
    own = states[:, -data.PACKED - 3 : -data.PACKED]
    torch.testing.assert_close(method.tokens(image, 3), own, rtol=1e-4, atol=1e-4)


def test_one_adapter_is_one_and_two_are_two(origin) -> None:
    one, two = (methods.make(name, origin, 1) for name in ("one-adapter", "ours"))
    views = one.net.lvlm.views
    assert views[Stage.COMPRESS.value] is views[Stage.ANSWER.value]
    sizes = [sum(p.numel() for p in method.learns().values()) for method in (one, two)]
    tokens = design.METHOD.k * origin.model.config.text_config.hidden_size
    assert 2 * (sizes[0] - tokens) == sizes[1] - tokens


def test_pooling_is_the_mean_of_squares_and_resizing_to_the_full_size_is_no_change(origin) -> None:
    pixels = torch.from_numpy(pictures(4, 2).pixels)
    pooling, resizing = (methods.make(name, origin, 1) for name in ("pooling", "resizing"))
    with torch.no_grad():
        seen = pooling.seen(pixels)
        grid = seen.view(2, 2, 6, 2, 6, -1).mean((2, 4)).flatten(1, 2)
        torch.testing.assert_close(pooling.image(pixels, 4), grid)
        torch.testing.assert_close(pooling.image(pixels, plan.ALL), seen)
        torch.testing.assert_close(resizing.image(pixels, plan.ALL), seen)
        assert [resizing.image(pixels, k).shape[1] for k in plan.SQUARES] == list(plan.SQUARES)
    with pytest.raises(ValueError, match="no square"):
        pooling.image(pixels, 5)


@pytest.mark.parametrize("name", ["ours", "querying"])
def test_fewer_tokens_are_the_beginning_of_more(name, origin) -> None:
    method = methods.make(name, origin, 1)
    pixels = torch.from_numpy(pictures(4, 2).pixels)
    with torch.no_grad():
        torch.testing.assert_close(
            method.image(pixels, 2), method.image(pixels, 9)[:, :2], rtol=1e-4, atol=1e-4
        )


def test_an_answer_is_right_if_each_of_its_words_is_the_likeliest(origin, monkeypatch) -> None:
    """A model that always knows the next word, but for one word of one question."""
    method = methods.make("ours", origin, 1)
    sat = exam.of_pool(pictures(8, 3))
    rows, kind = len(sat.held), exam.KINDS.index("level")  # whose answers have several words
    vocabulary = len(origin.words.ids)
    asked_of = iter([[pairs[start : start + 8] for pairs in sat.asked] for start in (0, 8)])

    def knows(states: torch.Tensor) -> torch.Tensor:
        some = next(asked_of)
        _, labels, _ = origin.words.packed(some)
        rights = torch.from_numpy(labels[labels != IGNORE])
        scores = torch.nn.functional.one_hot(rights, vocabulary).float()
        if len(some[0]) == 4:  # the second part
            block = np.zeros((rows, 8, data.BLOCK), bool)
            block[1, kind - 8] = True
            wrong = np.flatnonzero(block.reshape(rows, -1)[labels != IGNORE])[1]
            scores[wrong] = scores[wrong].roll(1)
        return scores

    monkeypatch.setattr(method.net.lvlm, "logits", knows)
    found = exam.sit(method, origin.words, sat, 4, search=False)
    assert found["kinds"] == {name: 1.0 if name != "level" else round(2 / 3, 5) for name in exam.KINDS}
    assert found["all"] == round(1 - 1 / (rows * len(exam.KINDS)), 5)


def test_search_counts_any_picture_of_which_the_caption_is_true(origin, monkeypatch) -> None:
    method = methods.make("ours", origin, 1)
    drawn = pictures(8, 3)
    twice = data.Pool(drawn.pixels[[0, 1, 2, 0]], drawn.cells[[0, 1, 2, 0]])
    sat = exam.of_pool(twice)
    vectors = torch.eye(4, 160)
    monkeypatch.setattr(method.net, "summarise_text", lambda ids, mask, k: vectors[[3, 1, 0, 0]][:, None])
    marks = exam._found_first(method, origin.words, sat, vectors, 4)
    assert marks.tolist() == [True, True, False, True]


def test_the_exam_of_one_pool_is_always_the_same_and_is_kept_whole(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(data, "make_pool", lambda split, count, seed, processes: pictures(seed, count))
    kept = exam.kept_pool(tmp_path / "exam.npz", "test", 3, 1)
    monkeypatch.undo()
    again = exam.kept_pool(tmp_path / "exam.npz", "test", 3, 1)
    assert exam.of_pool(kept).asked == exam.of_pool(again).asked
    assert [path.name for path in tmp_path.iterdir()] == ["exam.npz"]
    with pytest.raises(ValueError, match="holds 3 pictures"):
        exam.kept_pool(tmp_path / "exam.npz", "test", 4, 1)


def test_bfloat16_products_leave_the_mask_in_force(origin, bench) -> None:
    method = methods.make("single-pass", origin, 1)
    batch = bench.batch(3, 0, 4)
    with torch.no_grad(), half(torch.device("cpu")), made_faster(method.net):
        image = method.image(batch.pixels, 2)
        changed = image.clone()
        changed[:, : design.VISUAL] = 0
        options = method.options(2)
        first, unseen = len(method.net.before), design.VISUAL + len(method.net.prompt)
        options["attention_mask"][..., first + unseen : first + unseen + 2, first : first + unseen] = -1e9
        ids = torch.full((len(image), data.PACKED), 7)
        states = [
            method.net.lvlm.hidden(method.stage, method.net.question(one, ids), **options)[:, -data.PACKED :]
            for one in (image, changed)
        ]
    assert torch.equal(*states)
