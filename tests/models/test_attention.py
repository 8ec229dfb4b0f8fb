from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sentiment.models import attention
from sentiment.models.attention import SelfAttention, attention_weights, rotate
from sentiment.models.padding import as_mask

LENGTHS = torch.tensor([6, 1, 4])  # B = 3
TOKENS, WIDTH, HEADS = 6, 12, 3


def make_attention(head_form: str, heads: int = HEADS) -> SelfAttention:
    attention = SelfAttention(WIDTH, heads, head_form).double()
    nn.init.normal_(attention.output.bias)
    return attention


def make_input() -> Tensor:
    return torch.randn(len(LENGTHS), TOKENS, WIDTH, dtype=torch.float64, requires_grad=True)


def attend_by_hand(attention: SelfAttention, x: Tensor) -> Tensor:
    """Attend in one unpadded review (T, D), head by head, with the formula of the exercise."""
    inner = attention.heads * attention.head_width
    w_query, w_key, w_value = attention.query_key_value.weight.T.split(inner, dim=1)  # each (D, H W)
    outputs = []
    for head in range(attention.heads):
        columns = slice(head * attention.head_width, (head + 1) * attention.head_width)
        query, key, value = x @ w_query[:, columns], x @ w_key[:, columns], x @ w_value[:, columns]  # each (T, W)
        logits = query @ key.T / math.sqrt(attention.head_width)  # (T, T)
        outputs.append(torch.softmax(logits, dim=-1) @ value)
    return torch.cat(outputs, dim=-1) @ attention.output.weight.T + attention.output.bias  # (T, D)


@pytest.mark.parametrize("heads", [1, 2, 3, 12])
def test_narrow_heads_agree_with_torch_in_values_weights_and_gradients(heads: int) -> None:
    ours, x = make_attention("narrow", heads), make_input()
    theirs = nn.MultiheadAttention(WIDTH, heads, batch_first=True, dtype=torch.float64)  # its biases start at zero
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    mask = as_mask(LENGTHS, TOKENS)
    y, expected_input = ours(x, mask), x.detach().clone().requires_grad_()
    expected, weights = theirs(
        expected_input, expected_input, expected_input, key_padding_mask=~mask, average_attn_weights=False
    )
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(attention_weights(ours, x, mask), weights)

    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(x.grad, expected_input.grad)
    torch.testing.assert_close(ours.query_key_value.weight.grad, theirs.in_proj_weight.grad)
    torch.testing.assert_close(ours.output.weight.grad, theirs.out_proj.weight.grad)
    torch.testing.assert_close(ours.output.bias.grad, theirs.out_proj.bias.grad)


@pytest.mark.parametrize("head_form", ["narrow", "wide"])
@pytest.mark.parametrize("heads", [1, 3])
def test_both_forms_agree_with_the_formula_head_by_head(head_form: str, heads: int) -> None:
    attention, x = make_attention(head_form, heads), make_input()
    parameters = [x, *attention.parameters()]
    real = as_mask(LENGTHS, TOKENS)
    y = attention(x, LENGTHS)[real]
    expected = torch.cat([attend_by_hand(attention, x[row, :length]) for row, length in enumerate(LENGTHS)])
    torch.testing.assert_close(y, expected)
    upstream = torch.randn_like(y)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(y, parameters, upstream),
        torch.autograd.grad(expected, parameters, upstream),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("head_form", ["narrow", "wide"])
def test_the_weights_are_the_ones_that_the_output_uses(head_form: str) -> None:
    attention, x = make_attention(head_form), make_input()
    weights = attention_weights(attention, x, LENGTHS)  # (B, H, T, T)
    assert weights.shape == (len(LENGTHS), HEADS, TOKENS, TOKENS)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(len(LENGTHS), HEADS, TOKENS, dtype=torch.float64))
    value = attention.queries_keys_values(x)[2]  # (B, H, T, W)
    heads = (weights @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention.output(heads), attention(x, LENGTHS))


def test_padding_has_no_weight() -> None:
    attention, x = make_attention("narrow"), make_input()
    weights = attention_weights(attention, x, LENGTHS)
    padding = ~as_mask(LENGTHS, TOKENS)
    assert weights.transpose(1, 3)[padding].abs().max() == 0  # keys first: (B, T, T, H)


