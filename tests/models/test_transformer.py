from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sentiment.models.padding import as_mask
from sentiment.models.transformer import (
    POSITION_DEVIATION,
    LearnedPositions,
    SinusoidalPositions,
    TextClassificationTransformer,
    TransformerBlock,
)

LENGTHS = torch.tensor([5, 2, 1, 5])  # B = 4
TOKENS, WIDTH, HEADS = 5, 12, 3


def make_classifier(**changes: Any) -> TextClassificationTransformer:
    choices: dict[str, Any] = {
        "vocabulary_size": 20,
        "classes": 3,
        "max_tokens": 9,
        "embedding_size": WIDTH,
        "heads": HEADS,
    }
    return TextClassificationTransformer(**(choices | changes))


def torch_block(block: TransformerBlock, activation: str) -> tuple[nn.TransformerEncoderLayer, dict[str, str]]:
    """Build torch's own block with the weights of ours, and the names of theirs under ours."""
    theirs = nn.TransformerEncoderLayer(
        WIDTH,
        HEADS,
        dim_feedforward=2 * WIDTH,
        dropout=0.0,
        activation=activation,
        batch_first=True,
        norm_first=block.norm == "pre",
        dtype=torch.float64,
    )
    names = {
        "attention.query_key_value.weight": "self_attn.in_proj_weight",
        "attention.output.weight": "self_attn.out_proj.weight",
        "attention.output.bias": "self_attn.out_proj.bias",
        "feedforward.0.weight": "linear1.weight",
        "feedforward.0.bias": "linear1.bias",
        "feedforward.2.weight": "linear2.weight",
        "feedforward.2.bias": "linear2.bias",
        "attention_norm.weight": "norm1.weight",
        "attention_norm.bias": "norm1.bias",
        "feedforward_norm.weight": "norm2.weight",
        "feedforward_norm.bias": "norm2.bias",
    }
    ours = dict(block.named_parameters())
    assert ours.keys() == names.keys()
    left = {name for name, _ in theirs.named_parameters()} - set(names.values())
    assert left == {"self_attn.in_proj_bias"}  # zero at the start; our maps have none, as in the exercise
    with torch.no_grad():
        for name, their_name in names.items():
            theirs.get_parameter(their_name).copy_(ours[name])
    return theirs, names


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_block_agrees_with_torch_in_values_and_gradients(norm: str, activation: str) -> None:
    block = TransformerBlock(WIDTH, HEADS, "narrow", 2.0, norm, activation).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)  # no zero bias and no unit gain that could hide a fault
    theirs, names = torch_block(block, activation)
    x = torch.randn(len(LENGTHS), TOKENS, WIDTH, dtype=torch.float64, requires_grad=True)
    their_x = x.detach().clone().requires_grad_()
    mask = as_mask(LENGTHS, TOKENS)
    y, expected = block(x, LENGTHS)[mask], theirs(their_x, src_key_padding_mask=~mask)[mask]
    torch.testing.assert_close(y, expected)

    upstream = torch.randn_like(y)
    y.backward(upstream)
    expected.backward(upstream)
    torch.testing.assert_close(x.grad, their_x.grad)
    for name, their_name in names.items():
        torch.testing.assert_close(block.get_parameter(name).grad, theirs.get_parameter(their_name).grad)


@pytest.mark.parametrize(("ratio", "hidden"), [(4.0, 48), (0.5, 6), (0.01, 1), (1.3, 16)])
def test_the_feedforward_ratio_sets_the_hidden_width(ratio: float, hidden: int) -> None:
    assert TransformerBlock(WIDTH, HEADS, feedforward_ratio=ratio).feedforward[0].out_features == hidden


