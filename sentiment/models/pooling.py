"""Pooling: from a state per token to one vector per review. Padding never takes part."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooling(nn.Module):
    """From (B, T, D) states and a (B, T) mask of real tokens to (B, `output_width`) vectors."""

    def __init__(self, output_width: int) -> None:
        super().__init__()
        self.output_width = output_width


class MeanPooling(Pooling):
    """The mean of the real tokens' states."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, T, D) states over a (B, T) mask of real tokens to (B, D)."""
        total = states.masked_fill(~mask.unsqueeze(-1), 0.0).sum(dim=1)  # (B, D)
        return total / mask.sum(dim=1, keepdim=True)


class MaxPooling(Pooling):
    """The largest value of every feature among the real tokens (Collobert et al. 2011)."""

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, T, D) states over a (B, T) mask of real tokens to (B, D)."""
        return states.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(dim=1)


class MeanMaxPooling(Pooling):
    """Mean and maximum side by side (ULMFiT's concat pooling without the last state, Howard & Ruder 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__(2 * width)
        self.mean, self.max = MeanPooling(width), MaxPooling(width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, T, D) states over a (B, T) mask of real tokens to (B, 2D)."""
        return torch.cat([self.mean(states, mask), self.max(states, mask)], dim=-1)


class AttentionPooling(Pooling):
    """A weighted mean whose weights are learned: softmax of c . tanh(W s + b) (Yang et al. 2016).

    The query c starts at zero, so that training begins with the plain mean.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.query.weight)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, T, D) states over a (B, T) mask of real tokens to (B, D)."""
        return (self.weights(states, mask).unsqueeze(-1) * states).sum(dim=1)

    def weights(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the (B, T) weights of the tokens: they sum to 1 and are 0 at padding."""
        scores: Tensor = self.query(torch.tanh(self.key(states))).squeeze(-1)  # (B, T)
        return scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)


class MeanMaxAttentionPooling(Pooling):
    """Mean, maximum and learned mean side by side: what all words say, what one says, and what counts."""

    def __init__(self, width: int) -> None:
        super().__init__(3 * width)
        self.mean_max, self.attention = MeanMaxPooling(width), AttentionPooling(width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, T, D) states over a (B, T) mask of real tokens to (B, 3D)."""
        return torch.cat([self.mean_max(states, mask), self.attention(states, mask)], dim=-1)


class LastPooling(Pooling):
    """The last real state of each direction of a recurrent network.

    Reading forwards, that is the state at the last real token; reading backwards, the one at the first token.

    Args:
        width: Width D of the states, all directions together.
        directions: 1, or 2 where the second half of every state was read backwards.
    """

    def __init__(self, width: int, directions: int) -> None:
        super().__init__(width)
        if directions not in (1, 2) or width % directions:
            raise ValueError(
                f"last pooling needs 1 or 2 directions that share the width evenly, not directions={directions} of "
                f"width={width}; give the width of all directions together"
            )
        self.forward_width = width // directions

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pool (B, T, D) states over a (B, T) mask of real tokens to (B, D)."""
        rows = torch.arange(len(states), device=states.device)  # (B,)
        forwards = states[rows, mask.sum(dim=1) - 1, : self.forward_width]  # (B, D / directions)
        return torch.cat([forwards, states[:, 0, self.forward_width :]], dim=-1)


def build_pooling(name: str, width: int, directions: int = 1) -> Pooling:
    """Build a pooling of states of a width D by its name in the configuration; only ``last`` asks for the directions.

    Raises:
        ValueError: An unknown name.
    """
    if name == "last":
        return LastPooling(width, directions)
    kinds: dict[str, type[Pooling]] = {
        "mean": MeanPooling, "max": MaxPooling, "mean_max": MeanMaxPooling, "attention": AttentionPooling,
        "mean_max_attention": MeanMaxAttentionPooling,
    }  # fmt: skip
    if name not in kinds:
        raise ValueError(f"pooling must be one of {[*kinds, 'last']}, not {name!r}; set model.pooling to one of them")
    return kinds[name](width)
