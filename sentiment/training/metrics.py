"""The metrics of a split, from torchmetrics."""

from __future__ import annotations

from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassF1Score,
)

CALIBRATION_BINS = 15  # as in Guo et al. 2017, "On Calibration of Modern Neural Networks"


def build_metrics(classes: int, prefix: str, *, calibration: bool = False) -> MetricCollection:
    """Collect accuracy, F1 and AUROC under names such as ``val/accuracy``.

    With two classes F1 and AUROC are those of class 1 (positive); with more they are averaged over the classes. The
    metrics take (B, K) probabilities and (B,) labels; see `update_metrics`.

    Args:
        classes: Number of classes K.
        prefix: ``val/`` or ``test/``.
        calibration: Also the expected calibration error, ``ece``.
    """
    metrics: dict[str, Metric] = {
        "accuracy": MulticlassAccuracy(classes, average="micro"),
        "f1": BinaryF1Score() if classes == 2 else MulticlassF1Score(classes, average="macro"),
        "auroc": BinaryAUROC() if classes == 2 else MulticlassAUROC(classes, average="macro"),
    }
    if calibration:
        metrics["ece"] = MulticlassCalibrationError(classes, n_bins=CALIBRATION_BINS, norm="l1")
    # Without compute groups: they would merge metrics of unlike inputs (binary scores, class probabilities).
    return MetricCollection(metrics, prefix=prefix, compute_groups=False)
