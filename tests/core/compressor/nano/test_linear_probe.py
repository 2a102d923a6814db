from __future__ import annotations

import numpy as np

from fwd2bot_core.compressor.nano import linear_probe


def classes(count: int, noise: float, numbers: int = 40):
    rng = np.random.default_rng(count)
    centres = np.random.default_rng(1).standard_normal((10, numbers))
    kinds = rng.integers(0, 10, count)
    rows = centres[kinds] + noise * rng.standard_normal((count, numbers))
    return rows.astype(np.float32), kinds


def test_it_reads_what_is_there_and_guesses_what_is_not():
    (train, kinds), (test, wanted) = classes(400, 0.3), classes(200, 0.3)
    assert linear_probe.accuracy(train, kinds, test, wanted)[0] > 0.95
    assert linear_probe.accuracy(train, np.roll(kinds, 1), test, wanted)[0] < 0.3


def test_much_noise_asks_for_a_larger_penalty():
    found = [
        linear_probe.accuracy(*classes(300, noise, 400), *classes(200, noise, 400))[1] for noise in (0.05, 6)
    ]
    assert found[0] < found[1]
    assert set(found) <= set(linear_probe.PENALTIES)


def test_the_penalty_is_chosen_without_the_test_part(monkeypatch):
    train, test = classes(300, 2.0), classes(100, 2.0)
    asked = []
    right = linear_probe._right
    monkeypatch.setattr(linear_probe, "_right", lambda *args: asked.append(args) or right(*args))
    linear_probe.accuracy(*train, *test)
    choosing, last = asked
    assert len(choosing[0]) + len(choosing[2]) == 300
    assert np.array_equal(choosing[2], train[0][240:])
    assert len(last[4]) == 1
