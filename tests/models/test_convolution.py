from __future__ import annotations

import pytest
import torch

from sentiment.models.convolution import ConvolutionFront
from sentiment.models.padding import as_mask


def test_every_token_sees_its_real_neighbours_and_keeps_itself() -> None:
    front = ConvolutionFront(4, 3).double()
    x, lengths = torch.randn(2, 5, 4, dtype=torch.float64), [5, 2]
    y = front(x, as_mask(torch.tensor(lengths), 5))
    for row, length in enumerate(lengths):
        for place in range(length):
            seen = front.filters.bias.clone()
            for offset in (-1, 0, 1):
                if 0 <= place + offset < length:
                    seen += front.filters.weight[:, :, 1 + offset] @ x[row, place + offset]
            torch.testing.assert_close(y[row, place], x[row, place] + seen.relu())


def test_an_even_width_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"must be odd.*not 4; set model.convolution_width to 3 or 5"):
        ConvolutionFront(4, 4)
