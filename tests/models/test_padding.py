from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentiment.models.padding import as_mask


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 4))
def test_lengths_become_a_mask_with_so_many_real_tokens(lengths: list[int], extra: int) -> None:
    tokens = max(lengths) + extra
    mask = as_mask(torch.tensor(lengths), tokens)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[t < length for t in range(tokens)] for length in lengths]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_mask_stays_what_it_is(lengths: list[int]) -> None:
    mask = as_mask(torch.tensor(lengths), 9)
    assert torch.equal(as_mask(mask, 9), mask)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8])
def test_lengths_of_any_integer_type_are_taken(dtype: torch.dtype) -> None:
    assert as_mask(torch.tensor([1, 3], dtype=dtype), 3).tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize(
    ("given_tensor", "message"),
    [
        (torch.tensor([3, 0]), r"lengths must lie in 1..T=4, but they span 0..3; give an empty review"),
        (torch.tensor([3, 5]), r"lengths must lie in 1..T=4, but they span 3..5"),
        (torch.tensor([3.0, 2.0]), r"not a \(2,\) tensor of torch.float32; convert a 0/1 mask with .bool\(\)"),
        (torch.ones(2, 4, dtype=torch.int64), r"not a \(2, 4\) tensor of torch.int64; convert"),
        (torch.ones(2, 3, dtype=torch.bool), r"shape \(B, T\) with T=4 .* has \(2, 3\)"),
        (torch.ones(4, dtype=torch.bool), r"shape \(B, T\) with T=4 .* has \(4,\)"),
        (torch.tensor([[True, True, True, True], [False] * 4]), r"row 1 of the mask begins with padding; pad on the"),
        (torch.tensor([[True, False, True, False]]), r"real tokens must come before all padding, but not so in row 0"),
    ],
)
def test_what_is_no_right_padding_is_refused_with_its_remedy(given_tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_mask(given_tensor, 4)
