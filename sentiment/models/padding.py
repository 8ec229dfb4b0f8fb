"""Which tokens of a padded batch are real.

Shape letters in this package: B batch, T tokens, D model width, H heads, W head width, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def as_mask(mask_or_lengths: Tensor, tokens: int) -> Tensor:
    """Return the mask of real tokens, from a mask or from lengths.

    Reviews are padded on the right, so every row of the mask is a run of True followed by a run of False.
    The content is checked on the CPU only: on an accelerator, looking at it would make the host wait.

    Args:
        mask_or_lengths: Either (B, T) bool, True for real tokens, or (B,) integers, the number of real tokens.
        tokens: Width T of the padded batch.

    Returns:
        (B, T) bool, True for real tokens.

    Raises:
        ValueError: Neither a mask nor lengths, a width other than T, a review without a real token, or a real
            token after padding.
    """
    if mask_or_lengths.dtype == torch.bool:
        return _check_mask(mask_or_lengths, tokens)
    return _mask_of_lengths(mask_or_lengths, tokens)


def _check_mask(mask: Tensor, tokens: int) -> Tensor:
    if mask.ndim != 2 or mask.shape[1] != tokens:
        raise ValueError(
            f"a mask must have the shape (B, T) with T={tokens} as in the tokens, but it has {tuple(mask.shape)}; "
            "build it from the same padded batch"
        )
    if mask.device.type != "cpu":
        return mask
    if not mask[:, 0].all():
        row = int((~mask[:, 0]).nonzero()[0])
        raise ValueError(
            f"every review must begin with a real token, but row {row} of the mask begins with padding; "
            "pad on the right, and give an empty review one unknown token"
        )
    if (mask[:, 1:] & ~mask[:, :-1]).any():
        row = int((mask[:, 1:] & ~mask[:, :-1]).any(dim=1).nonzero()[0])
        raise ValueError(f"real tokens must come before all padding, but not so in row {row}; pad on the right")
    return mask


def _mask_of_lengths(lengths: Tensor, tokens: int) -> Tensor:
    if lengths.ndim != 1 or lengths.is_floating_point() or lengths.is_complex():
        raise ValueError(
            f"give a (B, T) bool mask or (B,) integer lengths, not a {tuple(lengths.shape)} tensor of {lengths.dtype}; "
            "convert a 0/1 mask with .bool()"
        )
    if lengths.device.type == "cpu" and lengths.numel() and not 1 <= int(lengths.min()) <= int(lengths.max()) <= tokens:
        raise ValueError(
            f"lengths must lie in 1..T={tokens}, but they span {int(lengths.min())}..{int(lengths.max())}; "
            "give an empty review one unknown token, and pad the batch to its longest review"
        )
    return torch.arange(tokens, device=lengths.device) < lengths.unsqueeze(1)  # (B, T)
