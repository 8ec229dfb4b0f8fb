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


def test_a_class_of_torchmetrics_and_a_measure_of_three_classes_alone_join():
    add_metric("kappa", "maximize")(MulticlassCohenKappa)
    add_metric("third", "minimize")(lambda labels, probabilities: probabilities[:, 2].mean())
    add_metric("undefined", "minimize")(lambda labels, probabilities: float("nan"))
    assert {"kappa", "third", "undefined"} <= objective.METRICS.keys()


@pytest.mark.parametrize(
    ("name", "direction", "target", "problem"),
    [
        ("accuracy", "maximize", lambda labels, probabilities: 0.0, "it is taken"),
        ("My-Metric", "maximize", lambda labels, probabilities: 0.0, "small letters"),
        ("mine", "upwards", lambda labels, probabilities: 0.0, "no direction"),
        ("mine", "maximize", lambda labels, probabilities, texts: 0.0, "does not measure three reviews: .* 'texts'"),
        ("mine", "maximize", lambda labels, probabilities: "high", "does not measure three reviews: ValueError"),
        ("mine", "maximize", partial(max, default=0.0), "no function or class"),
        ("mine", "maximize", MulticlassFBetaScore, "does not measure three reviews: .* 'beta'"),
        ("mine", "maximize", MultilabelAccuracy, "does not measure three reviews: .*num_labels"),
    ],
)
def test_a_faulty_metric_is_refused(name, direction, target, problem):
    with pytest.raises(ExtensionError, match=problem):
        add_metric(name, direction)(target)
    assert name not in objective.METRICS or name == "accuracy"
