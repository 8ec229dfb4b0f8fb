from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sentiment.models.padding import as_mask
from sentiment.models.recurrent import RecurrentLayer, TextClassificationRNN

LENGTHS = torch.tensor([2, 6, 1, 4])  # B = 4, unsorted
TOKENS, WIDTH, HIDDEN = 6, 5, 3
POOLINGS = ["mean", "max", "mean_max", "attention", "last"]


def make_classifier(**changes: Any) -> TextClassificationRNN:
    choices: dict[str, Any] = {
        "vocabulary_size": 20,
        "classes": 3,
        "embedding_size": WIDTH,
        "hidden_size": HIDDEN,
    }
    return TextClassificationRNN(**(choices | changes))


def torch_layer(layer: RecurrentLayer, cell: str) -> nn.LSTM | nn.GRU:
    """Build torch's own layer with the weights of ours."""
    kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
    theirs = kind(WIDTH, HIDDEN, batch_first=True, bidirectional=layer.backwards is not None, dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in layer.forwards.named_parameters():
            theirs.get_parameter(name).copy_(parameter)
        if layer.backwards is not None:
            for name, parameter in layer.backwards.named_parameters():
                theirs.get_parameter(f"{name}_reverse").copy_(parameter)
    return theirs


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_layer_agrees_with_torch_on_packed_reviews_in_values_and_gradients(cell: str, bidirectional: bool) -> None:
    layer = RecurrentLayer(cell, WIDTH, HIDDEN, bidirectional).double()
    theirs = torch_layer(layer, cell)
    x = torch.randn(len(LENGTHS), TOKENS, WIDTH, dtype=torch.float64, requires_grad=True)
    their_x = x.detach().clone().requires_grad_()
    mask = as_mask(LENGTHS, TOKENS)
    y = layer(x, mask)[mask]
    packed = pack_padded_sequence(their_x, LENGTHS, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(theirs(packed)[0], batch_first=True)[0][mask]
    torch.testing.assert_close(y, expected)

    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(x.grad, their_x.grad)
    for name, parameter in layer.forwards.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad)
    if layer.backwards is not None:
        for name, parameter in layer.backwards.named_parameters():
            torch.testing.assert_close(parameter.grad, theirs.get_parameter(f"{name}_reverse").grad)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_padded_batch_equals_every_review_alone(cell: str, bidirectional: bool, pooling: str) -> None:
    network = make_classifier(cell=cell, bidirectional=bidirectional, pooling=pooling, depth=2).double().eval()
    tokens = torch.randint(2, 20, (len(LENGTHS), TOKENS))
    together = network(tokens, LENGTHS)
    alone = [network(tokens[row : row + 1, :length], LENGTHS[row : row + 1]) for row, length in enumerate(LENGTHS)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_single_precision_kernel_agrees_too(cell: str) -> None:
    """In float32 torch takes another kernel than in float64."""
    layer = RecurrentLayer(cell, 32, 32, bidirectional=True)
    x, lengths = torch.randn(4, 50, 32), torch.tensor([50, 7, 1, 33])
    mask = as_mask(lengths, 50)
    y = layer(x, mask)
    for row, length in enumerate(lengths):
        alone = layer(x[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(y[row, :length], alone[0], atol=1e-5, rtol=1e-4)


def test_the_order_of_the_batch_does_not_matter() -> None:
    network = make_classifier(depth=2, pooling="last").double().eval()
    tokens, order = torch.randint(2, 20, (len(LENGTHS), TOKENS)), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(network(tokens[order], LENGTHS[order]), network(tokens, LENGTHS)[order])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_last_pooling_takes_what_torch_calls_the_final_state(cell: str) -> None:
    network = make_classifier(cell=cell, pooling="last").double().eval()
    layer = network.layers[0]
    assert isinstance(layer, RecurrentLayer)
    tokens = torch.randint(2, 20, (len(LENGTHS), TOKENS))
    packed = pack_padded_sequence(network.embed(tokens), LENGTHS, batch_first=True, enforce_sorted=False)
    final = torch_layer(layer, cell)(packed)[1]
    state: Tensor = final[0] if isinstance(final, tuple) else final  # (directions, B, hidden_size)
    torch.testing.assert_close(network(tokens, LENGTHS), network.head(torch.cat([state[0], state[1]], dim=-1)))


def test_the_forget_gate_starts_open() -> None:
    layer = make_classifier().layers[0]
    assert isinstance(layer, RecurrentLayer)
    for lstm in (layer.forwards, layer.backwards):
        assert isinstance(lstm, nn.LSTM)
        bias = lstm.get_parameter("bias_ih_l0") + lstm.get_parameter("bias_hh_l0")
        assert bias[HIDDEN : 2 * HIDDEN].tolist() == [1.0] * HIDDEN
        assert bias[:HIDDEN].abs().max() < 2 / HIDDEN**0.5


def test_dropout_acts_on_embedding_between_layers_and_before_the_head() -> None:
    network = make_classifier(depth=3, dropout=0.5)
    calls: list[tuple[int, ...]] = []
    network.dropout.register_forward_hook(lambda _, arguments, __: calls.append(tuple(arguments[0].shape)))
    network(torch.randint(2, 20, (4, TOKENS)), LENGTHS)
    assert calls == [(4, TOKENS, WIDTH), (4, TOKENS, 2 * HIDDEN), (4, TOKENS, 2 * HIDDEN), (4, 2 * HIDDEN)]


def test_a_fault_names_rule_value_and_remedy() -> None:
    with pytest.raises(ValueError, match="cell must be 'lstm' or 'gru', not 'rnn'; set"):
        make_classifier(cell="rnn")
