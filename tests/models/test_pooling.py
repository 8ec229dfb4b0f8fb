from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sentiment.models.padding import as_mask
from sentiment.models.pooling import AttentionPooling, build_pooling

WIDTH = 6
OUTPUT_WIDTHS = {"mean": 6, "max": 6, "mean_max": 12, "attention": 6, "last": 6, "mean_max_attention": 18}


def pool_one(name: str, states: Tensor) -> Tensor:
    """Pool the (T, D) states of one unpadded review, written as plainly as can be."""
    plain = {
        "mean": lambda: states.mean(dim=0),
        "max": lambda: states.max(dim=0).values,
        "mean_max": lambda: torch.cat([states.mean(dim=0), states.max(dim=0).values]),
        "last": lambda: torch.cat([states[-1, : WIDTH // 2], states[0, WIDTH // 2 :]]),
    }
    return plain[name]()


@pytest.mark.parametrize("name", ["mean", "max", "mean_max", "last"])
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5), extra=st.integers(0, 3))
def test_pooling_a_padded_batch_equals_pooling_every_review_alone(name: str, lengths: list[int], extra: int) -> None:
    states = torch.randn(len(lengths), max(lengths) + extra, WIDTH)
    pooled = build_pooling(name, WIDTH, directions=2)(states, as_mask(torch.tensor(lengths), states.shape[1]))
    expected = torch.stack([pool_one(name, states[row, :length]) for row, length in enumerate(lengths)])
    torch.testing.assert_close(pooled, expected)


@pytest.mark.parametrize("name", OUTPUT_WIDTHS)
def test_the_output_width_is_as_promised(name: str) -> None:
    pooling = build_pooling(name, WIDTH, directions=2)
    assert pooling.output_width == OUTPUT_WIDTHS[name]
    assert pooling(torch.randn(3, 4, WIDTH), as_mask(torch.tensor([4, 1, 2]), 4)).shape == (3, OUTPUT_WIDTHS[name])


@pytest.mark.parametrize("name", OUTPUT_WIDTHS)
def test_padding_gets_no_gradient_and_real_tokens_do(name: str) -> None:
    states = torch.randn(2, 5, WIDTH, requires_grad=True)
    mask = as_mask(torch.tensor([5, 2]), 5)
    build_pooling(name, WIDTH, directions=2)(states, mask).square().sum().backward()
    assert states.grad is not None
    assert states.grad[~mask].abs().max() == 0
    assert (states.grad[mask].abs().sum() > 0).all()


def test_attention_pooling_starts_as_the_mean() -> None:
    states, mask = torch.randn(3, 5, WIDTH), as_mask(torch.tensor([5, 1, 3]), 5)
    pooled = build_pooling("attention", WIDTH)(states, mask)
    torch.testing.assert_close(pooled, build_pooling("mean", WIDTH)(states, mask))


def test_attention_pooling_weighs_by_the_softmax_of_its_scores() -> None:
    pooling = AttentionPooling(WIDTH)
    torch.nn.init.normal_(pooling.query.weight)
    states, lengths = torch.randn(3, 5, WIDTH), [5, 1, 3]
    mask = as_mask(torch.tensor(lengths), 5)
    weights = pooling.weights(states, mask)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert weights[~mask].abs().max() == 0
    for row, length in enumerate(lengths):
        review = states[row, :length]
        scores = torch.tanh(review @ pooling.key.weight.T + pooling.key.bias) @ pooling.query.weight[0]
        torch.testing.assert_close(pooling(states, mask)[row], torch.softmax(scores, dim=0) @ review)


def test_mean_max_attention_pooling_puts_the_three_side_by_side() -> None:
    pooling = build_pooling("mean_max_attention", WIDTH)
    torch.nn.init.normal_(pooling.attention.query.weight)
    states, mask = torch.randn(3, 5, WIDTH), as_mask(torch.tensor([5, 1, 3]), 5)
    parts = [build_pooling("mean", WIDTH), build_pooling("max", WIDTH), pooling.attention]
    torch.testing.assert_close(pooling(states, mask), torch.cat([part(states, mask) for part in parts], dim=-1))


def test_last_pooling_of_one_direction_takes_the_last_real_state() -> None:
    states = torch.randn(2, 4, WIDTH)
    pooled = build_pooling("last", WIDTH)(states, as_mask(torch.tensor([4, 2]), 4))
    torch.testing.assert_close(pooled, torch.stack([states[0, 3], states[1, 1]]))


def test_a_fault_names_rule_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"pooling must be one of .*'mean_max'.*, not 'sum'; set model.pooling"):
        build_pooling("sum", 4)
    with pytest.raises(ValueError, match="1 or 2 directions that share the width evenly, not directions=2 of width=5"):
        build_pooling("last", 5, directions=2)
