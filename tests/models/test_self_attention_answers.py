"""The five written questions of the exercise, each answer shown. The answers: experiments/self_attention/README.md."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sentiment.config.home import PROJECT_DIR
from sentiment.models.attention import SelfAttention, attention_weights

L, D = 7, 12  # the exercise's letters: L tokens, d wide
ANSWERS = PROJECT_DIR / "experiments" / "self_attention" / "README.md"


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def average_by_loops(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The exercise's formula, one number at a time: y_i = sum_j w_ij v_j, w_i = softmax of q_i . k_j."""
    outputs = torch.zeros(len(query), value.shape[1], dtype=torch.float64)
    for i in range(len(query)):
        products = [sum(float(a) * float(b) for a, b in zip(query[i], key[j], strict=True)) for j in range(len(key))]
        total = sum(math.exp(product) for product in products)
        for j in range(len(key)):
            outputs[i] += math.exp(products[j]) / total * value[j]
    return outputs


def softmax_jacobian_norm(logits: Tensor) -> Tensor:
    """Frobenius norm of d softmax / d logits = diag(w) - w w^T, for (N, L) logits."""
    weights = logits.softmax(dim=-1)
    jacobian = torch.diag_embed(weights) - weights.unsqueeze(-1) * weights.unsqueeze(-2)  # (N, L, L)
    return jacobian.flatten(1).norm(dim=1)


class TestQuestion1MatrixForm:
    """Y = softmax(X X^T) X."""

    def test_the_matrix_form_equals_the_double_loop(self) -> None:
        x = draw(L, D) / 2
        torch.testing.assert_close(torch.softmax(x @ x.T, dim=-1) @ x, average_by_loops(x, x, x))


class TestQuestion2ThreeTransformations:
    """What plain inner products cannot do, and three matrices can."""

    def test_without_them_relevance_is_symmetric_and_a_token_prefers_itself(self) -> None:
        x = torch.nn.functional.normalize(draw(L, D))  # of one length, as after a layer norm
        products = x @ x.T
        torch.testing.assert_close(products, products.T)
        assert (products.argmax(dim=1) == torch.arange(L)).all()

    def test_queries_and_keys_can_let_every_token_attend_to_the_one_before_it(self) -> None:
        x = torch.eye(L, dtype=torch.float64)  # token i is the i-th unit vector
        w_query = 50 * torch.roll(torch.eye(L, dtype=torch.float64), shifts=-1, dims=1)
        weights = torch.softmax((x @ w_query) @ x.T, dim=-1)
        assert weights.argmax(dim=1).tolist() == [(i - 1) % L for i in range(L)]
        torch.testing.assert_close(weights, torch.roll(torch.eye(L, dtype=torch.float64), shifts=-1, dims=1))

    def test_values_let_the_output_differ_from_what_is_compared(self) -> None:
        x, direction = draw(L, D), torch.nn.functional.normalize(draw(D), dim=0)
        w_value = torch.eye(D, dtype=torch.float64) - torch.outer(direction, direction)
        weights = torch.softmax(x @ x.T, dim=-1)  # compares the direction, too
        assert (weights @ x @ direction).abs().max() > 0.1
        assert (weights @ (x @ w_value) @ direction).abs().max() < 1e-12  # and passes none of it on

    def test_without_them_there_is_nothing_to_learn(self) -> None:
        attention = SelfAttention(D, heads=1)
        assert [tuple(parameter.shape) for parameter in attention.query_key_value.parameters()] == [(3 * D, D)]


class TestQuestion3QueriesKeysValues:
    """Y = softmax(Q K^T) V."""

    def test_the_matrix_form_equals_the_double_loop(self) -> None:
        x = draw(L, D)
        query, key, value = (x @ (draw(D, D) / D) for _ in range(3))
        torch.testing.assert_close(torch.softmax(query @ key.T, dim=-1) @ value, average_by_loops(query, key, value))

    def test_the_code_equals_the_double_loop(self) -> None:
        attention = SelfAttention(D, heads=1).double()
        x = draw(L, D)
        query, key, value = (part[0, 0].detach() for part in attention.queries_keys_values(x.unsqueeze(0)))
        expected = average_by_loops(query / math.sqrt(D), key, value)
        lengths = torch.tensor([L])
        torch.testing.assert_close(attention_weights(attention, x.unsqueeze(0), lengths)[0, 0] @ value, expected)
        torch.testing.assert_close(attention(x.unsqueeze(0), lengths)[0], attention.output(expected))


