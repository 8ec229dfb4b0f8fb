"""The Transformer of the exercise: a block, and a text classifier of several blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sentiment.models.attention import SelfAttention, attention_weights
from sentiment.models.embedding import INITIAL_DEVIATION, ConvolutionFront, TokenEmbedding
from sentiment.models.ngram import NaiveBayesFeatures, assign_folds
from sentiment.models.padding import as_mask
from sentiment.models.pooling import build_pooling

POSITION_DEVIATION = 2 * INITIAL_DEVIATION
"""Standard deviation of positions. Beside words of deviation 0.1, sines of their full size (0.7) drowned the words:
IMDB was at chance after an epoch. Twice the words' deviation lets both order and words be learned."""


class TransformerBlock(nn.Module):
    """Self-attention and a feed-forward part, each with a residual connection and a layer norm.

    ``post`` is the exercise's figure (Vaswani et al. 2017): ``norm(x + part(x))``. ``pre`` is
    ``x + part(norm(x))`` (Xiong et al. 2020), which leaves the residual path free of norms.

    Args:
        embedding_size: Width D of input and output.
        heads: Attention heads H.
        head_form: ``narrow`` or ``wide``, see `SelfAttention`.
        feedforward_ratio: Hidden width of the feed-forward part, in units of D.
        norm: ``post`` or ``pre``.
        activation: ``relu`` or ``gelu``.
        dropout: Share of elements dropped after attention and after the feed-forward part, in training.
        rotary: Attend by distance, see `sentiment.models.attention.rotate`.

    Raises:
        ValueError: An unknown norm, activation or form of heads, or heads that do not fit.
    """

    def __init__(
        self,
        embedding_size: int,
        heads: int,
        head_form: str = "narrow",
        feedforward_ratio: float = 4.0,
        norm: str = "post",
        activation: str = "relu",
        dropout: float = 0.0,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        if norm not in ("post", "pre"):
            raise ValueError(f"norm must be 'post' or 'pre', not {norm!r}; set model.norm to one of them")
        self.norm = norm
        hidden = max(1, round(feedforward_ratio * embedding_size))
        self.attention = SelfAttention(embedding_size, heads, head_form, dropout, rotary)
        self.attention_norm = nn.LayerNorm(embedding_size)
        self.feedforward = nn.Sequential(
            nn.Linear(embedding_size, hidden),
            _build_activation(activation),
            nn.Linear(hidden, embedding_size),
            nn.Dropout(dropout),
        )
        self.feedforward_norm = nn.LayerNorm(embedding_size)
        for layer in self.feedforward:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Map (B, T, D) states to (B, T, D) states, given a (B, T) mask of real tokens or (B,) lengths."""
        if self.norm == "post":
            x = self.attention_norm(x + self.attention(x, mask_or_lengths))  # (B, T, D)
            return self.feedforward_norm(x + self.feedforward(x))  # type: ignore[no-any-return]
        x = x + self.attention(self.attention_norm(x), mask_or_lengths)  # (B, T, D)
        return x + self.feedforward(self.feedforward_norm(x))  # type: ignore[no-any-return]

    def attention_weights(self, x: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Return the (B, H, T, T) attention weights that `forward` uses on (B, T, D) states."""
        attended = x if self.norm == "post" else self.attention_norm(x)
        return attention_weights(self.attention, attended, mask_or_lengths)


class TextClassificationTransformer(nn.Module):
    """Token and position embedding, Transformer blocks, pooling over the real tokens, linear head.

    The parts can be called one by one, e.g. to attribute a decision to words:
    ``forward = classify(encode(embed(tokens), mask), mask)``.

    Args:
        vocabulary_size: Number of token ids.
        classes: Number K of classes.
        max_tokens: Most tokens T that a review may have.
        embedding_size: Width D.
        heads: Attention heads H of every block.
        head_form: ``narrow`` or ``wide``, see `SelfAttention`.
        depth: Number of blocks.
        feedforward_ratio: Hidden width of the feed-forward part, in units of D.
        norm: ``post`` or ``pre``; with ``pre`` a last norm follows the blocks.
        activation: ``relu`` or ``gelu``.
        positions: ``learned`` or ``sinusoidal`` (Vaswani et al. 2017), added to the words; or ``rotary`` (Su et al.
            2021), by which every block attends by distance.
        pooling: ``mean``, ``max``, ``mean_max``, ``attention`` or ``mean_max_attention``.
        dropout: Dropout after embedding, attention and feed-forward.
        word_dropout: Share of tokens replaced by the unknown token in training.
        convolution_width: Neighbouring words that a `ConvolutionFront` sees; None: none.
        naive_bayes_ngrams: Longest n-grams of `NaiveBayesFeatures`; None: none.

    Raises:
        ValueError: A choice that does not exist, heads that do not fit, or no `max_tokens`.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        classes: int,
        max_tokens: int | None,
        embedding_size: int,
        heads: int,
        head_form: str = "narrow",
        depth: int = 2,
        feedforward_ratio: float = 4.0,
        norm: str = "post",
        activation: str = "relu",
        positions: str = "learned",
        pooling: str = "mean",
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        convolution_width: int | None = None,
        naive_bayes_ngrams: int | None = None,
    ) -> None:
        super().__init__()
        if max_tokens is None:
            raise ValueError("a Transformer needs max_tokens: its position embedding has that many entries; give it")
        if pooling == "last":
            raise ValueError(
                "pooling 'last' is for recurrent networks; choose mean, max, mean_max, attention or mean_max_attention"
            )
        self.token_embedding = TokenEmbedding(vocabulary_size, embedding_size, word_dropout)
        self.positions = _build_positions(positions, max_tokens, embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.naive_bayes = None
        if naive_bayes_ngrams is not None:
            self.naive_bayes = NaiveBayesFeatures(
                vocabulary_size=vocabulary_size, classes=classes, max_n=naive_bayes_ngrams, map_to=embedding_size
            )
        self.front = None if convolution_width is None else ConvolutionFront(embedding_size, convolution_width, dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                embedding_size, heads, head_form, feedforward_ratio, norm, activation, dropout, positions == "rotary"
            )
            for _ in range(depth)
        )
        self.final_norm = nn.LayerNorm(embedding_size) if norm == "pre" else nn.Identity()
        self.pooling = build_pooling(pooling, embedding_size)
        self.head = nn.Linear(self.pooling.output_width, classes)

    def forward(self, tokens: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Classify (B, T) token ids, given a (B, T) mask of real tokens or (B,) lengths; return (B, K) logits."""
        mask = as_mask(mask_or_lengths, tokens.shape[1])
        return self.classify(self.encode(self.embed(tokens), mask), mask)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed (B, T) token ids, with their positions, as (B, T, D)."""
        kept = self.token_embedding.drop_words(tokens)
        embedded: Tensor = self.dropout(self.positions(self.token_embedding.look_up(kept)))
        return embedded if self.naive_bayes is None else embedded + self.naive_bayes(kept, assign_folds(tokens))

    def encode(self, embedded: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Turn (B, T, D) embedded tokens into (B, T, D) states."""
        states = self._look_around(embedded, mask_or_lengths)
        for block in self.blocks:
            states = block(states, mask_or_lengths)  # (B, T, D)
        return self.final_norm(states)  # type: ignore[no-any-return]

    def classify(self, states: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Pool (B, T, D) states and return (B, K) logits."""
        return self.head(self.pooling(states, as_mask(mask_or_lengths, states.shape[1])))  # type: ignore[no-any-return]

    def attention_weights(self, tokens: Tensor, mask_or_lengths: Tensor) -> list[Tensor]:
        """Return the attention weights of every block, each (B, H, T, T), for (B, T) token ids."""
        states, weights = self._look_around(self.embed(tokens), mask_or_lengths), []
        for block in self.blocks:
            assert isinstance(block, TransformerBlock)
            weights.append(block.attention_weights(states, mask_or_lengths))
            states = block(states, mask_or_lengths)
        return weights

    def _look_around(self, embedded: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Pass (B, T, D) embedded tokens through the front, if there is one: the first block's input."""
        if self.front is None:
            return embedded
        return self.front(embedded, as_mask(mask_or_lengths, embedded.shape[1]))  # type: ignore[no-any-return]


class LearnedPositions(nn.Module):
    """Add a trained vector for every position."""

    def __init__(self, max_tokens: int, embedding_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(max_tokens, embedding_size)  # not a bare parameter: optimizers spare embeddings
        nn.init.normal_(self.table.weight, std=POSITION_DEVIATION)

    def forward(self, x: Tensor) -> Tensor:
        """Add positions to (B, T, D) vectors."""
        return x + _first_rows(self.table.weight, x.shape[1])  # (B, T, D)


class SinusoidalPositions(nn.Module):
    """Add sines and cosines of geometrically falling frequencies (Vaswani et al. 2017, section 3.5)."""

    table: Tensor

    def __init__(self, max_tokens: int, embedding_size: int) -> None:
        super().__init__()
        pairs = math.ceil(embedding_size / 2)
        frequency = 10_000.0 ** (-2 * torch.arange(pairs, dtype=torch.float64) / embedding_size)  # (D/2,)
        angle = torch.arange(max_tokens, dtype=torch.float64).unsqueeze(1) * frequency  # (max_tokens, D/2)
        table = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :embedding_size]
        table = table * (math.sqrt(2) * POSITION_DEVIATION)  # a sine's own standard deviation is 1 / sqrt(2)
        # Not in the state dict: it follows from the settings.
        self.register_buffer("table", table.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Add positions to (B, T, D) vectors."""
        return x + _first_rows(self.table, x.shape[1])  # (B, T, D)


def _first_rows(table: Tensor, tokens: int) -> Tensor:
    if tokens > len(table):
        raise ValueError(
            f"a review may have at most max_tokens={len(table)} tokens, but this batch is {tokens} wide; "
            "cut long reviews, or build the network with a larger max_tokens"
        )
    return table[:tokens]  # (T, D)


def _build_positions(name: str, max_tokens: int, embedding_size: int) -> nn.Module:
    kinds = {"learned": LearnedPositions, "sinusoidal": SinusoidalPositions}
    if name == "rotary":
        return nn.Identity()
    if name not in kinds:
        raise ValueError(
            f"positions must be one of {[*kinds, 'rotary']}, not {name!r}; set model.positions to one of them"
        )
    return kinds[name](max_tokens, embedding_size)


def _build_activation(name: str) -> nn.Module:
    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}
    if name not in kinds:
        raise ValueError(f"activation must be one of {list(kinds)}, not {name!r}; set model.activation to one of them")
    return kinds[name]()
