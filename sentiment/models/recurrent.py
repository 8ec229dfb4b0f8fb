"""A text classifier of LSTM or GRU layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentiment.errors import ConfigError, Fault
from sentiment.models.embedding import ConvolutionFront, TokenEmbedding
from sentiment.models.ngram import NaiveBayesFeatures, assign_folds
from sentiment.models.padding import as_mask
from sentiment.models.pooling import build_pooling


class RecurrentLayer(nn.Module):
    """One LSTM or GRU layer in one or two directions over right-padded reviews.

    Padding never takes part: it comes after the real tokens, so a forward reading meets it too late to matter,
    and the backward reading is a second cell over the reviews with their *real* tokens reversed. This does
    without packed sequences, whose backward pass torch computes step by step: forward and backward of a
    bidirectional LSTM took 0.2 s so and 1.0 to 1.7 s packed (B=32, T=256, widths 128, one CPU core).

    Args:
        cell: ``lstm`` (Hochreiter & Schmidhuber 1997) or ``gru`` (Cho et al. 2014).
        input_size: Width of the input.
        hidden_size: Width of the state, per direction.
        bidirectional: Read in both directions.

    Raises:
        ValueError: An unknown cell.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, bidirectional: bool) -> None:
        super().__init__()
        self.forwards = _build_cell(cell, input_size, hidden_size)
        self.backwards = _build_cell(cell, input_size, hidden_size) if bidirectional else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Read (B, T, input_size) with a (B, T) mask of real tokens; return (B, T, directions * hidden_size).

        The states at padding are finite and mean nothing.
        """
        states: Tensor = self.forwards(x)[0]  # (B, T, hidden_size)
        if self.backwards is None:
            return states
        order = _reversal(mask)
        states_backwards = _reorder(self.backwards(_reorder(x, order))[0], order)
        return torch.cat([states, states_backwards], dim=-1)


class TextClassificationRNN(nn.Module):
    """Token embedding, LSTM or GRU layers, pooling over the real tokens, linear head.

    The parts can be called one by one, as in `TextClassificationTransformer`:
    ``forward = classify(encode(embed(tokens), mask), mask)``.

    Args:
        vocabulary_size: Number of token ids.
        classes: Number K of classes.
        cell: ``lstm`` or ``gru``.
        embedding_size: Width D of the token embedding.
        hidden_size: Width of the state, per direction.
        depth: Number of layers.
        bidirectional: Read the review in both directions.
        pooling: ``mean``, ``max``, ``mean_max``, ``attention``, ``mean_max_attention``, or ``last`` for the last real
            state of each direction.
        dropout: Dropout on the embedding, between layers and before the head.
        word_dropout: Share of tokens replaced by the unknown token in training.
        convolution_width: Neighbouring words that a `ConvolutionFront` sees; None: none.
        naive_bayes_ngrams: Longest n-grams of `NaiveBayesFeatures`; None: none.

    Raises:
        ValueError: A choice that does not exist.
        ConfigError: More naive-Bayes ratios than an embedding has features: how many depends on the classes.
    """

    def __init__(
        self,
        *,
        vocabulary_size: int,
        classes: int,
        cell: str = "lstm",
        embedding_size: int,
        hidden_size: int,
        depth: int = 1,
        bidirectional: bool = True,
        pooling: str = "max",
        dropout: float = 0.0,
        word_dropout: float = 0.0,
        convolution_width: int | None = None,
        naive_bayes_ngrams: int | None = None,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        width = directions * hidden_size
        self.token_embedding = TokenEmbedding(vocabulary_size, embedding_size, word_dropout)
        self.dropout = nn.Dropout(dropout)
        self.naive_bayes = None
        if naive_bayes_ngrams is not None:
            self.naive_bayes = NaiveBayesFeatures(
                vocabulary_size=vocabulary_size, classes=classes, max_n=naive_bayes_ngrams
            )
            if self.naive_bayes.width > embedding_size:
                problem = (
                    f"{self.naive_bayes.width} ratios of {classes} classes do not fit into {embedding_size} features"
                )
                remedy = "take a larger model.embedding_size, or shorter n-grams"
                raise ConfigError([Fault("model.naive_bayes_ngrams", problem, remedy)])
        self.front = None if convolution_width is None else ConvolutionFront(embedding_size, convolution_width, dropout)
        self.layers = nn.ModuleList(
            RecurrentLayer(cell, embedding_size if layer == 0 else width, hidden_size, bidirectional)
            for layer in range(depth)
        )
        self.pooling = build_pooling(pooling, width, directions)
        self.head = nn.Linear(self.pooling.output_width, classes)

    def forward(self, tokens: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Classify (B, T) token ids, given a (B, T) mask of real tokens or (B,) lengths; return (B, K) logits."""
        mask = as_mask(mask_or_lengths, tokens.shape[1])
        return self.classify(self.encode(self.embed(tokens), mask), mask)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed (B, T) token ids as (B, T, D)."""
        kept = self.token_embedding.drop_words(tokens)
        embedded: Tensor = self.dropout(self.token_embedding.look_up(kept))
        if self.naive_bayes is None:
            return embedded
        ratios = self.naive_bayes(kept, assign_folds(tokens))
        # To the last features as they are: the cell reads every feature through a matrix of its own.
        return embedded + functional.pad(ratios, (embedded.shape[-1] - ratios.shape[-1], 0))

    def encode(self, embedded: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Turn (B, T, D) embedded tokens into (B, T, directions * hidden_size) states."""
        mask = as_mask(mask_or_lengths, embedded.shape[1])
        states = embedded if self.front is None else self.front(embedded, mask)
        states = self.layers[0](states, mask)
        for layer in self.layers[1:]:
            states = layer(self.dropout(states), mask)
        return states  # type: ignore[no-any-return]

    def classify(self, states: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Pool (B, T, directions * hidden_size) states and return (B, K) logits."""
        pooled = self.pooling(states, as_mask(mask_or_lengths, states.shape[1]))
        return self.head(self.dropout(pooled))  # type: ignore[no-any-return]


def _reversal(mask: Tensor) -> Tensor:
    """Return the (B, T) indices that reverse the real tokens of every row and leave padding where it is."""
    position = torch.arange(mask.shape[1], device=mask.device)  # (T,)
    last = mask.sum(dim=1, keepdim=True) - 1  # (B, 1)
    return torch.where(mask, last - position, position)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    """Take the (B, T, D) rows of x along T in a (B, T) order."""
    return x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _build_cell(name: str, input_size: int, hidden_size: int) -> nn.LSTM | nn.GRU:
    if name == "gru":
        return nn.GRU(input_size, hidden_size, batch_first=True)
    if name != "lstm":
        raise ValueError(f"cell must be 'lstm' or 'gru', not {name!r}; set model.cell to one of them")
    lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
    # A forget gate that starts open lets gradients reach far back (Jozefowicz et al. 2015). torch adds two biases.
    forget_gate = slice(hidden_size, 2 * hidden_size)
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[forget_gate] = 1.0
        lstm.get_parameter("bias_hh_l0")[forget_gate] = 0.0
    return lstm