class TestQuestion4OutputDimension:
    """Y lies in R^{L x hd}; a projection in R^{hd x d} leads back."""

    @pytest.mark.parametrize("heads", [1, 3, 5])
    def test_wide_heads_make_the_output_h_times_as_wide(self, heads: int) -> None:
        attention = SelfAttention(D, heads, "wide")
        seen: list[tuple[int, ...]] = []
        attention.output.register_forward_pre_hook(lambda _, arguments: seen.append(tuple(arguments[0].shape)))
        y = attention(torch.randn(1, L, D), torch.tensor([L]))
        assert seen == [(1, L, heads * D)]
        assert y.shape == (1, L, D)
        assert attention.query_key_value.weight.shape == (3 * heads * D, D)

    @pytest.mark.parametrize("heads", [1, 3, 4])
    def test_narrow_heads_keep_the_width(self, heads: int) -> None:
        attention = SelfAttention(D, heads, "narrow")
        assert attention.output.in_features == D
        assert attention.query_key_value.weight.shape == (3 * D, D)


class TestQuestion5Scale:
    """Without the scale the logits' variance grows with d, and the softmax stops passing gradients on."""

    WIDTHS = (16, 64, 256, 1024)
    QUERIES, KEYS = 500, 64

    def draw_logits(self, width: int) -> Tensor:
        """Inner products of vectors whose elements are independent, of mean 0 and variance 1: (QUERIES, KEYS)."""
        return torch.einsum("qd,qkd->qk", draw(self.QUERIES, width), draw(self.QUERIES, self.KEYS, width))

    def test_the_variance_of_the_logits_is_d_without_and_1_with_the_scale(self) -> None:
        for width in self.WIDTHS:
            logits = self.draw_logits(width)
            assert logits.var().item() == pytest.approx(width, rel=0.2)
            assert (logits / math.sqrt(width)).var().item() == pytest.approx(1, rel=0.2)

    def test_the_gradient_of_the_softmax_vanishes_without_and_stays_with_the_scale(self) -> None:
        narrow, wide = self.draw_logits(self.WIDTHS[0]), self.draw_logits(self.WIDTHS[-1])
        without = [softmax_jacobian_norm(logits).median().item() for logits in (narrow, wide)]
        scaled = [
            softmax_jacobian_norm(logits / math.sqrt(width)).median().item()
            for logits, width in ((narrow, self.WIDTHS[0]), (wide, self.WIDTHS[-1]))
        ]
        assert without[1] < without[0] / 1000
        assert scaled[1] == pytest.approx(scaled[0], rel=0.2)

    def test_the_jacobian_is_the_one_of_autograd(self) -> None:
        logits = draw(1, 5)
        jacobian = torch.autograd.functional.jacobian(lambda row: torch.softmax(row, dim=-1), logits[0])
        torch.testing.assert_close(softmax_jacobian_norm(logits)[0], jacobian.norm())

    def test_the_code_scales_by_the_width_of_a_head(self) -> None:
        for head_form, head_width in (("narrow", D // 3), ("wide", D)):
            attention = SelfAttention(D, 3, head_form).double()
            x = draw(1, L, D)
            query, key, _ = attention.queries_keys_values(x)
            expected = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(head_width), dim=-1)
            torch.testing.assert_close(attention_weights(attention, x, torch.tensor([L])), expected)

    def test_the_table_of_the_answer_holds_these_numbers(self) -> None:
        torch.manual_seed(0)
        answer = ANSWERS.read_text(encoding="utf-8")
        for width in self.WIDTHS:
            logits = self.draw_logits(width)
            cells = [str(width)]
            for form in (logits, logits / math.sqrt(width)):
                largest = form.softmax(dim=-1).max(dim=-1).values.median()
                cells += [f"{form.var():.2f}", f"{largest:.2f}", f"{softmax_jacobian_norm(form).median():.1e}"]
            row = "| " + " | ".join(cells) + " |"
            assert row in answer, f"the answer should hold the row {row}"
