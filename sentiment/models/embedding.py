"""Token ids to vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentiment.data.tokenizer import PAD_ID, UNK_ID

INITIAL_DEVIATION = 0.1
"""Standard deviation of initial embeddings. torch's 1 is so large that Adam needs hundreds of steps to move a word's
vector noticeably; from 0.1 a few dozen do."""


BIGRAM_DEVIATION = INITIAL_DEVIATION / 10
"""The same for pairs, most of which are rare: what was not learned should hardly matter."""

NO_PAIR = 0
"""Bucket of a token that ends no pair; its vector is zero and is never trained."""

HASH_FACTOR = 1_000_003
"""A prime far from powers of two: pairs of a word with its neighbours in the vocabulary fall into distant buckets.
A stored model has its pairs by it: with another one they would be other pairs, without a word."""


class TokenEmbedding(nn.Module):
    """Look up a vector for every token, with word dropout in training, and add one for the pair that it ends.

    Word dropout (Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods"; here by replacing a
    token, as in Bowman et al. 2016, so that positions stay) keeps a classifier from leaning on a few telling
    words. It also trains the unknown token's vector, which training texts alone hardly ever meet. The padding
    token's vector is zero and is never trained.

    Args:
        vocabulary_size: Number of token ids, padding and unknown included.
        embedding_size: Width D of a vector.
        word_dropout: Share of real tokens replaced by the unknown token, in training only.
        bigram_buckets: Buckets of a `BigramEmbedding` that is added; None: words alone.
        bigram_size: Width of its vectors; None: D.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int,
        word_dropout: float = 0.0,
        bigram_buckets: int | None = None,
        bigram_size: int | None = None,
    ) -> None:
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
            self.table.weight[PAD_ID].zero_()
        self.bigrams = None
        if bigram_buckets is not None:
            self.bigrams = BigramEmbedding(bigram_buckets, embedding_size, bigram_size or embedding_size)

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
        vectors: Tensor = self.table(tokens)  # (B, T, D)
        return vectors if self.bigrams is None else vectors + self.bigrams(tokens)


class BigramEmbedding(nn.Module):
    """Look up a vector for every pair of neighbouring tokens, hashed into buckets (Joulin et al. 2017, fastText).

    "not good" has a vector of its own, which a linear classifier needs and which spares a network from learning it out
    of two. The pair stands at its second token, so that padding on the right is never part of one. Vectors start small;
    narrow ones, mapped to the words' width by a matrix (Lan et al. 2020, section 3.1), keep a step of the optimizer
    over hundreds of thousands of buckets cheap.

    Args:
        buckets: Number of buckets; pairs that fall into the same one share a vector.
        embedding_size: Width D of the words' vectors.
        bigram_size: Width of the vectors in the buckets.
    """

    def __init__(self, buckets: int, embedding_size: int, bigram_size: int) -> None:
        super().__init__()
        self.buckets = buckets
        self.table = nn.Embedding(1 + buckets, bigram_size, padding_idx=NO_PAIR)
        nn.init.normal_(self.table.weight, std=BIGRAM_DEVIATION)
        with torch.no_grad():
            self.table.weight[NO_PAIR].zero_()
        self.map = (
            nn.Identity() if bigram_size == embedding_size else nn.Linear(bigram_size, embedding_size, bias=False)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed the pairs that end at each of (B, T) token ids as (B, T, D) vectors: 0 at the first and at padding."""
        return self.map(self.table(self.hash(tokens)))  # type: ignore[no-any-return]

    def hash(self, tokens: Tensor) -> Tensor:
        """Return the (B, T) buckets of the pairs that end at each of (B, T) token ids: `NO_PAIR` or 1..buckets."""
        before = functional.pad(tokens[:, :-1], (1, 0), value=PAD_ID)  # (B, T)
        bucket = 1 + (before * HASH_FACTOR + tokens) % self.buckets
        return bucket.masked_fill((before == PAD_ID) | (tokens == PAD_ID), NO_PAIR)
