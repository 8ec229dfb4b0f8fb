"""A convolution over neighbouring words, before a network that reads the whole review."""

from __future__ import annotations

from torch import Tensor, nn


class ConvolutionFront(nn.Module):
    """Add to every token's vector what a filter bank sees around it: ``x + dropout(relu(convolution(x)))``.

    Short phrases carry much of a review's verdict (Kim 2014; Johnson & Zhang 2015), and neither attention nor a
    recurrent cell starts with a notion of a neighbour. Padding counts as zero, as beyond both ends of the review.

    Args:
        embedding_size: Width D of input and output.
        convolution_width: Neighbouring tokens that a filter sees, an odd number.
        dropout: Share of elements of what is added that are dropped, in training.

    Raises:
        ValueError: An even width.
    """

    def __init__(self, embedding_size: int, convolution_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        if convolution_width % 2 == 0:
            raise ValueError(
                f"convolution_width must be odd, so that a filter is centred on its token, not {convolution_width}; "
                "set model.convolution_width to 3 or 5"
            )
        self.filters = nn.Conv1d(embedding_size, embedding_size, convolution_width, padding=convolution_width // 2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, D) vectors to (B, T, D) vectors, given a (B, T) mask of real tokens."""
        real = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        seen = self.filters(real.transpose(1, 2)).transpose(1, 2).relu()  # (B, T, D)
        return x + self.dropout(seen)  # type: ignore[no-any-return]
