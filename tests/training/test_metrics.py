"""The metrics agree with scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from sentiment.config.schema import AdamSettings, ConstantSettings
from sentiment.data.batching import Batch
from sentiment.training.module import TextClassificationModule


class Answers(torch.nn.Module):
    """Gives stored logits, chosen by the first token."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.logits[tokens[:, 0]]


@pytest.mark.parametrize("classes", [2, 4])
def test_metrics_agree_with_scikit_learn(classes):
    generator = np.random.default_rng(0)
    labels = generator.integers(classes, size=200)
    logits = torch.tensor(generator.normal(size=(200, classes)) + 2 * np.eye(classes)[labels], dtype=torch.float32)
    module = TextClassificationModule(
        Answers(logits),
        classes=classes,
        optimizer=AdamSettings(name="adam", lr=0.1, beta1=0.9, beta2=0.9),
        scheduler=ConstantSettings(name="constant", warmup_fraction=0.0),
    )
    module.log = lambda *args, **options: None
    for rows in torch.arange(200).split(32):
        batch = Batch(rows[:, None], torch.ones(len(rows), 1, dtype=torch.bool), torch.tensor(labels)[rows], rows)
        module.test_step(batch, 0)
    found = {name: float(value) for name, value in module.test_metrics.compute().items()}

    probabilities = logits.softmax(dim=1).numpy()
    predicted = probabilities.argmax(axis=1)
    average = "binary" if classes == 2 else "macro"
    scores = probabilities[:, 1] if classes == 2 else probabilities
    assert found["test/accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert found["test/f1"] == pytest.approx(sk.f1_score(labels, predicted, average=average), abs=1e-6)
    assert found["test/auroc"] == pytest.approx(sk.roc_auc_score(labels, scores, multi_class="ovr"), abs=1e-6)
    assert found["test/ece"] == pytest.approx(expected_calibration_error(labels, probabilities), abs=1e-5)


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[index == b].mean() - correct[index == b].mean()) * (index == b).sum() for b in set(index)]
    return float(sum(gaps) / len(labels))