@pytest.mark.parametrize("head_form", ["narrow", "wide"])
def test_neither_amount_nor_content_of_padding_matters(head_form: str) -> None:
    attention, x = make_attention(head_form), make_input()
    real = as_mask(LENGTHS, TOKENS)
    y = attention(x, LENGTHS)
    changed = torch.cat([x.detach().clone(), torch.full((len(LENGTHS), 5, WIDTH), 1e6, dtype=x.dtype)], dim=1)
    changed[:, :TOKENS][~real] = -1e6
    y_changed = attention(changed, LENGTHS)
    torch.testing.assert_close(y_changed[:, :TOKENS][real], y[real])
    assert y_changed.isfinite().all()
    y[real].sum().backward()
    assert x.grad is not None
    assert x.grad[~real].abs().max() == 0


def test_a_review_of_one_token_attends_to_itself() -> None:
    attention = make_attention("wide")
    x = torch.randn(1, 1, WIDTH, dtype=torch.float64)
    assert attention_weights(attention, x, torch.tensor([1])).tolist() == [[[[1.0]]] * HEADS]


def test_logits_have_unit_variance_at_the_start() -> None:
    for head_form in ("narrow", "wide"):
        attention = SelfAttention(64, 4, head_form)
        query, key, _ = attention.queries_keys_values(torch.randn(8, 64, 64))
        logits = query @ key.transpose(-2, -1) / math.sqrt(attention.head_width)
        assert logits.var().item() == pytest.approx(1.0, rel=0.2)


def test_dropout_acts_in_training_only() -> None:
    attention = SelfAttention(WIDTH, HEADS, dropout=0.5)
    x = torch.randn(4, TOKENS, WIDTH)
    lengths = torch.full((4,), TOKENS)
    dropped = (attention(x, lengths) == 0).float().mean()
    assert 0.3 < dropped < 0.7
    attention.eval()
    assert torch.equal(attention(x, lengths), attention(x, lengths))


def test_a_fault_names_rule_value_and_remedy() -> None:
    with pytest.raises(ValueError, match=r"heads=5 do not divide embedding_size=12; choose a divisor, or head_form"):
        SelfAttention(12, 5)
    with pytest.raises(ValueError, match="head_form must be 'narrow' or 'wide', not 'broad'; set"):
        SelfAttention(12, 4, "broad")
    assert SelfAttention(12, 5, "wide").head_width == 12


@pytest.mark.parametrize("width", [4, 5])
def test_rotated_queries_and_keys_tell_their_distance_alone(width: int) -> None:
    query, key = (torch.randn(width, dtype=torch.float64).expand(1, 1, 9, width) for _ in range(2))
    products = (rotate(query) @ rotate(key).transpose(-2, -1))[0, 0]  # (T, T)
    for distance in range(-8, 9):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
    assert products[0].unique().numel() == 9
    torch.testing.assert_close(rotate(query).norm(dim=-1), query.norm(dim=-1))
    assert torch.equal(rotate(query)[..., 0, :], query[..., 0, :])


def test_a_device_without_double_precision_is_asked_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Apple GPU refuses it; the device without memory, which stands for one here, would not."""

    class Refusing(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):  # type: ignore[no-untyped-def]
            result = function(*arguments, **(named or {}))
            assert not (result.device.type == "meta" and result.dtype == torch.float64), function
            return result

    monkeypatch.setattr(attention, "WITHOUT_FLOAT64", ("meta",))
    with Refusing():
        turned = rotate(torch.empty(2, 3, 7, 8, device="meta"))
    assert (turned.device.type, turned.dtype, turned.shape) == ("meta", torch.float32, (2, 3, 7, 8))


def test_rotary_attention_knows_the_order_that_plain_attention_does_not() -> None:
    x, mask = make_input(), as_mask(torch.full((3,), TOKENS), TOKENS)
    order = torch.tensor([0, 2, 1, 3, 4, 5])
    for rotary in (False, True):
        attention = SelfAttention(WIDTH, HEADS, rotary=rotary).double()
        same = torch.allclose(attention(x, mask)[:, 0], attention(x[:, order], mask)[:, 0])
        assert same != rotary
