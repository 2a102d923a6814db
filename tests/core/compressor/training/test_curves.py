from __future__ import annotations

from fwd2bot_core.compressor.training import curves


def test_a_term_that_ends_before_the_training_is_drawn_as_far_as_it_goes():
    history = [{"step": 50, "answers": 2.0, "lead": 1.0}, {"step": 100, "answers": 1.0}]
    drawn = curves.plot({"adapters": history}).decode()
    assert "<!-- lead -->" in drawn
    assert "<!-- answers -->" in drawn
    assert curves.plot({"adapters": history}) == drawn.encode()


def test_no_history_is_an_empty_panel():
    assert b"<svg" in curves.plot({"adapters": []})
