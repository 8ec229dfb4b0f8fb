"""Naive-Bayes ratios, for networks and for a linear classifier (Wang & Manning 2012, "Baselines and Bigrams").

Shapes: N reviews, M features, K classes, O outputs (1 for two classes, else K).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sentiment.data.batching import Item, collate
from sentiment.models.ngram import FOLDS, NaiveBayesFeatures, assign_folds, list_positives

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

log = logging.getLogger(__name__)

SMOOTHING = 1.0
"""Added to every count in the ratios that a network sees, alpha in the paper."""

MIN_REVIEWS = 2
"""Reviews that an n-gram stands in before a network sees its ratio."""

CHUNK = 256
"""Reviews that are padded together; of no matter to what is counted."""

Counts = npt.NDArray[np.integer]

Floats = npt.NDArray[np.float64]


def log_count_ratio(features: csr_matrix, positive: npt.NDArray[np.bool_], smoothing: float) -> Floats:
    """Compute the `ratio_of_counts` from (N, M) binary features and (N,) flags of the class."""
    count, others = (np.asarray(features[rows].sum(axis=0)).ravel() for rows in (positive, ~positive))
    return ratio_of_counts(count, others, smoothing)


def ratio_of_counts(positive: Counts, others: Counts, smoothing: float) -> Floats:
    """Compute r = log((p / |p|) / (q / |q|)), with p and q the smoothed counts in positive and other reviews.

    From the (M,) numbers of reviews of the class, and of others, with each feature to (M,) ratios, above 0 for features
    of the class; `smoothing` is added to every count, alpha in the paper.
    """
    p, q = ((counts + smoothing) / (counts + smoothing).sum() for counts in (positive, others))
    ratio: Floats = np.log(p / q)
    return ratio


def learn_ratios(network: nn.Module, reviews: Sequence[Item], classes: int) -> None:
    """Count the n-grams of training reviews for the `NaiveBayesFeatures` in a network of K classes.

    N-grams that fewer than `MIN_REVIEWS` reviews have are left out; those that no review of the other folds has say
    nothing in training.
    Memory: some 100 bytes a word, and 100 an n-gram.
    """
    parts = [part for part in network.modules() if isinstance(part, NaiveBayesFeatures)]
    if not parts:
        return
    ids = torch.from_numpy(np.concatenate([item.ids for item in reviews]).astype(np.int64))
    rows = torch.repeat_interleave(torch.tensor([len(item.ids) for item in reviews]))
    chunks = (reviews[start : start + CHUNK] for start in range(0, len(reviews), CHUNK))
    folds = torch.cat([assign_folds(collate(chunk).tokens) for chunk in chunks])  # (N,)
    groups = folds * classes + torch.tensor([item.label for item in reviews])  # (N,)
    for part in parts:
        part.learn(ids, rows, MIN_REVIEWS)
        owners, columns = part.find_features(ids, rows)
        size = sum(map(len, part.ngrams))
        log.info("Counted %s n-grams in the training reviews, for naive-Bayes ratios.", f"{size:,}")
        group = groups[owners]
        each = [torch.bincount(columns[group == one], minlength=size) for one in range(FOLDS * classes)]
        counts = torch.stack(each).view(FOLDS, classes, size).numpy()
        total = counts.sum(axis=0)
        by_fold = np.stack([_ratios(total - fold) for fold in counts])
        part.set_ratios(torch.from_numpy(_ratios(total)), torch.from_numpy(by_fold))


def _ratios(counts: Counts) -> npt.NDArray[np.float32]:
    """Return the (O, M) ratios by (K, M) numbers of reviews: 0 for n-grams that none has, in classes of any size."""
    seen = counts.sum(axis=0)
    positives = list_positives(len(counts))
    ratios = np.stack([ratio_of_counts(counts[one], seen - counts[one], SMOOTHING) for one in positives])
    return np.where(seen == 0, 0.0, ratios).astype(np.float32)
