"""The metrics of a split, from torchmetrics."""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassCalibrationError,
    MulticlassF1Score,
)

CALIBRATION_BINS = 15  # as in Guo et al. 2017, "On Calibration of Modern Neural Networks"


class SplitMetrics(nn.Module):
    """Accuracy, F1 and AUROC of a split, under names such as ``val/accuracy``.

    With two classes F1 and AUROC are those of class 1 (positive); with more they are averaged over the classes.

    Args:
        classes: Number of classes K.
        prefix: ``val/`` or ``test/``.
        calibration: Also the expected calibration error, ``ece``.
    """

    def __init__(self, classes: int, prefix: str, *, calibration: bool = False) -> None:
        super().__init__()
        self.of_classes = MetricCollection({"accuracy": MulticlassAccuracy(classes, average="micro")}, prefix=prefix)
        self.of_positive = MetricCollection({}, prefix=prefix)
        if calibration:
            self.of_classes.add_metrics({"ece": MulticlassCalibrationError(classes, CALIBRATION_BINS, norm="l1")})
        if classes == 2:
            self.of_positive.add_metrics({"f1": BinaryF1Score(), "auroc": BinaryAUROC()})
        else:
            f1, auroc = MulticlassF1Score(classes, average="macro"), MulticlassAUROC(classes, average="macro")
            self.of_classes.add_metrics({"f1": f1, "auroc": auroc})

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add a batch of (B, K) probabilities and (B,) labels."""
        self.of_classes.update(probabilities, labels)
        self.of_positive.update(probabilities[:, 1], labels)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of all batches since the last reset."""
        return {**self.of_classes.compute(), **self.of_positive.compute()}

    def reset(self) -> None:
        """Forget all batches."""
        self.of_classes.reset()
        self.of_positive.reset()
