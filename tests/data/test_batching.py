from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentiment.data.batching import CHUNK_BATCHES, Cut, Item, LengthBatches, collate
from sentiment.data.tokenizer import PAD_ID, train_tokenizer

IDS = np.arange(10, dtype=np.uint16)


@pytest.mark.parametrize(
    ("keep", "head_fraction", "expected"),
    [
        ("head", 0.5, [0, 1, 2, 3]),
        ("tail", 0.5, [6, 7, 8, 9]),
        ("head_tail", 0.5, [0, 1, 8, 9]),
        ("head_tail", 0.75, [0, 1, 2, 9]),
        ("head_tail", 0.01, [0, 7, 8, 9]),
        ("head_tail", 0.99, [0, 1, 2, 9]),
    ],
)
def test_cut_keeps_the_wanted_part(keep: str, head_fraction: float, expected: list[int]):
    assert Cut(4, keep, head_fraction).cut_ids(IDS).tolist() == expected


@pytest.mark.parametrize("keep", ["head", "tail", "head_tail"])
@pytest.mark.parametrize(
    "gap",
    [" ", "\n\n", "<br />" + 200 * " ", "\r\n" * 300, "<BR><br />" * 20, "\u00a0\u2003" * 200, "\x1c \x1f\u2028"],
)
def test_a_text_that_is_cut_before_it_is_tokenised_is_read_as_a_whole_one(keep: str, gap: str):
    """However far apart its words stand."""
    text = gap.join(f"w{number}" for number in range(1000))
    tokenizer = train_tokenizer([text], "word", 2000, 1, lowercase=True)
    reading = Cut(40, keep, 0.9)
    whole, short = tokenizer.encode([text, reading.cut_text(text)])
    assert reading.cut_ids(short).tolist() == reading.cut_ids(whole).tolist()


@pytest.mark.parametrize("keep", ["head", "tail", "head_tail"])
def test_a_long_text_without_blanks_is_cut_as_in_training(keep: str):
    text = "，".join("字" * 300 + str(number) for number in range(100))
    tokenizer = train_tokenizer([text], "word", 2000, 1, lowercase=True)
    reading = Cut(8, keep, 0.5)
    whole, short = tokenizer.encode([text, reading.cut_text(text)])
    assert reading.cut_ids(short).tolist() == reading.cut_ids(whole).tolist()


@given(
    length=st.integers(1, 50),
    max_tokens=st.integers(2, 50),
    keep=st.sampled_from(["head", "tail", "head_tail"]),
    head_fraction=st.floats(0.01, 0.99),
)
def test_cut_keeps_length_and_order(length: int, max_tokens: int, keep: str, head_fraction: float):
    kept = Cut(max_tokens, keep, head_fraction).cut_ids(np.arange(length))
    assert len(kept) == min(length, max_tokens)
    assert (np.diff(kept) > 0).all()
    if keep == "head_tail":
        assert kept[0] == 0
        assert kept[-1] == length - 1


def test_collate_pads_on_the_right_to_the_longest():
    batch = collate([Item(np.array([5, 6, 7], np.uint16), 1, 10), Item(np.array([8], np.uint16), 0, 4)])
    assert batch.tokens.tolist() == [[5, 6, 7], [8, PAD_ID, PAD_ID]]
    assert batch.mask.tolist() == [[True, True, True], [True, False, False]]
    assert batch.labels.tolist() == [1, 0]
    assert batch.rows.tolist() == [10, 4]
    assert (batch.tokens.dtype, batch.mask.dtype) == (torch.int64, torch.bool)
    assert (batch.labels.dtype, batch.rows.dtype) == (torch.int64, torch.int64)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=40), replicas=st.integers(1, 9))
def test_the_shares_of_a_batch_are_the_batch(sizes: list[int], replicas: int):
    """Every review is in one share, and the mean of the weighted means of the shares is the mean of the batch."""
    items = [Item(np.full(size, 5, np.uint16), 0, row) for row, size in enumerate(sizes)]
    shares = [collate(items, replica, replicas) for replica in range(replicas)]
    assert sorted(row for share in shares if share.weight for row in share.rows.tolist()) == list(range(len(sizes)))
    means = [share.weight * share.mask.sum(dim=1).double().mean() for share in shares]
    assert sum(means) / replicas == pytest.approx(np.mean(sizes))
    if replicas == 1:
        assert shares[0].weight == 1


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=200),
    batch_size=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_every_review_comes_exactly_once_an_epoch(lengths: list[int], batch_size: int, seed: int):
    for sampler in (
        LengthBatches(np.array(lengths), batch_size),
        LengthBatches(np.array(lengths), batch_size, seed=seed, epoch=3),
    ):
        batches = list(sampler)
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        assert len(batches) == len(sampler)
        assert max(map(len, batches)) <= batch_size


@given(reviews=st.integers(1, 100), parts=st.integers(1, 5))
def test_the_parts_of_a_pass_are_its_batches_in_their_order(reviews: int, parts: int):
    """Equally long, as a schedule over all of them counts their steps: the last one begins again where none is left."""
    lengths = np.arange(1, reviews + 1)
    whole = list(LengthBatches(lengths, 4, seed=1, epoch=2))
    cut = [LengthBatches(lengths, 4, seed=1, epoch=2, part=part, parts=parts) for part in range(parts)]
    assert len({len(part) for part in cut}) == 1
    batches = [batch for part in cut for batch in part]
    assert len(batches) - len(whole) < parts
    assert batches == (whole * parts)[: len(batches)]


LENGTHS = np.random.default_rng(0).integers(1, 400, size=5000)


def test_shuffling_depends_on_seed_and_epoch_alone():
    first = list(LengthBatches(LENGTHS, 16, seed=1, epoch=0))
    assert first == list(LengthBatches(LENGTHS, 16, seed=1, epoch=0))
    assert first != list(LengthBatches(LENGTHS, 16, seed=2, epoch=0))
    assert first != list(LengthBatches(LENGTHS, 16, seed=1, epoch=1))


def test_company_changes_from_epoch_to_epoch():
    first, second = (
        {frozenset(batch) for batch in LengthBatches(LENGTHS, 16, seed=1, epoch=epoch)} for epoch in (0, 1)
    )
    assert len(first & second) == 0


def test_batches_do_not_come_in_order_of_length():
    means = [LENGTHS[batch].mean() for batch in LengthBatches(LENGTHS, 16, seed=1)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.2


def test_similar_lengths_go_together():
    def padding(batches: list[list[int]]) -> float:
        return 1 - LENGTHS.sum() / sum(LENGTHS[batch].max() * len(batch) for batch in batches)

    at_random = np.random.default_rng(0).permutation(len(LENGTHS)).reshape(-1, 20).tolist()
    assert padding(at_random) > 0.4
    assert padding(list(LengthBatches(LENGTHS, 20, seed=1))) < 0.04
    assert padding(list(LengthBatches(LENGTHS, 20))) < 0.01


def test_at_most_one_batch_is_smaller():
    sizes = [len(batch) for batch in LengthBatches(LENGTHS[:4999], 16, seed=5)]
    assert CHUNK_BATCHES * 16 < 4999
    assert sorted(sizes)[:2] == [4999 % 16, 16]


def test_evaluation_takes_the_longest_first():
    lengths = [LENGTHS[index] for batch in LengthBatches(LENGTHS, 16) for index in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_a_batch_needs_a_review():
    with pytest.raises(ValueError, match=r"batch_size must be 1 or more, got 0; set data.batch_size"):
        LengthBatches(LENGTHS, 0)
