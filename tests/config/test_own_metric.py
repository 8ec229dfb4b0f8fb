"""A metric of one's own joins the others when its file is loaded, and a broken one leaves nothing behind."""

from __future__ import annotations

from functools import partial

import pytest
from torchmetrics.classification import MulticlassCohenKappa, MulticlassFBetaScore, MultilabelAccuracy

from sentiment.config import extension, objective
from sentiment.config.extension import ExtensionError, add_metric


@pytest.fixture(autouse=True)
def _loading(monkeypatch):
    monkeypatch.setattr(objective, "METRICS", dict(objective.METRICS))
    monkeypatch.setattr(extension, "METRICS", objective.METRICS)
    monkeypatch.setattr(extension, "_being_loaded", ["a file"])


def test_a_metric_joins_the_objectives():
    @add_metric("surprise", "minimize")
    def measure(labels, probabilities):
        return 0.0

    assert "val/surprise" in objective.list_measured()
    assert objective.find_direction("test/surprise") == "minimize"
    assert objective.is_leading("val/surprise")


def test_a_class_of_torchmetrics_and_a_measure_of_ten_classes_alone_join():
    add_metric("kappa", "maximize")(MulticlassCohenKappa)
    add_metric("tenth", "minimize")(lambda labels, probabilities: probabilities[:, 9].mean())
    assert {"kappa", "tenth"} <= objective.METRICS.keys()


@pytest.mark.parametrize(
    ("name", "direction", "target", "problem"),
    [
        ("accuracy", "maximize", lambda labels, probabilities: 0.0, "it is taken"),
        ("My-Metric", "maximize", lambda labels, probabilities: 0.0, "small letters"),
        ("mine", "upwards", lambda labels, probabilities: 0.0, "no direction"),
        ("mine", "maximize", lambda labels, probabilities, texts: 0.0, "with labels and probabilities: .* 'texts'"),
        ("mine", "maximize", partial(max, default=0.0), "no function or class"),
        ("mine", "maximize", MulticlassFBetaScore, "with num_classes alone: .* 'beta'"),
        ("mine", "maximize", MultilabelAccuracy, "with num_classes alone: .*num_labels"),
    ],
)
def test_a_faulty_metric_is_refused(name, direction, target, problem):
    with pytest.raises(ExtensionError, match=problem):
        add_metric(name, direction)(target)
    assert name not in objective.METRICS or name == "accuracy"
