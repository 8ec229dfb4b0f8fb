"""Word n-grams of reviews: a linear classifier over them, and their Naive-Bayes ratios as features of words.

The classifier gives each n-gram that stands in a review one weight. It has the call signature of the networks, tokens
and mask to logits, so that evaluation, storage, prediction and the measurement of latency are theirs. How its weights
are found stands in `sentiment.training.linear`.

scikit-learn's `CountVectorizer` is left out on purpose: reviews are token ids already (same splits, same words as for
the networks), and packed ids take a few seconds and 8 bytes an n-gram where a dictionary of strings takes minutes and
hundreds, and could be stored without pickle only by writing it out by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sentiment.data.tokenizer import PAD_ID, UNK_ID
from sentiment.models.padding import as_mask

LARGEST_N = 3
"""Longest n-grams: three ids of a vocabulary of a million entries fit one 64-bit integer."""

WEIGHT, BIAS = "weight", "bias"

FOLDS = 10
"""Parts of the training reviews: the words of each have their ratios from the other parts."""

FOLD_FACTOR = 6_364_136_223_846_793_005
"""Multiplier of positions in the hash that deals reviews out to folds (that of Knuth's MMIX generator)."""


class Occurrences(NamedTuple):
    """Known n-grams where they stand; M is the number of known n-grams."""

    columns: Tensor  # (P,) index of the n-gram in [0, M)
    starts: Tensor  # (P,) position of its first word among the words given
    sizes: Tensor  # (P,) number of words of the n-gram


class KnownNgrams(nn.Module):
    """Word n-grams that are looked up in reviews: buffers, of sizes that a stored state brings along.

    It begins without any; `learn`, `set_ngrams` or `load_state_dict` gives it some.

    Args:
        vocabulary_size: Number of token ids.
        classes: Number of classes K. Two classes share one value of an n-gram, that of class 1; more have one each: O.
        max_n: Longest n-grams, 1 to 3.
        keep_unknown: Whether n-grams with an unknown word count.

    Raises:
        ValueError: n-grams longer than a packed integer holds, or a vocabulary too large for it.
    """

    def __init__(self, *, vocabulary_size: int, classes: int, max_n: int, keep_unknown: bool) -> None:
        super().__init__()
        if not 1 <= max_n <= LARGEST_N or vocabulary_size**max_n >= 2**63:
            raise ValueError(
                f"max_n={max_n} with {vocabulary_size} token ids does not fit 64 bits; take max_n of 1 to {LARGEST_N} "
                "and a smaller vocabulary"
            )
        self.vocabulary_size, self.classes = vocabulary_size, classes
        self.max_n, self.keep_unknown = max_n, keep_unknown
        self.outputs = len(list_positives(classes))
        for n in range(1, max_n + 1):
            self.register_buffer(_buffer(n), torch.empty(0, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_take_sizes)  # type: ignore[no-untyped-call]

    @property
    def ngrams(self) -> list[Tensor]:
        """Known n-grams for n = 1, 2, ...: packed ids, ascending; their columns follow one another."""
        return [self.get_buffer(_buffer(n)) for n in range(1, self.max_n + 1)]

    def learn(self, ids: Tensor, rows: Tensor, min_frequency: int) -> None:
        """Take the n-grams of reviews, by `learn_ngrams`."""
        how = {"vocabulary_size": self.vocabulary_size, "max_n": self.max_n, "min_frequency": min_frequency}
        self.set_ngrams(learn_ngrams(ids, rows, **how, keep_unknown=self.keep_unknown))

    def set_ngrams(self, ngrams: Sequence[Tensor]) -> None:
        """Take the M n-grams of `learn_ngrams`; what there is of them is fresh."""
        for n, (known, before) in enumerate(zip(ngrams, self.ngrams, strict=True), start=1):
            setattr(self, _buffer(n), known.to(before.device))
        self.make_room(sum(map(len, ngrams)))

    def make_room(self, count: int) -> None:
        """Make fresh what there is of each of M n-grams: there are others now."""
        raise NotImplementedError

    def find_features(self, ids: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return (F,) rows and (F,) columns of the ones in the (B, M) matrix of which n-gram stands in which review.

        Args:
            ids: (P,) token ids of reviews one after another.
            rows: (P,) number of each word's review, ascending.
        """
        count = max(sum(map(len, self.ngrams)), 1)
        found = self.find_occurrences(ids, rows)
        pairs = torch.unique(rows[found.starts] * count + found.columns)  # sorted by review, then n-gram
        return pairs // count, pairs % count

    def find_occurrences(self, ids: Tensor, rows: Tensor) -> Occurrences:
        """Return every position at which a known n-gram stands; arguments as for `find_features`."""
        columns, starts, sizes, before = [], [], [], 0
        for n, known in enumerate(self.ngrams, start=1):
            packed, places = pack(ids, rows, n, self.vocabulary_size, keep_unknown=self.keep_unknown)
            if len(known):
                index = torch.searchsorted(known, packed).clamp(max=len(known) - 1)
                hit = known[index] == packed
                columns.append(index[hit] + before)
                starts.append(places[hit])
                sizes.append(torch.full_like(columns[-1], n))
            before += len(known)
        none = ids.new_empty(0)
        return Occurrences(*(torch.cat([none, *parts]) for parts in (columns, starts, sizes)))


class NgramClassifier(KnownNgrams):
    """Add up the weights of the n-grams that a review contains; how often it contains one is of no matter.

    Two classes share one score, that of class 1. Arguments and errors are those of `KnownNgrams`.
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, *, vocabulary_size: int, classes: int, max_n: int, keep_unknown: bool) -> None:
        super().__init__(vocabulary_size=vocabulary_size, classes=classes, max_n=max_n, keep_unknown=keep_unknown)
        self.weight = nn.Parameter(torch.zeros(self.outputs, 0))  # (O, M)
        self.bias = nn.Parameter(torch.zeros(self.outputs))  # (O,)

    def make_room(self, count: int) -> None:
        """Weigh nothing of M n-grams yet."""
        self.weight = nn.Parameter(self.weight.new_zeros(self.outputs, count))

    def set_weights(self, ngrams: Sequence[Tensor], weight: Tensor, bias: Tensor) -> None:
        """Take the n-grams of `learn_ngrams`, (O, M) weights and (O,) scores of a review without a known n-gram."""
        named = {_buffer(n): known for n, known in enumerate(ngrams, start=1)}
        self.load_state_dict({**named, WEIGHT: weight.float(), BIAS: bias.float()})

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens (B, T) and mask (B, T), or lengths (B,), to logits (B, K).

        The scores of three and more classes are log-odds, of each against the rest. The softmax of the logarithms of
        their probabilities divides these by their sum, as scikit-learn's `OneVsRestClassifier` does; that of the
        scores would divide the odds by theirs, and be too sure.
        """
        scores = self.score(tokens, mask)
        return torch.cat([-scores / 2, scores / 2], dim=1) if self.classes == 2 else functional.logsigmoid(scores)

    def score(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Return the (B, O) scores, of which every n-gram has a part; arguments as for `forward`."""
        mask = as_mask(mask, tokens.shape[1])
        rows, columns = self.find_features(tokens[mask], number_rows(mask))
        scores = self.bias.repeat(len(tokens), 1)  # (B, O)
        return scores.index_add(0, rows, self.weight[:, columns].T)

    def share_out(self, ids: Tensor) -> Tensor:
        """Return the part of the scores that each of the (T,) words of one whole review has, (T, O).

        The weight of an n-gram is shared evenly among the places at which it stands, and at each place among its words.
        Nothing is estimated: the parts and the bias add up to the scores.
        """
        found = self.find_occurrences(ids, torch.zeros_like(ids))
        _, index, places = torch.unique(found.columns, return_inverse=True, return_counts=True)
        part = self.weight[:, found.columns].T / (places[index] * found.sizes)[:, None]  # (P, O)
        parts: Tensor = part.new_zeros(len(ids), self.outputs)
        for offset in range(self.max_n):
            inside = offset < found.sizes
            parts.index_add_(0, found.starts[inside] + offset, part[inside])
        return parts


class NaiveBayesFeatures(KnownNgrams):
    """Tell of every word how the n-grams that end at it speak for the classes, by counts of the training reviews.

    A log-count ratio (Wang & Manning 2012, "Baselines and Bigrams") says how much more often an n-gram stands in
    reviews of a class than in others. A network comes to know as much of rare words and pairs only in epochs in which
    it learns its reviews by heart; given the ratios, it learns what to make of them in context.

    A review's own label is in the counts of its n-grams, and from them a network in training would learn to read it
    off. So there the ratios of a review come from the other folds (stacked generalization, Wolpert 1992), as they would
    for a review not seen before. The fold follows from the words, so that equal reviews share it. In evaluation the
    ratios are those of all training reviews.

    The ratios are counted, not trained. Arguments and errors are those of `KnownNgrams`, without n-grams that have an
    unknown word, and beside them:

    Args:
        map_to: Width that a trained matrix maps the ratios to; None: they stay as they are.
    """

    ratio: Tensor

    def __init__(self, *, vocabulary_size: int, classes: int, max_n: int, map_to: int | None = None) -> None:
        super().__init__(vocabulary_size=vocabulary_size, classes=classes, max_n=max_n, keep_unknown=False)
        self.width = max_n * self.outputs
        self.map = nn.Identity() if map_to is None else nn.Linear(self.width, map_to, bias=False)
        self.register_buffer("ratio", torch.zeros(self.outputs, 0))  # (O, M)
        self.fold_ratios: Tensor | None = None  # (FOLDS, O, M); not in the state: prediction has no use for it

    def make_room(self, count: int) -> None:
        """Forget the ratios of other n-grams."""
        self.ratio, self.fold_ratios = self.ratio.new_zeros(self.outputs, count), None

    def set_ratios(self, ratio: Tensor, fold_ratios: Tensor) -> None:
        """Take (O, M) ratios of the known n-grams, and (FOLDS, O, M) ratios without each fold."""
        self.ratio, self.fold_ratios = ratio.to(self.ratio), fold_ratios

    def forward(self, tokens: Tensor, folds: Tensor) -> Tensor:
        """Return (B, T, n O) ratios of what ends at each of (B, T) token ids, or (B, T, D) vectors that they map to.

        An unknown word takes its n-grams along.

        Training needs the (B,) folds of the reviews, by `assign_folds` before word dropout; evaluation does not look.

        Raises:
            RuntimeError: In training, without ratios by fold.
        """
        mask = tokens != PAD_ID
        rows = number_rows(mask)  # (P,)
        found = self.find_occurrences(tokens[mask], rows)
        if not self.training:
            ratios = self.ratio.T[found.columns]  # (F, O)
        elif self.fold_ratios is not None:
            self.fold_ratios = self.fold_ratios.to(self.ratio)  # no buffer: an average need not average it
            ratios = self.fold_ratios[folds[rows[found.starts]], :, found.columns]
        else:
            raise RuntimeError("training needs the ratios by fold, which no file holds; count them (learn_ratios)")
        features = ratios.new_zeros(len(rows), self.max_n, self.outputs)
        features[found.starts + found.sizes - 1, found.sizes - 1] = ratios
        laid_out = ratios.new_zeros(*tokens.shape, self.width)
        laid_out[mask] = features.flatten(1)
        return self.map(laid_out)  # type: ignore[no-any-return]


def assign_folds(tokens: Tensor) -> Tensor:
    """Return the (B,) folds in [0, FOLDS) of reviews of (B, T) token ids: a hash of their words and places.

    Padding is of no matter to it, nor the batch that a review stands in.
    """
    places = 2 * torch.arange(tokens.shape[1], device=tokens.device) + 1
    mixed = (tokens * (places * FOLD_FACTOR)).sum(dim=1)  # PAD_ID is 0; integers wrap
    return (mixed ^ (mixed >> 33)).remainder(FOLDS)


def list_positives(classes: int) -> range:
    """Return the classes that have a value of their own: of two classes, the second alone."""
    return range(1, 2) if classes == 2 else range(classes)


def number_rows(mask: Tensor) -> Tensor:
    """Return the (P,) number of the review of each real token of a (B, T) mask."""
    return torch.arange(len(mask), device=mask.device).unsqueeze(1).expand_as(mask)[mask]


def pack(ids: Tensor, rows: Tensor, n: int, vocabulary_size: int, *, keep_unknown: bool) -> tuple[Tensor, Tensor]:
    """Write every n words in a row of one review as one integer, their ids being its digits.

    Args:
        ids: (P,) token ids of reviews one after another, int64.
        rows: (P,) number of each word's review, ascending.
        n: Words of an n-gram.
        vocabulary_size: Number of token ids, the base of the digits.
        keep_unknown: Whether n-grams with an unknown word count.

    Returns:
        (F,) packed n-grams, and the (F,) positions of their first words.
    """
    size = max(len(ids) - n + 1, 0)
    packed = torch.zeros(size, dtype=torch.int64, device=ids.device)
    wanted = rows[:size] == rows[len(rows) - size :]
    for offset in range(n):
        digit = ids[offset : offset + size]
        packed = packed * vocabulary_size + digit
        if not keep_unknown:
            wanted &= digit != UNK_ID
    return packed[wanted], wanted.nonzero()[:, 0]


def learn_ngrams(
    ids: Tensor, rows: Tensor, *, max_n: int, min_frequency: int, vocabulary_size: int, keep_unknown: bool
) -> list[Tensor]:
    """Collect the n-grams that stand in at least `min_frequency` reviews; ids and rows as for `pack`.

    Memory: at most about 60 bytes for each of the P words, one n after another.

    Returns:
        For n = 1, 2, ..., `max_n`, the (M_n,) packed n-grams, int64, ascending.
    """
    ngrams = []
    for n in range(1, max_n + 1):
        packed, places = pack(ids, rows, n, vocabulary_size, keep_unknown=keep_unknown)
        known, index = torch.unique(packed, return_inverse=True)
        if min_frequency > 1:
            pairs = torch.unique(index * (int(rows[-1]) + 1) + rows[places])  # a review counts an n-gram once
            reviews = torch.bincount(pairs // (int(rows[-1]) + 1), minlength=len(known))
            known = known[reviews >= min_frequency]
        ngrams.append(known)
    return ngrams


def _buffer(n: int) -> str:
    return f"ngrams_{n}"


def _take_sizes(known: KnownNgrams, state: Mapping[str, Tensor], prefix: str, *rest: object) -> None:
    """Before a state is taken, make room for its n-grams where they are others.

    Raises:
        RuntimeError: They are no n-grams.
    """
    names = [prefix + _buffer(n) for n in range(1, known.max_n + 1)]
    if not set(names) <= state.keys():
        return  # torch says what is missing
    ngrams = [state[name] for name in names]
    for n, tensor in enumerate(ngrams, start=1):
        _check_ngrams(tensor, n, known.vocabulary_size)
    if not all(torch.equal(new.cpu(), old.cpu()) for new, old in zip(ngrams, known.ngrams, strict=True)):
        known.set_ngrams(ngrams)


def _check_ngrams(stored: Tensor, n: int, vocabulary_size: int) -> None:
    in_order = stored.dtype == torch.int64 and stored.ndim == 1 and bool((stored[1:] > stored[:-1]).all())
    if not in_order or (len(stored) and not 0 <= int(stored[0]) <= int(stored[-1]) < vocabulary_size**n):
        raise RuntimeError(f"the {n}-grams are no ascending packed ids of a vocabulary of {vocabulary_size}")