def test_a_review_reads_the_same_whatever_stands_beside_it() -> None:
    network = make_classifier(depth=2).double().eval()
    tokens = torch.randint(2, 20, (4, TOKENS))
    together = network(tokens, LENGTHS)
    alone = [network(tokens[row : row + 1, :length], LENGTHS[row : row + 1]) for row, length in enumerate(LENGTHS)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("changes", [{}, {"norm": "pre"}, {"convolution_width": 3, "positions": "rotary"}])
def test_the_classifier_gives_the_attention_weights_of_every_block(changes: dict[str, Any]) -> None:
    network = make_classifier(depth=3, **changes).eval()
    tokens = torch.randint(2, 20, (4, TOKENS))
    inputs: list[Tensor] = []
    for block in network.blocks:
        block.attention.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    network(tokens, LENGTHS)
    weights = network.attention_weights(tokens, LENGTHS)
    assert len(weights) == 3
    for block, x, found in zip(network.blocks, inputs[:3], weights, strict=True):
        assert found.shape == (4, HEADS, TOKENS, TOKENS)
        query, key, _ = block.attention.queries_keys_values(x)
        logits = (query @ key.transpose(-2, -1) / 2.0).masked_fill(~as_mask(LENGTHS, TOKENS)[:, None, None], -1e9)
        torch.testing.assert_close(found, logits.softmax(-1))


def test_a_last_norm_follows_pre_norm_blocks() -> None:
    network = make_classifier(norm="pre", depth=2)
    states = network.encode(5 * torch.randn(2, TOKENS, WIDTH) + 3, torch.tensor([TOKENS, TOKENS]))
    torch.testing.assert_close(states.mean(dim=-1), torch.zeros(2, TOKENS), atol=1e-5, rtol=0)
    torch.testing.assert_close(states.var(dim=-1, correction=0), torch.ones(2, TOKENS), atol=1e-3, rtol=0)


def test_dropout_acts_after_embedding_attention_and_feedforward() -> None:
    network = make_classifier(dropout=0.5, depth=1, embedding_size=60)
    tokens, lengths = torch.randint(2, 20, (8, TOKENS)), torch.full((8,), TOKENS)
    embedded = network.embed(tokens)
    block = network.blocks[0]
    assert isinstance(block, TransformerBlock)
    for dropped in (embedded, block.attention(embedded, lengths), block.feedforward(embedded)):
        assert 0.4 < (dropped == 0).float().mean().item() < 0.6
    network.eval()
    assert (network.embed(tokens) != 0).all()


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_positions_make_the_order_of_words_matter(positions: str) -> None:
    network = make_classifier(positions=positions).eval()
    tokens = torch.tensor([[3, 4, 5], [5, 4, 3]])
    logits = network(tokens, torch.tensor([3, 3]))
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_sinusoidal_positions_follow_the_paper() -> None:
    added = SinusoidalPositions(11, 7)(torch.zeros(1, 11, 7))[0]
    for position in (0, 1, 10):
        for feature in range(7):
            angle = torch.tensor(position / 10_000 ** ((feature - feature % 2) / 7), dtype=torch.float64)
            expected = angle.cos() if feature % 2 else angle.sin()
            scale = POSITION_DEVIATION * 2**0.5
            assert added[position, feature].item() == pytest.approx(scale * expected.item(), abs=1e-6)


@pytest.mark.parametrize("kind", [LearnedPositions, SinusoidalPositions])
def test_positions_start_at_their_own_size(kind: type[nn.Module]) -> None:
    added = kind(400, 64)(torch.zeros(1, 400, 64))
    assert added.std().item() == pytest.approx(POSITION_DEVIATION, rel=0.2)


@pytest.mark.parametrize("kind", [LearnedPositions, SinusoidalPositions])
def test_a_batch_that_is_too_wide_is_refused_with_its_remedy(kind: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="at most max_tokens=4 tokens, but this batch is 5 wide; cut long reviews"):
        kind(4, 6)(torch.zeros(1, 5, 6))


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_deep_network_learns_word_order_from_scratch(norm: str) -> None:
    """The label is which of two words comes first, which no bag of words can tell."""
    network = make_classifier(vocabulary_size=12, classes=2, norm=norm, depth=3, embedding_size=24, max_tokens=8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)

    def draw(reviews: int) -> tuple[Tensor, Tensor]:
        tokens = torch.randint(4, 12, (reviews, 8))
        places = torch.rand(reviews, 8).argsort(dim=1)[:, :2]
        tokens.scatter_(1, places, torch.tensor([2, 3]).expand(reviews, 2))
        return tokens, (places[:, 0] < places[:, 1]).long()

    lengths = torch.full((64,), 8)
    for _ in range(150):
        tokens, labels = draw(64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(tokens, lengths), labels).backward()
        optimizer.step()
    tokens, labels = draw(512)
    with torch.no_grad():
        accuracy = (network(tokens, torch.full((512,), 8)).argmax(dim=1) == labels).float().mean()
    assert accuracy > 0.95


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"norm": "none"}, "norm must be 'post' or 'pre', not 'none'; set model.norm"),
        ({"activation": "tanh"}, r"activation must be one of \['relu', 'gelu'\], not 'tanh'; set model.activation"),
        ({"positions": "none"}, r"positions must be one of \['learned', 'sinusoidal', 'rotary'\], not 'none'"),
        ({"pooling": "last"}, "pooling 'last' is for recurrent networks; choose mean, max"),
        ({"heads": 5}, "heads=5 do not divide embedding_size=12; choose a divisor"),
    ],
)
def test_a_fault_names_rule_value_and_remedy(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_classifier(**choice)
