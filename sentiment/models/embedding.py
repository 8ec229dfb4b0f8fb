"""Token ids to vectors, and a convolution by which each vector takes in its neighbours."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sentiment.data.tokenizer import PAD_ID, UNK_ID

INITIAL_DEVIATION = 0.1
"""Standard deviation of initial embeddings. torch's 1 is so large that Adam needs hundreds of steps to move a word's
vector noticeably; from 0.1 a few dozen do."""


class TokenEmbedding(nn.Module):
    """Look up a vector for every token, with word dropout in training.

    Word dropout (Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods"; here by replacing a
    token, as in Bowman et al. 2016, so that positions stay) keeps a classifier from leaning on a few telling
    words. It also trains the unknown token's vector, which training texts alone hardly ever meet: that vector starts at
    zero, so that words which were never seen do not say what the seed drew. The padding token's vector stays zero.

    Args:
        vocabulary_size: Number of token ids, padding and unknown included.
        embedding_size: Width D of a vector.
        word_dropout: Share of real tokens replaced by the unknown token, in training only.
    """

    def __init__(self, vocabulary_size: int, embedding_size: int, word_dropout: float = 0.0) -> None:
        super().__init__()
        if vocabulary_size <= UNK_ID:
            raise ValueError(
                f"vocabulary_size must be at least {UNK_ID + 1}, for padding and unknown, not {vocabulary_size}; "
                "take it from the tokenizer"
            )
        if not 0 <= word_dropout < 1:
            raise ValueError(f"word_dropout must lie in [0, 1), not {word_dropout}; 0.1 is a usual value")
        self.word_dropout = word_dropout
        self.table = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PAD_ID)
        nn.init.normal_(self.table.weight, std=INITIAL_DEVIATION)
        with torch.no_grad():
            self.table.weight[[PAD_ID, UNK_ID]] = 0.0

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed (B, T) token ids as (B, T, D) vectors; torch's global generator draws the dropped words."""
        return self.look_up(self.drop_words(tokens))

    def drop_words(self, tokens: Tensor) -> Tensor:
        """Return (B, T) token ids, in training with some of them replaced by the unknown token."""
        if not self.training or self.word_dropout == 0:
            return tokens
        drawn = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout  # (B, T)
        return tokens.masked_fill(drawn & (tokens != PAD_ID), UNK_ID)

    def look_up(self, tokens: Tensor) -> Tensor:
        """Embed (B, T) token ids, all of them."""
        return self.table(tokens)  # type: ignore[no-any-return]


class ConvolutionFront(nn.Module):
    """Add to every token's vector what a filter bank sees around it: ``x + dropout(relu(convolution(x)))``.

    Short phrases carry much of a review's verdict (Kim 2014; Johnson & Zhang 2015), and neither attention nor a
    recurrent cell starts with a notion of a neighbour. Padding counts as zero, as beyond both ends of the review.

    Args:
        embedding_size: Width D of input and output.
        convolution_width: Neighbouring tokens that a filter sees, an odd number.
        dropout: Share of elements of what is added that are dropped, in training.

    Raises:
        ValueError: An even width.
    """

    def __init__(self, embedding_size: int, convolution_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        if convolution_width % 2 == 0:
            raise ValueError(
                f"convolution_width must be odd, so that a filter is centred on its token, not {convolution_width}; "
                "set model.convolution_width to 3 or 5"
            )
        self.filters = nn.Conv1d(embedding_size, embedding_size, convolution_width, padding=convolution_width // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, D) vectors to (B, T, D) vectors, given a (B, T) mask of real tokens."""
        real = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        seen = self.filters(real.transpose(1, 2)).transpose(1, 2).relu()  # (B, T, D)
        return x + self.dropout(seen)  # type: ignore[no-any-return]
