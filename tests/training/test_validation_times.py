"""Validations are spread evenly and the last one closes the epoch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentiment.training.lightning_setup import validation_batches


@given(st.integers(1, 2000), st.integers(1, 50))
def test_validations_are_spread_evenly_and_close_the_epoch(batches, per_epoch):
    numbers = sorted(validation_batches(batches, per_epoch))
    assert numbers[-1] == batches
    assert numbers[0] >= 1
    assert len(numbers) == min(batches, per_epoch)
    gaps = [after - before for before, after in zip([0, *numbers], numbers, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_an_example():
    assert validation_batches(17, 3) == {6, 11, 17}
