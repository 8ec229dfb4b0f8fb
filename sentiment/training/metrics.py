"""The metrics of a split, from torchmetrics; one that the split's classes leave undefined is NaN, and no objective."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_auroc, multiclass_f1_score
from torchmetrics.utilities.distributed import gather_all_tensors

from sentiment.config.objective import METRICS, Metric
from sentiment.config.schema import Settings
from sentiment.data.corpus import Corpus
from sentiment.errors import SentimentError
from sentiment.format import format_count, join_names
from sentiment.training.measures import measure_calibration_error

log = logging.getLogger(__name__)


class UndefinedObjectiveError(SentimentError):
    """An objective is undefined on the validation reviews."""


class MetricError(SentimentError):
    """A metric's own code failed."""


class SplitMetrics:
    """Accuracy, F1 and AUROC of a split, under names such as ``val/accuracy``.

    The others of `sentiment.config.objective.METRICS`, one's own among them, follow from all labels and probabilities.
    With two classes F1 and AUROC are those of class 1 (positive); with more they are averaged over the classes that
    the split has. Without a review of class 1 its F1 is NaN, with reviews of a single class AUROC is.

    They are those of the whole split on every replica of a run, each of which adds its share of the reviews.

    Args:
        classes: Number of classes K.
        prefix: ``val/`` or ``test/``.
        calibration: Also the expected calibration error, ``ece``.
        is_resample: The reviews are drawn from those of a split, and may lack a class of it: what is measured by code
            of one's own, which may insist on every class, is then undefined where that code fails.
    """

    def __init__(self, classes: int, prefix: str, *, calibration: bool = False, is_resample: bool = False) -> None:
        self.classes, self.prefix = classes, prefix
        self.calibration, self.is_resample = calibration, is_resample
        self._seen: list[tuple[Tensor, Tensor]] = []  # batches of probabilities and labels
        self._losses: list[Tensor] = []  # sums over batches

    def update(self, probabilities: Tensor, labels: Tensor, loss: Tensor | None = None) -> None:
        """Add a batch of (B, K) probabilities and (B,) labels, and its mean loss for the ``loss`` of the split."""
        self._seen.append((probabilities.detach(), labels))
        if loss is not None:
            self._losses.append(loss.detach() * len(labels))

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of all batches since the last reset."""
        assert self._seen, "a split has reviews"
        probabilities, labels = (gather(torch.cat(parts)) for parts in zip(*self._seen, strict=True))
        if broken := int((~probabilities.isfinite().all(dim=1)).sum()):
            return self._leave_undefined(broken, len(labels))
        with warnings.catch_warnings():
            # It warns of classes without a review, and counts them as 0; here they do not count.
            warnings.filterwarnings("ignore", "No (positive|negative) samples in targets", UserWarning)
            accuracy = multiclass_accuracy(probabilities, labels, self.classes, average="micro")
            f1 = multiclass_f1_score(probabilities, labels, self.classes, average="none")
            auroc = multiclass_auroc(probabilities, labels, self.classes, average="none")
        support = torch.bincount(labels, minlength=self.classes)  # (K,) reviews of each class
        present = support > 0
        auroc = auroc.clamp(max=1.0)  # a sum of float32 steps, which may come to 1.0000001
        values = {
            "accuracy": accuracy,
            "auroc": _average(auroc, present & (support < support.sum())),
            "f1": _average(f1, present),
        }
        probabilities, labels = probabilities.cpu(), labels.cpu()
        if self.calibration:
            error = measure_calibration_error(labels.numpy(), probabilities.float().numpy())
            values["ece"] = torch.tensor(error, dtype=torch.float32)
        if self._losses:
            values["loss"] = gather(sum(self._losses, torch.zeros(1).to(self._losses[0]))).sum() / len(labels)
        for metric in METRICS.values():
            if metric.target is not None:
                value = self._measure(metric, labels, probabilities.float())
                values[metric.name] = torch.tensor(value, dtype=torch.float32)
        return {f"{self.prefix}{name}": value for name, value in values.items()}

    def _leave_undefined(self, broken: int, reviews: int) -> dict[str, Tensor]:
        """Measure nothing: most metrics would count a review without an answer as of some class, others would fail."""
        split, answers = self.prefix.rstrip("/"), format_count(reviews, "answer")
        log.warning("%s: %s of %s are no numbers, which leaves all metrics undefined.", split, f"{broken:,}", answers)
        names = [name for name in METRICS if name != "loss" or self._losses] + ["ece"] * self.calibration
        return {f"{self.prefix}{name}": torch.tensor(torch.nan) for name in names}

    def _measure(self, metric: Metric, labels: Tensor, probabilities: Tensor) -> float:
        if not self.is_resample:
            return measure(metric, labels, probabilities)
        with suppress(MetricError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is said of the split itself
            return measure(metric, labels, probabilities)
        return math.nan

    def reset(self) -> None:
        """Forget all batches."""
        self._seen.clear()
        self._losses.clear()


def gather(rows: Tensor) -> Tensor:
    """Return the rows of all replicas, each of which calls this; they may have different numbers of them."""
    is_one_of_several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.cat(gather_all_tensors(rows)) if is_one_of_several else rows


def measure(metric: Metric, labels: Tensor, probabilities: Tensor) -> float:
    """Measure (N,) labels and (N, K) probabilities.

    Raises:
        MetricError: The metric's own code failed.
    """
    target: Any = resolve_name(metric.target) if isinstance(metric.target, str) else metric.target
    labels, probabilities = labels.clone(), probabilities.clone()  # those given are the other metrics' too
    try:
        if isinstance(target, type):
            return float(target(num_classes=probabilities.shape[1])(probabilities, labels))
        return float(target(labels.numpy(), probabilities.numpy()))
    except Exception as error:  # a file of one's own can raise anything
        place = getattr(target, "__module__", "its file")
        raise MetricError(
            f"The metric {metric.name} failed: {type(error).__name__}: {error}", f"correct it in {place}"
        ) from error


def _average(values: Tensor, is_defined: Tensor) -> Tensor:
    """Average (K,) values over the classes for which they are defined; of two classes, take that of class 1."""
    if len(values) == 2:
        values, is_defined = values[1:], is_defined[1:]
    return values[is_defined].mean() if is_defined.any() else torch.full_like(values[0], torch.nan)


def check_metrics(settings: Settings, corpus: Corpus) -> None:
    """Say which metrics of a run will be undefined or lack a class, and refuse objectives among them.

    Raises:
        UndefinedObjectiveError: With every such objective.
    """
    faults = []
    measured = [("val/", corpus.validation), *([("test/", corpus.test)] if settings.trainer.test else [])]
    for prefix, split in measured:
        absent, undefined = find_gaps(np.bincount(split.labels, minlength=len(corpus.class_names)), corpus.class_names)
        reason = f"no review is of the class {join_names(absent)}"
        for metric in (f"{prefix}{name}" for name in undefined):
            if metric in settings.objectives:
                faults.append(f"  {metric}: {reason}")
            else:
                log.warning("%s is undefined: %s.", metric, reason)
        if absent:
            log.warning("%saccuracy, and all that is measured beside it, lacks a class: %s.", prefix, reason)
    if faults:
        raise UndefinedObjectiveError(
            "\n".join(["An objective is undefined on these validation reviews:", *faults]),
            "choose another, e.g. objective=val/accuracy or val/loss, or let validation have every class: "
            "a larger data.validation_fraction, or more reviews of it where validation is a split of the data's own",
        )


def require_defined(metrics: Mapping[str, float], objective: str) -> None:
    """Insist that the objective is a number at a run's best validation, where NaN says that it was one at none.

    Raises:
        UndefinedObjectiveError: It is not.
    """
    if math.isnan(metrics[objective]):
        raise UndefinedObjectiveError(
            f"{objective} was no number at any validation, so that no checkpoint could be selected by it.",
            "choose another, e.g. objective=val/accuracy or val/loss; where the answers were no numbers either, lower "
            "optimizer.lr or use trainer.precision=32-true",
        )


def find_gaps(counts: Sequence[int] | np.ndarray, class_names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the classes without a review, of (K,) reviews of each, and the metrics that they leave undefined."""
    absent = [name for name, count in zip(class_names, counts, strict=True) if not count]
    undefined = ["auroc", "mcc"] if len(absent) == len(class_names) - 1 else []
    return absent, [*undefined, *(["f1"] if len(class_names) == 2 and not counts[1] else [])]
