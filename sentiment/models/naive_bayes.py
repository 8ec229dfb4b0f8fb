"""What the n-grams of a review say by naive Bayes, as features of its words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    The ratios are counted, not trained: part of the state, but neither parameters nor buffers, which an average of the
    weights would average. A new part knows no n-gram; `set_ratios` gives it some.

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
        self.counted = _name([torch.empty(0, dtype=torch.int64)] * max_n, torch.zeros(self.outputs, 0))
        self.fold_ratios: Tensor | None = None  # (FOLDS, O, M); not in the state: prediction has no use for it

    @property
    def ngrams(self) -> list[Tensor]:
        """Known n-grams for n = 1, 2, ...: packed ids, ascending; their columns follow one another."""
        return [self.counted[name_ngrams(n)] for n in range(1, self.max_n + 1)]

    def set_ratios(self, ngrams: Sequence[Tensor], ratios: Tensor, fold_ratios: Tensor) -> None:
        """Take the M n-grams of `learn_ngrams`, their (O, M) ratios, and (FOLDS, O, M) ratios without each fold."""
        self.counted, self.fold_ratios = _name(ngrams, ratios), fold_ratios

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
            ratios = self.counted[RATIO].T[found.columns]  # (F, O)
        elif self.fold_ratios is not None:
            ratios = self.fold_ratios[folds[rows[found.starts]], :, found.columns]
        else:
            raise RuntimeError("training needs the ratios by fold, which no file holds; count them (learn_ratios)")
        features = ratios.new_zeros(len(rows), self.max_n, self.outputs)
        features[found.starts + found.sizes - 1, found.sizes - 1] = ratios
        laid_out = ratios.new_zeros(*tokens.shape, self.width)
        laid_out[mask] = features.flatten(1)
        return self.map(laid_out)  # type: ignore[no-any-return]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> NaiveBayesFeatures:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.counted = {name: fn(tensor) for name, tensor in self.counted.items()}
        self.fold_ratios = None if self.fold_ratios is None else fn(self.fold_ratios)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({prefix + name: tensor for name, tensor in self.counted.items()})

    def _load_from_state_dict(
        self, state: dict[str, Any], prefix: str, metadata: Any, strict: bool, missing: list[str], *rest: Any
    ) -> None:
        """Take stored ratios; those by fold stay where they are of the same n-grams.

        Raises:
            RuntimeError: The n-grams are none, or the ratios are not theirs.
        """
        stored = {name: state.pop(prefix + name) for name in self.counted if prefix + name in state}
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, *rest)
        if absent := self.counted.keys() - stored.keys():
            missing.extend(prefix + name for name in sorted(absent))
            return
        ratios, ngrams, device = stored.pop(RATIO), list(stored.values()), self.counted[RATIO].device
        for n, known in enumerate(ngrams, start=1):
            check_ngrams(known, n, self.vocabulary_size)
        if ratios.shape != (self.outputs, sum(map(len, ngrams))):
            raise RuntimeError(f"{tuple(ratios.shape)} ratios are not those of {[*map(len, ngrams)]} n-grams")
        if not all(torch.equal(new.cpu(), old.cpu()) for new, old in zip(ngrams, self.ngrams, strict=True)):
            self.fold_ratios = None
        self.counted = {name: tensor.to(device) for name, tensor in _name(ngrams, ratios).items()}


def assign_folds(tokens: Tensor) -> Tensor:
    """Return the (B,) folds in [0, FOLDS) of reviews of (B, T) token ids: a hash of their words and places.

    Padding is of no matter to it, nor the batch that a review stands in.
    """
    places = 2 * torch.arange(tokens.shape[1], device=tokens.device) + 1
    mixed = (tokens * (places * FOLD_FACTOR)).sum(dim=1)  # PAD_ID is 0; integers wrap
    return (mixed ^ (mixed >> 33)).remainder(FOLDS)


def _name(ngrams: Sequence[Tensor], ratios: Tensor) -> dict[str, Tensor]:
    return {name_ngrams(n): known for n, known in enumerate(ngrams, start=1)} | {RATIO: ratios}
