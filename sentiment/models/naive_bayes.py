"""Naive-Bayes ratios of the n-grams of a review, as features of its words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sentiment.data.tokenizer import PAD_ID
from sentiment.models.ngram import KnownNgrams, number_rows

FOLDS = 10
"""Parts of the training reviews: the words of each have their ratios from the other parts."""

FOLD_FACTOR = 6_364_136_223_846_793_005
"""Multiplier of positions in the hash that deals reviews out to folds (that of Knuth's MMIX generator)."""


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
