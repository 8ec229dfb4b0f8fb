"""A model's metrics on any reviews: those of a run's test, each with an interval that holds it."""

from __future__ import annotations

import io
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from sentiment.config.objective import METRICS, Metric
from sentiment.report.errors.evaluation import bootstrap, measure_all, print_metrics
from sentiment.training.metrics import MetricError


def lose(labels, probabilities):
    return -np.log(probabilities[np.arange(len(labels)), labels])


def measure(labels, probabilities):
    return bootstrap(labels, probabilities, lose(labels, probabilities))


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=120)
    shares = np.clip(0.3 + 0.4 * labels + generator.normal(0, 0.25, 120), 0.01, 0.99)
    return labels, np.stack([1 - shares, shares], axis=1).astype(np.float32)


def test_the_metrics_are_those_of_a_run(answers):
    labels, probabilities = answers
    found = measure_all(labels, probabilities, lose(labels, probabilities))
    assert set(found) >= {"accuracy", "f1", "auroc", "mcc", "brier", "ece", "loss"}
    assert found["loss"] == pytest.approx(-np.log(probabilities[np.arange(120), labels]).mean(), abs=1e-5)


def test_every_metric_has_an_interval_that_holds_it(answers):
    for name, interval in measure(*answers).items():
        if name == "ece":  # resampled bins are noisier than the sample
            assert np.isnan([interval.low, interval.high]).all()
        else:
            assert interval.low < interval.value < interval.high, name


def test_all_right_is_no_certainty():
    right = np.tile(np.array([[0.9, 0.1], [0.1, 0.9]], dtype=np.float32), (10, 1))
    found = measure(np.tile([0, 1], 10), right)
    accuracy = found["accuracy"]
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(0.8389, abs=1e-3), "Wilson's interval of 20 of 20"
    assert found["f1"].value == 1.0
    assert np.isnan([found[name].low for name in ("f1", "macro_f1", "balanced_accuracy", "auroc", "mcc")]).all()
    console = Console(file=io.StringIO(), width=120)
    print_metrics(SimpleNamespace(metrics=found, notes=[]), console)
    printed = console.file.getvalue().splitlines()
    assert [line.split() for line in printed if line.startswith("f1")] == [["f1", "100.00", "%", "-", "-"]]
    assert printed[-1].startswith("-: no interval")


def test_more_reviews_tell_more(answers):
    labels, probabilities = answers
    few = measure(labels, probabilities)["accuracy"]
    many = measure(np.tile(labels, 9), np.tile(probabilities, (9, 1)))["accuracy"]
    assert (many.high - many.low) < (few.high - few.low) / 2


def test_a_metric_that_a_resample_leaves_undefined_has_the_interval_of_the_others(monkeypatch, recwarn):
    def of_both(labels, probabilities):
        warnings.warn(f"{labels.sum()} positive", UserWarning, stacklevel=1)
        if not 0 < labels.sum() < len(labels):
            raise ValueError("Only one class is there")
        return labels.mean()

    monkeypatch.setitem(METRICS, "own", Metric("own", "maximize", of_both))
    labels = (np.arange(60) < 2).astype(np.int64)
    found = measure(labels, np.full((60, 2), 0.5, dtype=np.float32))["own"]
    assert 0 < found.low <= found.value < found.high
    assert len(recwarn) == 1, "of the reviews that there are"
    with pytest.raises(MetricError, match="Only one class"):
        measure(np.zeros(60, dtype=np.int64), np.full((60, 2), 0.5, dtype=np.float32))


def test_what_is_undefined_has_no_interval():
    found = measure(np.ones(4, dtype=np.int64), np.full((4, 2), 0.5, dtype=np.float32))
    assert np.isnan([found["auroc"].value, found["auroc"].low]).all()
