"""One run of the n-gram classifier: fit, validate once, test once, on the same splits and under the same names.

It takes seconds, so a run that is interrupted starts anew. Nothing in it is random but a support vector machine's order
of the reviews and the folds that calibrate its probabilities.

Each binary feature is scaled by the log-count ratio that naive Bayes gives it (Wang & Manning 2012, "Baselines and
Bigrams"); on the scaled features stands a regularised linear classifier of scikit-learn. Scale and weight multiply to
one weight a feature.

Only a run of it imports this module: scikit-learn, which takes a second, is there before the time of the fit begins.

Shapes: N reviews, M features, K classes, O outputs (1 for two classes, else K).
"""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import LinearSVC
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from sentiment.config.schema import NgramSettings, Settings
from sentiment.data.batching import Cut, Item, LengthBatches, collate
from sentiment.data.corpus import Corpus, EncodedSplit
from sentiment.errors import DataError
from sentiment.models.build import count_parameters
from sentiment.models.bundle import WEIGHTS_FILE
from sentiment.models.ngram import NgramClassifier, list_positives
from sentiment.training.device import measure_latency_ms, memory_errors
from sentiment.training.lightning_setup import write_line
from sentiment.training.metrics import SplitMetrics, require_defined
from sentiment.training.naive_bayes import Floats, log_count_ratio
from sentiment.training.result import Reporter, RunResult, TestPredictions
from sentiment.training.run import save_run_bundle

log = logging.getLogger(__name__)

EVALUATION_BATCH = 64
"""Reviews evaluated together; of no matter to the figures."""

EPOCH = 1.0
"""The fit counts as one pass over the training reviews, validated at its end."""

CALIBRATION_FOLDS = 3
"""Parts of the training reviews, each of which calibrates a support vector machine that the others trained."""

MAX_ITERATIONS = 1000

Labels = npt.NDArray[np.integer]


class Linear(NamedTuple):
    """Weights and biases: ``features @ weight.T + bias`` are log-odds."""

    weight: Floats  # (O, M), of the plain binary features
    bias: Floats  # (O,)


def train_and_test_linear(settings: Settings, corpus: Corpus, output_dir: Path, reporter: Reporter) -> RunResult:
    """Fit the n-gram classifier on whole training reviews, and evaluate it; arguments as for `train_and_test`.

    Raises:
        UndefinedObjectiveError: The objective is no number on the validation reviews.
        DataError: The classifier cannot be fitted on these reviews; the message names the remedy.
        OutOfMemoryError: The host ran out of memory.
    """
    started = time.perf_counter()
    classes = len(corpus.class_names)
    with memory_errors("lower model.max_n or data.train_limit, or raise model.min_frequency"):
        network = fit_ngram_classifier(corpus, settings)
        metrics, _ = evaluate(network, corpus.validation, SplitMetrics(classes, "val/"))
        parameters = count_parameters(network)
        seconds = time.perf_counter() - started
        log.info("ngram: %s parameters, fitted in %.1f s", f"{parameters:,}", seconds)
        log.info("  %s", write_line(metrics, settings.selection))
        reporter.validated(metrics, step=1, epoch=EPOCH)
        require_defined(metrics, settings.selection)
        test = None
        if settings.trainer.test:
            tested, test = evaluate(network, corpus.test, SplitMetrics(classes, "test/", calibration=True))
            reporter.tested(tested, step=1, epoch=EPOCH)
            metrics = {**metrics, **tested}
        latency_ms = measure_latency_ms(
            network,
            tokens=settings.data.max_tokens,  # a review as long as the networks are measured on
            vocabulary_size=network.vocabulary_size,
            device=torch.device("cpu"),
            precision=nullcontext(),
            is_objective="time/latency_ms" in settings.objectives,
        )
        whole = replace(Cut.of(settings.data), max_tokens=None)  # as in training
        bundle = save_run_bundle(output_dir / "model", settings, corpus, network, whole)
    return RunResult(
        metrics={**metrics, "time/latency_ms": latency_ms},
        parameters=parameters,
        seconds=seconds,
        epochs=EPOCH,
        best_epoch=EPOCH,
        checkpoint=bundle / WEIGHTS_FILE,
        bundle=bundle,
        class_names=corpus.class_names,
        test=test,
    )


