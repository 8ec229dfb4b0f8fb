"""Token ids of single reviews to padded batches of similar length.

Attention costs T^2 and a recurrent net T steps a batch, so padding is paid for: reviews of similar length go
together, and a batch is padded to its own longest review only.

Shapes: B batch, T tokens, N reviews.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Sampler

from sentiment.config.group import DataGroup, Keep
from sentiment.data.files.records import LONGEST_TEXT
from sentiment.data.tokenizer import LINE_BREAK_TAG, PAD_ID

CHUNK_BATCHES = 50  # batches drawn at random before sorting: more pads less, fewer mixes more


TOKEN_CHARACTERS = 64

LONG_WORD = re.compile(rf"\S{{{TOKEN_CHARACTERS}}}")

BLANKS = re.compile(rf"(?:[^\S\x1c-\x1f]|{LINE_BREAK_TAG})+", re.IGNORECASE)
"""What separates tokens, however long it is; to the tokenizer's library, \x1c to \x1f are no blanks."""


@dataclass(frozen=True)
class Cut:
    """Which tokens of a long review a model reads.

    Reviewers often state their verdict first or last, hence ``head_tail`` (Sun et al. 2019, *How to Fine-Tune BERT
    for Text Classification?*, section 5.3.1).
    """

    # Most tokens of a review; None: all. With ``head_tail`` at least 2: one stays at each end.
    max_tokens: int | None
    keep: Keep  # part of a longer review that is kept
    head_fraction: float  # with ``head_tail``, share kept from the start

    @classmethod
    def of(cls, data: DataGroup) -> Cut:
        """Return the cut that settings of the data ask for."""
        return cls(data.max_tokens, data.keep, data.head_fraction)

    def cut_ids(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Return the (min(T, max_tokens),) ids that are kept of (T,), in their order."""
        most = self.max_tokens
        if most is None or len(ids) <= most:
            return ids
        if self.keep == "head":
            return ids[:most]
        if self.keep == "tail":
            return ids[-most:]
        head = min(max(round(most * self.head_fraction), 1), most - 1)
        return np.concatenate([ids[:head], ids[-(most - head) :]])

    def cut_lengths(self, lengths: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Return how many tokens are kept of reviews with (N,) lengths."""
        return lengths if self.max_tokens is None else np.minimum(lengths, self.max_tokens)

    def cut_text(self, text: str) -> str:
        """Keep of a text what `cut_ids` can need of it, so that a text of any length is tokenised at once.

        A token is taken to have at most `TOKEN_CHARACTERS` characters, a blank before it among them; where more of them
        stand without a blank, as in a language that writes none, all is kept of what a training would read.
        """
        most = None if self.max_tokens is None else self.max_tokens * TOKEN_CHARACTERS
        if most is None or len(text) <= 2 * most or len(text := BLANKS.sub(" ", text)) <= 2 * most:
            return text
        head = {"head": most, "tail": 0}.get(self.keep, most)
        tail = {"head": 0, "tail": most}.get(self.keep, most)
        kept = text[:head] + (" " if head and tail else "") + (text[-tail:] if tail else "")
        return text if len(text) <= LONGEST_TEXT and LONG_WORD.search(kept) else kept


class Item(NamedTuple):
    """One review, ready to be padded."""

    ids: npt.NDArray[np.integer]  # (T,) ids, already cut
    label: int  # class index
    row: int  # index within its split
    target: npt.NDArray[np.float32] | None = None  # (K,) probabilities to learn in place of the label; None: the label


class Batch(NamedTuple):
    """B reviews padded to the longest among them."""

    tokens: Tensor  # (B, T) int64 ids, `PAD_ID` after the last real token
    mask: Tensor  # (B, T) bool, True where a token is real; every review has at least one
    labels: Tensor  # (B,) int64 class indices
    rows: Tensor  # (B,) int64 index of each review within its split
    # Factor of the batch's mean loss: those of the shares of a batch make the mean over the replicas the mean over all
    # reviews; 0: the reviews are another's, and count for nothing.
    weight: float = 1.0
    targets: Tensor | None = None  # (B, K) float32 probabilities to learn in place of the labels; None: the labels


def collate(items: Sequence[Item], replica: int = 0, replicas: int = 1) -> Batch:
    """Pad reviews on the right to the longest of them.

    Of several replicas each gets every `replicas`-th review: a batch is sorted by length, so the shares are of equal
    cost. Where there are fewer reviews than replicas, one without a share gets the first review, at weight 0: all
    replicas take part in every step.
    """
    share = items[replica::replicas]
    weight = len(share) * replicas / len(items)
    items = share or items[:1]
    lengths = np.array([len(item.ids) for item in items])  # (B,)
    mask = np.arange(lengths.max()) < lengths[:, None]  # (B, T)
    tokens = np.full(mask.shape, PAD_ID, dtype=np.int64)  # (B, T)
    tokens[mask] = np.concatenate([item.ids for item in items])
    targets = [item.target for item in items if item.target is not None]
    return Batch(
        tokens=torch.from_numpy(tokens),
        mask=torch.from_numpy(mask),
        labels=torch.tensor([item.label for item in items], dtype=torch.int64),
        rows=torch.tensor([item.row for item in items], dtype=torch.int64),
        weight=weight,
        targets=torch.from_numpy(np.stack(targets)) if targets else None,
    )


@dataclass(eq=False)
class LengthBatches(Sampler[list[int]]):
    """Batch sampler: every review exactly once an epoch, reviews of similar length together.

    With a seed, reviews are shuffled, cut into chunks of `CHUNK_BATCHES` batches, sorted by length within each
    chunk, and the batches shuffled: company and order change from epoch to epoch and depend on nothing but
    (seed, epoch). Without a seed (validation, test), reviews are sorted by length, the longest first, so that a
    batch that is too large for the memory fails at once.
    """

    # (N,) lengths as the model sees them, i.e. after `cut`.
    lengths: npt.NDArray[np.integer]
    batch_size: int  # reviews B per batch; the last one may be smaller
    seed: int | None = None  # seed of the shuffling; None: no shuffling
    epoch: int = 0  # pass over the data, from 0
    # Which of `parts` parts of the pass to yield, from 0. All are equally long, so that up to `parts - 1` batches may
    # come twice a pass.
    part: int = 0
    parts: int = 1  # into how many parts a pass is cut

    def __post_init__(self) -> None:
        """Insist on whole batches."""
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {self.batch_size}; set data.batch_size")

    def __len__(self) -> int:
        """Number of batches a part."""
        batches = -(-len(self.lengths) // self.batch_size)
        return -(-batches // self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the indices of each batch."""
        if self.seed is None:
            yield from self._slice(np.argsort(-self.lengths, kind="stable"))
            return
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(len(self.lengths))
        size = self.batch_size * CHUNK_BATCHES
        chunks = [order[start : start + size] for start in range(0, len(order), size)]
        by_length = (chunk[np.argsort(self.lengths[chunk], kind="stable")] for chunk in chunks)
        batches = [batch for chunk in by_length for batch in self._slice(chunk)]
        places = random.permutation(len(batches))
        first = self.part * len(self)
        yield from (batches[places[place % len(batches)]] for place in range(first, first + len(self)))

    def _slice(self, order: npt.NDArray[np.integer]) -> list[list[int]]:
        return [order[start : start + self.batch_size].tolist() for start in range(0, len(order), self.batch_size)]
