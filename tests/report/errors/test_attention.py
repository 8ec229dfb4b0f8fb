"""Attention summed up by token."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment.report.errors.analysis import LARGEST_MAP, MAP_NUMBERS, roll_out, view_attention


def draw_weights(layers, heads, tokens, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(tokens), (layers, heads, tokens))


def test_a_view_for_the_rollout_each_layer_and_each_head():
    weights = draw_weights(2, 2, 3)
    view = view_attention(["a", "b", "c"], weights)
    assert [way.name for way in view.views] == [
        "all layers (rollout)", "layer 1, all heads", "layer 1, head 1", "layer 1, head 2", "layer 2, all heads",
        "layer 2, head 1", "layer 2, head 2",
    ]  # fmt: skip
    assert view.views[5].received == pytest.approx(weights[1, 0].mean(axis=0))
    assert view.views[4].received == pytest.approx((view.views[5].received + view.views[6].received) / 2)
    assert all(way.received.sum() == pytest.approx(1) for way in view.views)
    assert view.views[6].weights == pytest.approx(weights[1, 1])


def test_a_single_head_is_not_shown_twice():
    assert [way.name for way in view_attention(["a"], np.ones((1, 1, 1, 1))).views] == [
        "all layers (rollout)", "layer 1, all heads",
    ]  # fmt: skip


def test_rollout_multiplies_half_attention_half_residual():
    weights = draw_weights(3, 2, 4)
    halves = [0.5 * layer.mean(axis=0) + 0.5 * np.eye(4) for layer in weights]
    assert roll_out(weights) == pytest.approx(halves[2] @ halves[1] @ halves[0])
    assert roll_out(weights).sum(axis=1) == pytest.approx(np.ones(4))


def test_a_token_that_all_attend_to_receives_most():
    weights = np.full((2, 2, 5, 5), 0.05)
    weights[..., 3] = 0.8
    assert {int(way.received.argmax()) for way in view_attention(list("abcde"), weights).views} == {3}


@pytest.mark.parametrize(("layers", "heads", "tokens"), [(1, 1, LARGEST_MAP + 1), (6, 8, 50)])
def test_maps_that_would_be_large_are_left_out(layers, heads, tokens):
    view = view_attention(["word"] * tokens, draw_weights(layers, heads, tokens))
    assert all(way.weights is None for way in view.views)
    assert tokens > LARGEST_MAP or len(view.views) * tokens**2 > MAP_NUMBERS
