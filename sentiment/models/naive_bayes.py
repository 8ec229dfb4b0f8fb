"""What the n-grams of a review say by naive Bayes, as features of its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sentiment.data.tokenizer import PAD_ID
from sentiment.models.ngram import check_ngrams, find_occurrences, name_ngrams

FOLDS = 10
"""Parts of the training reviews: the words of each have their ratios from the other parts."""

FOLD_FACTOR = 6_364_136_223_846_793_005
"""Multiplier of positions in the hash that deals reviews out to folds (that of Knuth's MMIX generator)."""

RATIO = "ratio"


class NaiveBayesFeatures(nn.Module):
    """Tell of every word how the n-grams that end at it speak for the classes, by counts of the training reviews.

    A log-count ratio (Wang & Manning 2012, "Baselines and Bigrams") says how much more often an n-gram stands in
    reviews of a class than in others. A network comes to know as much of rare words and pairs only in epochs in which
    it learns its reviews by heart; given the ratios, it learns what to make of them in context.

    A review's own label is in the counts of its n-grams, and from them a network in training would learn to read it
    off. So there the ratios of a review come from the other folds (stacked generalization, Wolpert 1992), as they would
    for a review not seen before. The fold follows from the words, so that equal reviews share it. In evaluation the
    ratios are those of all training reviews.

    The ratios are counted, not trained: buffers, of sizes that a stored state brings along. A new part knows no n-gram;
    `set_ratios` gives it some.

    Args:
        vocabulary_size: Number of token ids.
        classes: Number of classes K. Two classes share one ratio, that of class 1; more have one each: O in all.
        max_n: Longest n-grams, 1 to 3.
        map_to: Width that a trained matrix maps the ratios to; None: they stay as they are.
    """

    def __init__(self, *, vocabulary_size: int, classes: int, max_n: int, map_to: int | None = None) -> None:
        super().__init__()
        self.vocabulary_size, self.max_n = vocabulary_size, max_n
        self.outputs = 1 if classes == 2 else classes
        self.width = max_n * self.outputs
        self.map = nn.Identity() if map_to is None else nn.Linear(self.width, map_to, bias=False)
        for n in range(1, max_n + 1):
            self.register_buffer(name_ngrams(n), torch.empty(0, dtype=torch.int64))
        self.register_buffer(RATIO, torch.zeros(self.outputs, 0))
        self.fold_ratios: Tensor | None = None  # (FOLDS, O, M); not in the state: prediction has no use for it
        self.register_load_state_dict_pre_hook(_make_room)  # type: ignore[no-untyped-call]

    @property
    def ngrams(self) -> list[Tensor]:
        """Known n-grams for n = 1, 2, ...: packed ids, ascending; their columns follow one another."""
        return [self.get_buffer(name_ngrams(n)) for n in range(1, self.max_n + 1)]

    @property
    def counted(self) -> dict[str, Tensor]:
        """What is counted, by its names in the state."""
        return {name: self.get_buffer(name) for name in (*map(name_ngrams, range(1, self.max_n + 1)), RATIO)}

    def set_ratios(self, ngrams: Sequence[Tensor], ratios: Tensor, fold_ratios: Tensor) -> None:
        """Take the M n-grams of `learn_ngrams`, their (O, M) ratios, and (FOLDS, O, M) ratios without each fold."""
        for name, tensor in zip(self.counted, [*ngrams, ratios], strict=True):
            setattr(self, name, tensor.to(self.get_buffer(name)))
        self.fold_ratios = fold_ratios

    def forward(self, tokens: Tensor, folds: Tensor) -> Tensor:
        """Return (B, T, n O) ratios of what ends at each of (B, T) token ids, or (B, T, D) vectors that they map to.

        An unknown word takes its n-grams along.

        Training needs the (B,) folds of the reviews, by `assign_folds` before word dropout; evaluation does not look.

        Raises:
            RuntimeError: In training, without ratios by fold.
        """
        mask = tokens != PAD_ID
        rows = torch.arange(len(tokens), device=tokens.device).unsqueeze(1).expand_as(tokens)[mask]  # (P,)
        found = find_occurrences(self.ngrams, tokens[mask], rows, self.vocabulary_size, keep_unknown=False)
        if not self.training:
            ratios = self.get_buffer(RATIO).T[found.columns]  # (F, O)
        elif self.fold_ratios is not None:
            self.fold_ratios = self.fold_ratios.to(self.get_buffer(RATIO))  # no buffer: an average need not average it
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


def _make_room(part: NaiveBayesFeatures, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
    """Size the buffers as a state has them; ratios by fold stay where they are of the same n-grams.

    Raises:
        RuntimeError: The n-grams are none, or the ratios are not theirs.
    """
    stored = {name: state[prefix + name] for name in part.counted if prefix + name in state}
    if len(stored) < len(part.counted):
        return  # which torch reports
    for n in range(1, part.max_n + 1):
        check_ngrams(stored[name_ngrams(n)], n, part.vocabulary_size)
    ratios, sizes = stored[RATIO], [len(stored[name_ngrams(n)]) for n in range(1, part.max_n + 1)]
    if ratios.shape != (part.outputs, sum(sizes)):
        raise RuntimeError(f"{tuple(ratios.shape)} ratios are not those of {sizes} n-grams")
    known = (torch.equal(tensor.cpu(), stored[name].cpu()) for name, tensor in part.counted.items() if name != RATIO)
    if part.fold_ratios is not None and not all(known):
        part.fold_ratios = None
    for name, tensor in part.counted.items():
        setattr(part, name, tensor.new_empty(stored[name].shape))
