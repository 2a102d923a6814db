from __future__ import annotations

import numpy as np
import pytest

from fwd2bot_core.compressor.decode import DecodeLimits, decode
from fwd2bot_core.compressor.nano import exam, fashion, questions, trays
from fwd2bot_core.compressor.nano.design import METHOD, PIXELS
from fwd2bot_core.compressor.nano.easy_vqa import ANSWERS
from fwd2bot_core.compressor.preprocess import fit
from fwd2bot_core.compressor.protocol import Prepared

debian = pytest.mark.skipif(
    not fashion.ROOT.exists(), reason="needs the Debian package dataset-fashion-mnist"
)
NEVER = {trays.KINDS[kind] for kind in range(10) if kind not in trays.TOLD_APART}


def prepare(data: bytes) -> Prepared:
    found = decode(data, DecodeLimits())
    return Prepared((fit(found.image, METHOD.size, METHOD.mean),), found.width, found.height, found.format)


@pytest.fixture(scope="module")
def shipped():
    return exam.shipped(prepare, 12)


def test_each_tray_is_asked_one_question_of_each_kind(shipped):
    paper = exam.paper(shipped)
    assert paper.pixels.shape == (12, 3, PIXELS, PIXELS)
    for pairs, kinds in zip(paper.asked, paper.kinds, strict=True):
        assert kinds == list(questions.PHRASES)
        assert len(pairs) == len(kinds)
    assert paper.first(5).asked == paper.asked[:5]


def test_nothing_is_asked_or_claimed_of_kinds_that_look_like_others(shipped):
    said = [f"{one.question} {one.answer}" for one in shipped.examples] + shipped.captions
    said += [false for how in questions.FALSEHOODS for false in shipped.false(how) if false]
    assert not NEVER & {word.strip("?.") for text in said for word in text.split()}


def test_captions_are_true_and_false_ones_are_not(shipped):
    for said, facts in zip(shipped.claims, shipped.held, strict=True):
        assert all(claim.holds(facts) for claim in said)
    for how in questions.FALSEHOODS:
        for true, false in zip(shipped.captions, shipped.false(how), strict=True):
            assert false is None or false != true
        assert sum(false is not None for false in shipped.false(how)) > 8
        assert shipped.false(how) == shipped.false(how)


def test_the_exam_is_the_same_again(shipped):
    again = exam.shipped(prepare, 12)
    assert [(e.question, e.answer) for e in again.examples] == [
        (e.question, e.answer) for e in shipped.examples
    ]
    assert again.captions == shipped.captions


def test_every_answer_of_easy_vqa_is_of_one_kind():
    kinds = {answer: exam.easy_kind(answer) for answer in ANSWERS}
    assert set(kinds.values()) == set(exam.EASY_KINDS)
    assert (kinds["no"], kinds["circle"], kinds["teal"]) == ("yes or no", "shape", "color")


@debian
def test_single_items_are_bright_in_the_middle_and_of_all_kinds():
    pixels = exam._render_singles("test", 3, np.arange(20))
    middle, corner = pixels[:, :, 36:60, 36:60], pixels[:, :, 70:94, 70:94]
    assert (middle.mean((1, 2, 3)) > 1.3 * corner.mean((1, 2, 3))).all()
    assert np.array_equal(pixels, exam._render_singles("test", 3, np.arange(20)))
