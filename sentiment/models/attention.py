"""Multi-head self-attention, in the exercise's form and in the usual one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentiment.models.padding import as_mask

WITHOUT_FLOAT64 = ("mps",)
"""Devices that know no numbers of double precision: an Apple GPU."""


class SelfAttention(nn.Module):
    r"""Every token becomes a weighted mean of all tokens' values: ``Y = softmax(Q K^T / sqrt(W)) V``.

    ``Q = X W_q``, ``K = X W_k``, ``V = X W_v`` for input X; several heads attend side by side, their outputs are
    concatenated and projected back to the model width D. The two forms differ in the width W of a head:

    * ``narrow``: W = D / H, the heads share the width out (Vaswani et al. 2017, "Attention Is All You Need").
    * ``wide``: W = D, so that W_q, W_k and W_v lie in R^{D x HD} (the exercise, question 1.4).

    The three maps have no bias, as in the exercise; the projection back has one. Dropout acts on the output and
    not on the weights: with dropout on the weights, torch leaves its fused kernel for one that holds all B H T T
    weights in memory and took four times as long on a CPU (B=32, T=256, H=4, W=32).

    Args:
        embedding_size: Width D of input and output.
        heads: Number H of heads.
        head_form: ``narrow`` or ``wide``.
        dropout: Share of output elements dropped in training.
        rotary: Turn queries and keys by their position, see `rotate`.

    Raises:
        ValueError: An unknown form, or narrow heads that do not divide the width.
    """

    def __init__(
        self, embedding_size: int, heads: int, head_form: str = "narrow", dropout: float = 0.0, rotary: bool = False
    ) -> None:
        super().__init__()
        self.heads = heads
        self.rotary = rotary
        self.head_width = _head_width(embedding_size, heads, head_form)
        inner = heads * self.head_width
        # One product with [W_q W_k W_v] side by side is faster than three, and gives the same numbers.
        self.query_key_value = nn.Linear(embedding_size, 3 * inner, bias=False)
        self.output = nn.Linear(inner, embedding_size)
        self.dropout = nn.Dropout(dropout)
        # For input of unit variance, queries, keys and values then have unit variance, and so have the logits.
        nn.init.normal_(self.query_key_value.weight, std=embedding_size**-0.5)
        nn.init.normal_(self.output.weight, std=inner**-0.5)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Attend among the real tokens of every review: (B, T, D) input and output, a (B, T) mask or (B,) lengths.

        The output at padding is finite and means nothing.
        """
        mask = as_mask(mask_or_lengths, x.shape[1])
        query, key, value = self.queries_keys_values(x)  # each (B, H, T, W)
        # A (B, 1, 1, T) boolean mask of keys keeps the fused kernel and broadcasts without a copy.
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        return self.dropout(self.output(heads.transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (B, T, D) input to queries, keys and values, each (B, H, T, W)."""
        mapped: Tensor = self.query_key_value(x)  # (B, T, 3 H W)
        split = mapped.view(*x.shape[:2], 3, self.heads, self.head_width)  # (B, T, 3, H, W)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        return (rotate(query), rotate(key), value) if self.rotary else (query, key, value)


def rotate(x: Tensor) -> Tensor:
    """Turn every pair of features of (B, H, T, W) queries or keys by an angle that grows with the position.

    The product of a query and a key then depends on how far apart they are, not on where they stand (Su et al. 2021,
    "RoFormer"). The angles are those of sinusoidal positions; an odd last feature is left as it is.
    """
    tokens, pairs = x.shape[-2], x.shape[-1] // 2
    device = torch.device("cpu") if x.device.type in WITHOUT_FLOAT64 else x.device
    frequency = 10_000.0 ** (-torch.arange(pairs, dtype=torch.float64, device=device) / max(pairs, 1))  # (W/2,)
    angle = torch.arange(tokens, dtype=torch.float64, device=device).unsqueeze(1) * frequency  # (T, W/2)
    cosine, sine = (part.to(x.dtype).to(x.device) for part in (angle.cos(), angle.sin()))
    first, second, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine, rest], dim=-1)


def attention_weights(module: SelfAttention, x: Tensor, mask_or_lengths: Tensor) -> Tensor:
    """Compute the softmax weights that `SelfAttention.forward` uses on the same arguments, for inspection.

    The fused kernel never holds them as a whole; this function does: (B, H, T, T), the weight of every key (last) for
    every query. Rows sum to 1, weights of padding are 0.
    """
    mask = as_mask(mask_or_lengths, x.shape[1])
    query, key, _ = module.queries_keys_values(x)
    logits = query @ key.transpose(-2, -1) / math.sqrt(module.head_width)  # (B, H, T, T)
    return torch.softmax(logits.masked_fill(~mask[:, None, None, :], -torch.inf), dim=-1)


def _head_width(embedding_size: int, heads: int, head_form: str) -> int:
    if head_form == "wide":
        return embedding_size
    if head_form != "narrow":
        raise ValueError(f"head_form must be 'narrow' or 'wide', not {head_form!r}; set model.head_form to one of them")
    if embedding_size % heads:
        raise ValueError(
            f"narrow heads share the width out evenly, but heads={heads} do not divide embedding_size={embedding_size};"
            " choose a divisor, or head_form='wide', where every head is embedding_size wide"
        )
    return embedding_size // heads