def fit_ngram_classifier(corpus: Corpus, settings: Settings) -> NgramClassifier:
    """Learn the n-grams of the training reviews and their weights.

    Memory: about 16 bytes for every n-gram in every review (a binary matrix and its scaled copy), some 500 MB for
    IMDB's bigrams, beside what `learn_ngrams` takes before.
    """
    model = settings.model
    assert isinstance(model, NgramSettings), f"model={model.name} is no linear classifier"
    classes, size = len(corpus.class_names), corpus.tokenizer.vocabulary_size
    network = NgramClassifier(vocabulary_size=size, classes=classes, max_n=model.max_n, keep_unknown=model.keep_unknown)
    ids, rows = _lay_out(corpus.train)
    network.learn(ids, rows, model.min_frequency)
    if not network.weight.shape[1]:
        raise DataError(
            f"no n-gram stands in {model.min_frequency:,} of the {len(corpus.train):,} training reviews; lower "
            "model.min_frequency"
        )
    reviews, columns = (indices.numpy() for indices in network.find_features(ids, rows))
    ones = np.ones(len(reviews))
    features = csr_matrix((ones, (reviews, columns)), shape=(len(corpus.train), network.weight.shape[1]))
    fitted = fit_linear(features, corpus.train.labels, classes, model, settings.seed)
    network.set_weights(network.ngrams, torch.from_numpy(fitted.weight), torch.from_numpy(fitted.bias))
    return network.eval()


def fit_linear(features: csr_matrix, labels: Labels, classes: int, settings: NgramSettings, seed: int) -> Linear:
    """Fit one classifier for two classes, or each class against the rest, on (N, M) binary features and (N,) labels.

    The seed decides on the order of the reviews within the solver of a support vector machine, and on their folds.

    Raises:
        DataError: A class has too few training reviews to calibrate a support vector machine.
    """
    fits = [_fit_one(features, labels == positive, settings, seed) for positive in list_positives(classes)]
    return Linear(np.stack([fit.weight[0] for fit in fits]), np.concatenate([fit.bias for fit in fits]))


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


def _build_classifier(settings: NgramSettings, seed: int) -> LogisticRegression | LinearSVC:
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
    fewest = min(int(positive.sum()), int((~positive).sum()))
    if fewest < CALIBRATION_FOLDS:
        raise DataError(
            f"model.classifier=svm is calibrated on {CALIBRATION_FOLDS} folds, but a class has {fewest} training "
            "reviews only; give more reviews, or set model.classifier=logistic, which needs no calibration"
        )
    decisions = np.empty(len(positive))
    for rest, fold in StratifiedKFold(CALIBRATION_FOLDS, shuffle=True, random_state=seed).split(features, positive):
        fitted = _fit_scaled(features[rest], positive[rest], settings, seed)
        decisions[fold] = features[fold] @ fitted.weight[0] + fitted.bias[0]
    line = LogisticRegression(C=np.inf).fit(decisions[:, None], positive)
    return float(line.coef_[0, 0]), float(line.intercept_[0])


@torch.inference_mode()
def evaluate(
    network: NgramClassifier, split: EncodedSplit, metrics: SplitMetrics
) -> tuple[dict[str, float], TestPredictions]:
    """Evaluate on the whole reviews of a split.

    Returns:
        The metrics by name, sorted, and the predictions in the order of the split.
    """
    logits = torch.empty(len(split), network.classes)  # (N, K)
    for batch_rows in LengthBatches(split.lengths, EVALUATION_BATCH):
        batch = collate([Item(split[row], int(split.labels[row]), row) for row in batch_rows])
        logits[batch.rows] = network(batch.tokens, batch.mask)
    labels, probabilities = torch.tensor(split.labels), logits.softmax(dim=1)  # a copy: the cache is read-only
    loss = F.cross_entropy(logits, labels).double()  # which stays what it is, times the reviews and by them again
    metrics.update(probabilities, labels, loss)
    values = {name: float(value) for name, value in sorted(metrics.compute().items())}
    return values, TestPredictions(labels=split.labels, probabilities=probabilities.numpy())


def _lay_out(split: EncodedSplit) -> tuple[Tensor, Tensor]:
    """Return (P,) ids of all reviews one after another, and the (P,) number of each one's review, both int64."""
    ids = torch.from_numpy(split.ids.astype(np.int64))
    return ids, torch.repeat_interleave(torch.arange(len(split)), torch.from_numpy(split.lengths))
