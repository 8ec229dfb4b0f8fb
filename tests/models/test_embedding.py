from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sentiment.data.tokenizer import PAD_ID, UNK_ID
from sentiment.models.embedding import INITIAL_DEVIATION, ConvolutionFront, TokenEmbedding
from sentiment.models.padding import as_mask


def test_the_padding_vector_is_zero_and_gets_no_gradient() -> None:
    embedding = TokenEmbedding(7, 3)
    tokens = torch.tensor([[2, 3, PAD_ID], [4, PAD_ID, PAD_ID]])
    vectors = embedding(tokens)
    assert vectors.shape == (2, 3, 3)
    assert vectors[tokens == PAD_ID].abs().max() == 0
    vectors.square().sum().backward()
    gradient = embedding.table.weight.grad
    assert gradient is not None
    assert gradient[PAD_ID].abs().max() == 0
    assert (gradient[2:5].abs().sum(dim=1) > 0).all()


def test_the_unknown_vector_starts_at_zero_and_no_other_number_moves() -> None:
    """Untrained, it would otherwise tell unseen words, and every share of a word, by what the seed drew for it."""
    torch.manual_seed(3)
    ours, after = TokenEmbedding(7, 3).table.weight, torch.rand(3)
    torch.manual_seed(3)
    drawn = nn.init.normal_(nn.Embedding(7, 3).weight, std=INITIAL_DEVIATION)
    assert ours[[PAD_ID, UNK_ID]].abs().max() == 0
    assert torch.equal(ours[UNK_ID + 1 :], drawn[UNK_ID + 1 :])
    assert torch.equal(after, torch.rand(3))


@given(st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_word_dropout_replaces_real_tokens_by_unknown_and_leaves_padding(word_dropout: float, seed: int) -> None:
    torch.manual_seed(seed)
    embedding = TokenEmbedding(50, 4, word_dropout)
    tokens = torch.randint(UNK_ID + 1, 50, (8, 30))
    tokens[:, 20:] = PAD_ID
    vectors = embedding(tokens)
    kept = (vectors == embedding.table(tokens)).all(dim=-1)
    dropped = (vectors == embedding.table.weight[UNK_ID]).all(dim=-1)
    assert (kept | dropped).all()
    assert kept[:, 20:].all()


def test_word_dropout_drops_the_asked_share() -> None:
    embedding = TokenEmbedding(50, 1, 0.3)
    tokens = torch.full((200, 200), 7)
    dropped = (embedding(tokens) == embedding.table.weight[UNK_ID]).float().mean()
    assert dropped == pytest.approx(0.3, abs=0.01)  # standard error 0.0023


def test_word_dropout_is_off_in_evaluation_and_follows_the_seed_in_training() -> None:
    embedding = TokenEmbedding(50, 4, 0.5)
    tokens = torch.randint(2, 50, (4, 9))
    torch.manual_seed(1)
    first = embedding(tokens)
    torch.manual_seed(1)
    assert torch.equal(embedding(tokens), first)
    assert torch.equal(embedding.eval()(tokens), embedding.table(tokens))
    assert not torch.equal(first, embedding.table(tokens))


def test_a_fault_names_rule_value_and_remedy() -> None:
    with pytest.raises(ValueError, match="at least 2, for padding and unknown, not 1; take it from the tokenizer"):
        TokenEmbedding(1, 4)
    with pytest.raises(ValueError, match=r"word_dropout must lie in \[0, 1\), not 1.0; 0.1 is a usual value"):
        TokenEmbedding(9, 4, 1.0)


def test_every_token_sees_its_real_neighbours_and_keeps_itself() -> None:
    front = ConvolutionFront(4, 3).double()
    x, lengths = torch.randn(2, 5, 4, dtype=torch.float64), [5, 2]
    y = front(x, as_mask(torch.tensor(lengths), 5))
    for row, length in enumerate(lengths):
        for place in range(length):
            seen = front.filters.bias.clone()
            for offset in (-1, 0, 1):
                if 0 <= place + offset < length:
                    seen += front.filters.weight[:, :, 1 + offset] @ x[row, place + offset]
            torch.testing.assert_close(y[row, place], x[row, place] + seen.relu())


def test_an_even_width_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"must be odd.*not 4; set model.convolution_width to 3 or 5"):
        ConvolutionFront(4, 4)
