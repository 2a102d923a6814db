"""A loaded bundle under views: what each crop's tokens are, and what becomes of them in both passes."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fwd2bot_core.compressor import loading
from fwd2bot_core.compressor.bundle import load_bundle, read_spec
from fwd2bot_core.compressor.fake import FakeCompressor
from fwd2bot_core.compressor.method import Method
from fwd2bot_core.compressor.protocol import Compressor
from fwd2bot_core.compressor.view import Region, View
from fwd2bot_core.errors import BundleInvalid, CompressorMismatch, UsageError
from fwd2bot_core.tokens.fidelity import of_probe
from tests.core.compressor import models
from tests.core.compressor.pictures import gradient, saved

NESTED = replace(models.METHOD, trained_k=(1, 2))
QUARTERS = View(tiles=(2, 2), regions=(Region("corner", 0.75, 0.75, 0.25, 0.25),))  # 6 crops
PHOTO = gradient(128, 96)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return models.saved(tmp_path_factory.mktemp("bundle") / "tiny", NESTED)


@pytest.fixture(scope="module")
def plain(folder):
    return load_bundle(folder)


@pytest.fixture(scope="module")
def quarters(folder):
    return load_bundle(folder, view=QUARTERS)


def tokens_of(compressor: Compressor, *pictures: Image.Image) -> np.ndarray:
    return compressor.compress([compressor.prepare(saved(p, "PNG")) for p in pictures]).tokens


def parts(picture: Image.Image) -> list[Image.Image]:
    boxes = [
        (0, 0, 128, 96),
        (0, 0, 64, 48),
        (64, 0, 128, 48),
        (0, 48, 64, 96),
        (64, 48, 128, 96),
        (96, 72, 128, 96),
    ]
    return [picture.crop(box) for box in boxes]


def test_each_crop_has_the_tokens_of_that_part_alone(plain, quarters):
    found = tokens_of(quarters, PHOTO, PHOTO.rotate(180))
    assert found.shape == (2, 18, 16)
    for picture, tokens in zip((PHOTO, PHOTO.rotate(180)), found, strict=True):
        alone = tokens_of(plain, *parts(picture)).reshape(18, 16)
        np.testing.assert_allclose(tokens, alone, rtol=1e-4, atol=1e-5)
    assert np.abs(found[0, :3] - found[0, 3:6]).max() > 0.01  # and the parts do differ


def test_a_micro_batch_runs_no_more_crops_at_once_than_it_has_images(quarters, monkeypatch):
    seen = []
    visual = quarters.net.visual
    monkeypatch.setattr(quarters.net, "visual", lambda pixels: seen.append(len(pixels)) or visual(pixels))
    tokens_of(quarters, PHOTO, PHOTO.rotate(180), PHOTO.rotate(90))
    assert sum(seen) == 18
    assert max(seen) == 3


def test_search_compares_the_thumbnail_where_there_is_one(folder, plain, quarters):
    photo = saved(PHOTO, "PNG")
    whole = plain.compress([plain.prepare(photo)]).pooled
    with_thumbnail = quarters.compress([quarters.prepare(photo)]).pooled
    np.testing.assert_allclose(with_thumbnail, whole, rtol=1e-4, atol=1e-5)
    tiles = load_bundle(folder, view=replace(QUARTERS, thumbnail=False))
    found = tiles.compress([tiles.prepare(photo)])
    mean = found.tokens[0].mean(axis=0)
    np.testing.assert_allclose(found.pooled[0], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-5)


def test_a_shorter_summary_is_the_beginning_of_the_longer_one(folder, plain):
    for k in (1, 2):
        short = load_bundle(folder, view=View(k=k))
        assert short.spec.k == k
        np.testing.assert_allclose(
            tokens_of(short, PHOTO), tokens_of(plain, PHOTO)[:, :k], rtol=1e-4, atol=1e-5
        )
        assert not np.allclose(short.embed_text("a bag"), plain.embed_text("a bag"))
    three = load_bundle(folder, view=View(k=2, tiles=(2, 1)))
    long = load_bundle(folder, view=View(tiles=(2, 1)))
    prefixes = tokens_of(long, PHOTO).reshape(1, 3, 3, 16)[:, :, :2].reshape(1, 6, 16)
    np.testing.assert_allclose(tokens_of(three, PHOTO), prefixes, rtol=1e-4, atol=1e-5)


def test_an_answer_reads_all_crops_in_their_order(quarters):
    tokens = tokens_of(quarters, PHOTO)[0]
    first = quarters.answer(tokens, "describe .")
    backwards = quarters.answer(tokens.reshape(6, 3, 16)[::-1].reshape(18, 16), "describe .")
    assert (first.text, first.confidence) != (backwards.text, backwards.confidence)
    assert (
        quarters.answers_from_images([quarters.prepare(saved(PHOTO, "PNG"))], ["describe ."])[0].confidence
        > 0
    )


def test_tokens_of_another_view_are_refused(plain, quarters):
    with pytest.raises(CompressorMismatch, match=r"whose are float32 of \(18, 16\)"):
        quarters.answer(tokens_of(plain, PHOTO)[0], "describe .")


def test_views_of_one_bundle_have_their_own_fingerprints_and_the_spec_needs_no_weights(
    folder, plain, quarters
):
    assert quarters.spec == read_spec(folder, QUARTERS) == loading.read_spec(str(folder), QUARTERS)
    assert quarters.spec.fingerprint != plain.spec.fingerprint
    assert loading.load(str(folder), view=QUARTERS).spec == quarters.spec
    assert load_bundle(folder, view=View(k=3, size=(32, 32))).spec == plain.spec == read_spec(folder)
    assert read_spec(folder, View(k=2)).k == 2


def test_a_k_that_was_not_trained_is_refused_with_those_that_were(folder, tmp_path):
    for read in (read_spec, lambda path, view: load_bundle(path, view=view)):
        with pytest.raises(UsageError, match="k is 5, and this bundle was trained for k = 1, 2, 3 only"):
            read(folder, View(k=5))
    untold = models.saved(tmp_path / "untold")
    with pytest.raises(UsageError, match="k is 2, and this bundle was trained for k = 3 only"):
        read_spec(untold, View(k=2))


def test_having_trained_for_more_k_changes_no_tokens_and_no_fingerprint(tmp_path, folder):
    assert read_spec(models.saved(tmp_path / "untold")).fingerprint == read_spec(folder).fingerprint
    assert Method.from_json(NESTED.as_json()) == NESTED
    with pytest.raises(BundleInvalid, match="between 1 and k, which is 3"):
        replace(NESTED, trained_k=(4,))


def test_a_tower_of_one_resolution_refuses_another_in_one_sentence(folder):
    assert read_spec(folder, View(size=(64, 64))).preprocessing["size"] == [64, 64]  # only the tower can know
    with pytest.raises(UsageError, match=r"does not take 64x64 pixels .*leave size at 32x32") as caught:
        load_bundle(folder, view=View(size=(64, 64)))
    assert "\n" not in str(caught.value)


def test_a_tower_that_takes_any_resolution_sees_more_with_more_pixels():
    whole, finer = loading.load("nano"), loading.load("nano", view=View(size=(128, 96)))
    assert finer.spec.preprocessing["size"] == [128, 96]
    assert finer.prepare(saved(PHOTO, "PNG")).pixels.shape == (1, 3, 96, 128)
    assert finer.spec.fingerprint != whole.spec.fingerprint
    assert np.abs(tokens_of(finer, PHOTO) - tokens_of(whole, PHOTO)).max() > 0.01


def dotted(at: tuple[int, int]) -> bytes:
    """A large black photo with a dot of 24 pixels, which the photo at 32x32 shrinks to less than half a pixel."""
    picture = Image.new("RGB", (2048, 2048))
    picture.paste("white", (at[0], at[1], at[0] + 24, at[1] + 24))
    sink = BytesIO()
    picture.save(sink, "JPEG", quality=90)
    return sink.getvalue()


def test_tiles_of_a_large_jpeg_are_cut_from_all_its_pixels(folder):
    tiles = load_bundle(folder, view=View(tiles=(4, 4), regions=(Region("spot", 0.5, 0.5, 0.05, 0.05),)))
    pixels = tiles.prepare(dotted((1050, 1050))).pixels
    assert pixels.shape == (18, 3, 32, 32)
    brightest = pixels.reshape(18, -1).max(axis=1)
    assert brightest[0] < 100  # in the thumbnail it is nearly gone
    assert brightest[17] > 250  # in the region of 103 pixels it has its full brightness
    (fullest,) = np.flatnonzero(brightest[1:17] > 150)
    assert fullest == 10  # third row, third column


def test_the_fake_has_views_as_well():
    fake, plain = FakeCompressor(view=QUARTERS), FakeCompressor()
    assert isinstance(fake.spec.crops, tuple)
    assert fake.spec.k == 24
    assert fake.spec == loading.read_spec("fake", QUARTERS)
    assert fake.spec.fingerprint != plain.spec.fingerprint
    found = tokens_of(fake, PHOTO, PHOTO.rotate(180))
    assert found.tobytes() == tokens_of(FakeCompressor(view=QUARTERS), PHOTO, PHOTO.rotate(180)).tobytes()
    assert np.array_equal(found[0].reshape(6, 4, 32), tokens_of(plain, *parts(PHOTO)))
    photo = saved(PHOTO, "PNG")
    assert np.array_equal(
        fake.compress([fake.prepare(photo)]).pooled, plain.compress([plain.prepare(photo)]).pooled
    )
    short = FakeCompressor(view=View(k=2))
    assert np.array_equal(tokens_of(short, PHOTO), tokens_of(plain, PHOTO)[:, :2])
    assert fake.compress([]).tokens.shape == (0, 24, 32)
    with pytest.raises(UsageError, match="trained for k = 1, 2, 3, 4 only"):
        FakeCompressor(view=View(k=5))


QUESTIONS = ["describe .", "how many items ?", "where is the boot ?"]


def test_fidelity_holds_each_crop_against_its_own_tokens_alone(plain, quarters):
    """The unadapted model never learned to read several crops at once, so it is not asked to."""
    photos = [PHOTO, PHOTO.rotate(180)]
    tokens = tokens_of(quarters, *photos)
    tokens[1, 3:6] = 0  # the first tile of the second photo
    prepared = [quarters.prepare(saved(photo, "PNG")) for photo in photos]
    for photo, row, findings in zip(
        photos, tokens, quarters.compare(tokens, prepared, QUESTIONS), strict=True
    ):
        cuts = [plain.prepare(saved(part, "PNG")) for part in parts(photo)]
        alone = plain.compare(row.reshape(6, 3, 16), cuts, QUESTIONS)
        for question, finding in enumerate(findings):
            ranked = sorted(finding.looks, key=lambda look: look.crop)
            assert [look.crop for look in ranked] == [0, 1, 2, 3, 4, 5]
            assert [look.answer for look in ranked] == [cut[question].answer for cut in alone]
            for look, cut in zip(ranked, alone, strict=True):
                np.testing.assert_allclose(look.distances, cut[question].distances, atol=2e-3)
            assert of_probe(finding) == pytest.approx(
                np.mean([of_probe(c[question]) for c in alone]), abs=2e-3
            )
            assert finding.crop == min(range(6), key=lambda crop: of_probe(alone[crop][question]))


def test_comparing_sees_no_more_crops_at_once_than_it_has_images(quarters, monkeypatch):
    seen = []
    visual = quarters.net.visual
    prepared = [quarters.prepare(saved(PHOTO, "PNG"))] * 2
    tokens = quarters.compress(prepared).tokens
    monkeypatch.setattr(quarters.net, "visual", lambda pixels: seen.append(len(pixels)) or visual(pixels))
    quarters.compare(tokens, prepared, QUESTIONS)
    assert (sum(seen), max(seen)) == (12, 2)


def test_a_fake_is_judged_crop_by_crop_too():
    fake = FakeCompressor(view=QUARTERS)
    prepared = [fake.prepare(saved(PHOTO, "PNG"))]
    tokens = fake.compress(prepared).tokens
    tokens[0, 8:12] += np.float32(0.3)
    (findings,) = fake.compare(tokens, prepared, QUESTIONS)
    assert {finding.crop for finding in findings} == {2}
    assert [look.distances for look in findings[0].others] == [(0.0,)] * 5
