"""Networks of others, to compare with: what people write first, and torch's own modules. All pad, and take the mean."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def mean_of_real(states: Tensor, mask: Tensor) -> Tensor:
    """Average (B, T, D) states over a (B, T) mask to (B, D)."""
    return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


class PlainAttention(nn.Module):
    """Self-attention as a textbook has it: three maps, heads by reshaping, a softmax that is written out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Attend within (B, T, D)."""
        reviews, tokens, width = x.shape
        size = width // self.heads

        def split(mapped: Tensor) -> Tensor:  # (B H, T, W)
            by_head = mapped.view(reviews, tokens, self.heads, size).transpose(1, 2).contiguous()
            return by_head.view(reviews * self.heads, tokens, size)

        query, key, value = split(self.queries(x)), split(self.keys(x)), split(self.values(x))
        weights = torch.bmm(query, key.transpose(1, 2)) / math.sqrt(size)  # (B H, T, T)
        hidden = mask.logical_not()[:, None, None, :].expand(reviews, self.heads, tokens, tokens)
        weights = weights.masked_fill(hidden.reshape(reviews * self.heads, tokens, tokens), -torch.inf)
        mixed = torch.bmm(functional.softmax(weights, dim=2), value).view(reviews, self.heads, tokens, size)
        joined = mixed.transpose(1, 2).contiguous().view(reviews, tokens, width)
        return self.output(joined)  # type: ignore[no-any-return]


class PlainBlock(nn.Module):
    """The exercise's block: attention and a feed-forward part of `ratio` D, normalised after each."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.attention = PlainAttention(width, heads)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feedforward = nn.Sequential(nn.Linear(width, ratio * width), nn.ReLU(), nn.Linear(ratio * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, D)."""
        x = self.first(x + self.attention(x, mask))
        return self.second(x + self.feedforward(x))  # type: ignore[no-any-return]


class PeerTransformer(nn.Module):
    """Word and position embedding, blocks, mean, linear head; the blocks are plain ones or `nn.TransformerEncoder`."""

    def __init__(
        self, kind: str, vocabulary_size: int, width: int, heads: int, depth: int, ratio: int, max_tokens: int
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(max_tokens, width)
        self.plain = nn.ModuleList(PlainBlock(width, heads, ratio) for _ in range(depth)) if kind == "plain" else None
        layer = nn.TransformerEncoderLayer(width, heads, ratio * width, dropout=0.0, batch_first=True)
        self.encoder = None if kind == "plain" else nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        x = self.words(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        if self.plain is not None:
            for block in self.plain:
                x = block(x, mask)
        else:
            assert self.encoder is not None
            x = self.encoder(x, src_key_padding_mask=~mask)
        return self.head(mean_of_real(x, mask))  # type: ignore[no-any-return]


class PeerLSTM(nn.Module):
    """Word embedding, a bidirectional `nn.LSTM`, mean, linear head; padded batches, or packed ones."""

    def __init__(self, packed: bool, vocabulary_size: int, width: int) -> None:
        super().__init__()
        self.packed = packed
        self.words = nn.Embedding(vocabulary_size, width)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 2)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        x = self.words(tokens)
        if self.packed:
            x = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.lstm(x)[0], batch_first=True)
        else:
            states, _ = self.lstm(x)
        return self.head(mean_of_real(states, mask))  # type: ignore[no-any-return]
