"""Adversarial training at the embedding (``trainer.adversarial_share``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from sentiment.data.batching import Batch
from sentiment.errors import SentimentError
from sentiment.models.attribution import Divisible

GRADIENT_SCALE = 2.0**14
"""Factor of the loss whose gradient gives the direction, which no factor changes: with float16 (16-mixed), the gradient
of a review that is classified well would be lost on its way."""


def measure_adversarial_loss(network: nn.Module, batch: Batch, share: float, label_smoothing: float) -> Tensor:
    """Return the mean of the loss of a batch and of that with every review moved to where it is hardest to classify.

    A review's vectors move along the gradient of its loss, by `share` of their own length (Miyato et al. 2017,
    "Adversarial Training Methods for Semi-Supervised Text Classification"). There, words have unit variance and a
    review moves by 5, 1.5 to 2 % of its length; as a share, the network cannot escape it by longer vectors. A step
    costs two to three times as much.

    Raises:
        SentimentError: The network cannot be entered at its embedding.
    """
    if not isinstance(network, Divisible):
        raise SentimentError(
            f"trainer.adversarial_share={share} moves embedded words, and {type(network).__name__} has no methods "
            "embed, encode and classify.\n  -> leave it out, or give the network these methods"
        )

    def measure(embedded: Tensor) -> Tensor:
        logits = network.classify(network.encode(embedded, batch.mask), batch.mask)  # (B, K)
        return F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)

    embedded = network.embed(batch.tokens)  # (B, T, D)
    loss = measure(embedded)
    [gradient] = torch.autograd.grad(loss * GRADIENT_SCALE, embedded, retain_graph=True)  # 0 at padding
    real = embedded.detach().masked_fill(~batch.mask.unsqueeze(-1), 0.0)
    length = real.float().norm(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    direction = F.normalize(gradient.float().flatten(1), dim=1).nan_to_num().view_as(gradient)  # beyond float16: none
    return (loss + measure(embedded + (share * length * direction).to(embedded.dtype))) / 2
