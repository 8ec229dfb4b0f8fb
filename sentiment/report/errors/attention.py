"""Attention made small enough to look at: how much each token of a review receives, layer by layer and head by head.

Attention says where a layer looks, not why a decision falls (Jain & Wallace 2019): the page shows it beside the
attributions, which do answer for the decision.

Shapes: L layers, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LARGEST_MAP = 64
"""Most tokens T of a review whose T x T map is still readable."""

MAP_NUMBERS = 60_000
"""Most numbers of all maps of a review: a network of many heads would make the page heavy."""


@dataclass(frozen=True)
class View:
    """One way to look at a review's attention."""

    name: str  # ``all layers (rollout)``, ``layer 1, all heads``, ``layer 1, head 2``
    received: npt.NDArray[np.float64]  # (T,) share of all attention that each token receives; they add up to one
    # (T, T) attention from each token (row) to each (column); None where it is too long.
    weights: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class AttentionView:
    """The attention of a Transformer over one review."""

    tokens: tuple[str, ...]  # T tokens, as the vocabulary spells them
    views: tuple[View, ...]  # the rollout first, then each layer's mean over heads with its heads behind it


def view_attention(tokens: Sequence[str], weights: npt.NDArray[np.floating]) -> AttentionView:
    """Sum (L, H, T, T) attention weights, of which each row adds up to one, by the T tokens."""
    layers, heads, length, _ = weights.shape
    assert length == len(tokens), f"{len(tokens)} tokens, but attention over {length}"
    shows_maps = length <= LARGEST_MAP and length**2 * (layers * (heads + 1) + 1) <= MAP_NUMBERS
    views = [_view("all layers (rollout)", roll_out(weights), shows_maps)]
    for layer in range(layers):
        views.append(_view(f"layer {layer + 1}, all heads", weights[layer].mean(axis=0), shows_maps))
        if heads > 1:
            names = [f"layer {layer + 1}, head {head + 1}" for head in range(heads)]
            views += [_view(name, weights[layer, head], shows_maps) for head, name in enumerate(names)]
    return AttentionView(tuple(tokens), tuple(views))


def roll_out(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Follow attention through all layers to the tokens of the input.

    Attention rollout (Abnar & Zuidema 2020): a layer passes on half of what attention mixes (the mean over its heads)
    and half of what the residual connection carries past it; the layers' matrices are multiplied.

    Args:
        weights: (L, H, T, T) attention weights.

    Returns:
        (T, T): how much of each token's last state (row) comes from each token of the input (column).
    """
    identity = np.eye(weights.shape[-1])
    rolled = identity
    for layer in weights.mean(axis=1, dtype=np.float64):  # (T, T)
        rolled = (0.5 * layer + 0.5 * identity) @ rolled
    return rolled


def _view(name: str, weights: npt.NDArray[np.floating], shows_map: bool) -> View:
    received = weights.mean(axis=0, dtype=np.float64)  # over the tokens that attend
    return View(name, received, weights.astype(np.float64) if shows_map else None)
