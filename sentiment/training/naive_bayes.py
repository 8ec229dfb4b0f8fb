"""Naive-Bayes weights for a linear classifier (Wang & Manning 2012, "Baselines and Bigrams").

Each binary feature is scaled by the log-count ratio that naive Bayes gives it; on the scaled features stands a
regularised linear classifier of scikit-learn. Scale and weight multiply to one weight a feature.

Shapes: N reviews, M features, K classes, O outputs (1 for two classes, else K).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment.config.schema import NgramSettings
from sentiment.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 3
"""Parts of the training reviews, each of which calibrates a support vector machine that the others trained."""

MAX_ITERATIONS = 1000

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]


class Linear(NamedTuple):
    """Weights and biases: ``features @ weight.T + bias`` are log-odds.

    Attributes:
        weight: (O, M), of the plain binary features.
        bias: (O,).
    """

    weight: Floats
    bias: Floats


def fit_linear(features: csr_matrix, labels: Labels, classes: int, settings: NgramSettings, seed: int) -> Linear:
    """Fit one classifier for two classes, or each class against the rest, on (N, M) binary features and (N,) labels.

    The seed decides on the order of the reviews within the solver of a support vector machine, and on their folds.

    Raises:
        DataError: A class has too few training reviews to calibrate a support vector machine.
    """
    positives = [1] if classes == 2 else range(classes)
    fits = [_fit_one(features, labels == positive, settings, seed) for positive in positives]
    return Linear(np.stack([fit.weight[0] for fit in fits]), np.concatenate([fit.bias for fit in fits]))


def log_count_ratio(features: csr_matrix, positive: npt.NDArray[np.bool_], smoothing: float) -> Floats:
    """Compute r = log((p / |p|) / (q / |q|)), with p and q the smoothed counts in positive and other reviews.

    From (N, M) binary features and (N,) flags of the class to (M,) ratios, above 0 for features of the class;
    `smoothing` is added to every count, alpha in the paper.
    """
    counts = [np.asarray(features[rows].sum(axis=0)).ravel() + smoothing for rows in (positive, ~positive)]
    p, q = (count / count.sum() for count in counts)
    ratio: Floats = np.log(p / q)
    return ratio


def _fit_one(features: csr_matrix, positive: npt.NDArray[np.bool_], settings: NgramSettings, seed: int) -> Linear:
    fitted = _fit_scaled(features, positive, settings, seed)
    if settings.classifier == "logistic":
        return fitted
    slope, intercept = _calibrate(features, positive, settings, seed)
    return Linear(fitted.weight * slope, fitted.bias * slope + intercept)


def _fit_scaled(features: csr_matrix, positive: npt.NDArray[np.bool_], settings: NgramSettings, seed: int) -> Linear:
    ratio = log_count_ratio(features, positive, settings.smoothing)  # (M,)
    scaled = features.multiply(ratio).tocsr()
    classifier = _build_classifier(settings, seed).fit(scaled, positive)
    weight: Floats = classifier.coef_[0]
    # The paper's interpolation: every feature moves towards the mean size of a weight, which is naive Bayes itself.
    weight = (1 - settings.interpolation) * np.abs(weight).mean() + settings.interpolation * weight
    return Linear((weight * ratio)[None], classifier.intercept_)


def _build_classifier(settings: NgramSettings, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if settings.classifier == "logistic":
        return LogisticRegression(C=settings.cost, max_iter=MAX_ITERATIONS)
    return LinearSVC(C=settings.cost, max_iter=MAX_ITERATIONS, random_state=seed)


def _calibrate(
    features: csr_matrix, positive: npt.NDArray[np.bool_], settings: NgramSettings, seed: int
) -> tuple[float, float]:
    """Find the line from a machine's decision values to log-odds (Platt 1999), on reviews that it was not fitted on.

    By hand rather than by `CalibratedClassifierCV`: the ratios too must come from the other folds only, and the line
    is folded into the weights, so that the classifier stays linear.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    fewest = min(int(positive.sum()), int((~positive).sum()))
    if fewest < FOLDS:
        raise DataError(
            f"model.classifier=svm is calibrated on {FOLDS} folds, but a class has {fewest} training reviews only; "
            "give more reviews, or set model.classifier=logistic, which needs no calibration"
        )
    decisions = np.empty(len(positive))
    for rest, fold in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(features, positive):
        fitted = _fit_scaled(features[rest], positive[rest], settings, seed)
        decisions[fold] = features[fold] @ fitted.weight[0] + fitted.bias[0]
    line = LogisticRegression(C=np.inf).fit(decisions[:, None], positive)
    return float(line.coef_[0, 0]), float(line.intercept_[0])
