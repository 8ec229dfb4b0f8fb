"""The metrics agree with scikit-learn's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics.classification import MulticlassCohenKappa

from sentiment.config import objective
from sentiment.config.schema import AdamSettings, ConstantSettings
from sentiment.data.batching import Batch
from sentiment.training import metrics as metrics_module
from sentiment.training.metrics import MetricError, SplitMetrics, UndefinedObjectiveError, check_metrics
from sentiment.training.module import TextClassificationModule
from sentiment.training.run import train_and_test


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
    assert found["test/macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"), abs=1e-6)
    assert found["test/balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted), abs=1e-6)
    assert found["test/mcc"] == pytest.approx(sk.matthews_corrcoef(labels, predicted), abs=1e-6)
    if classes == 2:
        assert found["test/brier"] == pytest.approx(sk.brier_score_loss(labels, scores), abs=1e-6)
    assert found["test/ece"] == pytest.approx(expected_calibration_error(labels, probabilities), abs=1e-5)


def measure(probabilities: list[list[float]], labels: list[int]) -> dict[str, float]:
    metrics = SplitMetrics(len(probabilities[0]), "val/")
    metrics.update(torch.tensor(probabilities), torch.tensor(labels))
    return {name: float(value) for name, value in metrics.compute().items()}


def test_a_confidence_of_1_shares_its_bin_with_those_just_below():
    metrics = SplitMetrics(2, "test/", calibration=True)
    metrics.update(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.95, 0.05], [0.95, 0.05]]), torch.tensor([0, 1, 0, 0]))
    assert float(metrics.compute()["test/ece"]) == pytest.approx(0.225)  # and not 0.275


def test_a_class_that_the_split_lacks_does_not_count():
    """A perfect model is perfect on what there is; a class without a review was a 0 in the mean before."""
    found = measure([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.1, 0.2]], [0, 1, 0])
    assert (found["val/accuracy"], found["val/f1"], found["val/auroc"]) == (1, 1, 1)


@pytest.mark.parametrize("calibration", [False, True])
def test_answers_that_are_no_number_leave_nothing_defined(calibration, own_metric, caplog):
    """Most measures would take such a review for one of the first class, and some of one's own would fail."""
    own_metric(lambda labels, probabilities: sk.average_precision_score(labels, probabilities[:, 1]))
    found = []
    for second in (0.4, float("nan")):
        metrics = SplitMetrics(2, "test/", calibration=calibration)
        metrics.update(torch.tensor([[0.8, 0.2], [second, 0.6], [0.3, 0.7]]), torch.tensor([0, 0, 1]), torch.tensor(1))
        found.append({name: float(value) for name, value in metrics.compute().items()})
    whole, broken = found
    assert broken.keys() == whole.keys()
    assert all(value != value for value in broken.values()), broken
    assert caplog.messages == ["test: 1 of 3 answers are no numbers, which leaves all metrics undefined."]


def test_answers_of_one_class_have_no_correlation_and_a_single_class_leaves_it_undefined():
    assert measure([[0.8, 0.2], [0.7, 0.3]], [0, 1])["val/mcc"] == 0
    assert np.isnan(measure([[0.8, 0.2], [0.7, 0.3]], [1, 1])["val/mcc"])


def test_the_brier_score_of_several_classes_adds_up_their_squares():
    assert measure([[0.5, 0.5, 0.0]], [0])["val/brier"] == pytest.approx(0.5)


@pytest.fixture
def own_metric(monkeypatch):
    """Register a metric of one's own for a test."""
    monkeypatch.setattr(objective, "METRICS", dict(objective.METRICS))
    monkeypatch.setattr(metrics_module, "METRICS", objective.METRICS)

    def register(target, direction="minimize"):
        objective.METRICS["own"] = objective.Metric("own", direction, target)

    return register


def test_a_metric_of_ones_own_is_a_function_of_labels_and_probabilities(own_metric):
    own_metric(lambda labels, probabilities: float(probabilities[labels == 1, 1].min()))
    assert measure([[0.8, 0.2], [0.7, 0.3]], [1, 1])["val/own"] == pytest.approx(0.2)
    assert objective.find_direction("val/own") == "minimize"


def test_a_metric_of_ones_own_is_a_class_of_torchmetrics(own_metric):
    own_metric(MulticlassCohenKappa, "maximize")
    assert measure([[0.8, 0.2], [0.3, 0.7]], [0, 1])["val/own"] == 1


def write_into(labels, probabilities):
    labels[:], probabilities[:] = 0, float("inf")
    return 1.0


class Writing:
    def __init__(self, num_classes):
        pass

    def __call__(self, probabilities, labels):
        return write_into(labels, probabilities)


@pytest.mark.parametrize("kind", [write_into, Writing])
def test_what_a_metric_of_ones_own_writes_into_its_arrays_is_nobody_elses(own_metric, kind):
    expected = measure([[0.8, 0.2], [0.3, 0.7]], [0, 1])
    own_metric(kind)
    objective.METRICS["mcc"] = objective.METRICS.pop("mcc")  # after it, as that of a later file
    assert measure([[0.8, 0.2], [0.3, 0.7]], [0, 1]) == expected | {"val/own": 1}


def test_a_metric_that_fails_is_named(own_metric):
    own_metric(lambda labels, probabilities: labels.nothing)
    with pytest.raises(MetricError, match="metric own failed: AttributeError"):
        measure([[0.8, 0.2]], [0])


@pytest.mark.parametrize("label", [0, 1])
def test_what_one_class_leaves_undefined_is_no_number(label: int):
    found = measure([[0.8, 0.2], [0.7, 0.3]], [label, label])
    assert np.isnan(found["val/auroc"])
    assert np.isnan(found["val/f1"]) == (label == 0)
    assert found["val/accuracy"] == 1 - label


@settings(max_examples=25)
@given(st.integers(2, 5), st.lists(st.integers(0, 4), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_present_classes_agree_with_scikit_learn(classes, labels, random):
    labels = np.array(labels) % classes
    probabilities = np.array([[random.random() + 0.01 for _ in range(classes)] for _ in labels])
    probabilities = (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)
    found = measure(probabilities.tolist(), labels.tolist())
    each = [
        sk.roc_auc_score(labels == index, probabilities[:, index])
        for index in range(1 if classes == 2 else 0, classes)
        if 0 < (labels == index).sum() < len(labels)
    ]
    assert found["val/auroc"] == pytest.approx(np.mean(each) if each else np.nan, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("reviews", [100, 248, 430, 780, 885])
def test_no_order_is_better_than_perfect(reviews):
    labels = (torch.arange(reviews) >= reviews - (reviews // 3 + 1)).long()
    scores = torch.linspace(0, 1, reviews)
    split = SplitMetrics(2, "val/")
    split.update(torch.stack([1 - scores, scores], dim=1), labels)
    assert float(split.compute()["val/auroc"]) == pytest.approx(1.0)
    assert split.compute()["val/auroc"] <= 1


@pytest.mark.parametrize("objective", ["val/auroc", "[val/accuracy,val/f1]"])
def test_an_undefined_metric_is_no_objective(objective, small_settings, small_corpus, reporter, tmp_path):
    labels = np.zeros_like(small_corpus.validation.labels)
    corpus = replace(small_corpus, validation=replace(small_corpus.validation, labels=labels))
    with pytest.raises(UndefinedObjectiveError, match=r"val/(auroc|f1): no review is of the class "):
        train_and_test(small_settings("model=rnn", f"objective={objective}"), corpus, tmp_path, reporter)
    assert reporter.reports == []


def test_a_class_that_a_split_lacks_is_told_of_all_metrics(small_settings, small_corpus, caplog):
    corpus = replace(small_corpus, class_names=("negative", "positive", "mixed"))
    check_metrics(small_settings("model=rnn"), corpus)
    lacking = "accuracy, and all that is measured beside it, lacks a class: no review is of the class mixed."
    assert [record.message for record in caplog.records] == [f"val/{lacking}", f"test/{lacking}"]


def test_an_undefined_metric_is_said_once_and_recorded_as_such(
    small_settings, small_corpus, reporter, tmp_path, caplog, recwarn
):
    labels = np.zeros_like(small_corpus.validation.labels)
    corpus = replace(small_corpus, validation=replace(small_corpus.validation, labels=labels))
    result = train_and_test(small_settings("model=rnn"), corpus, tmp_path, reporter)
    assert caplog.text.count("val/auroc is undefined: no review is of the class") == 1
    assert np.isnan(result.metrics["val/auroc"])
    assert 0 <= result.metrics["test/auroc"] <= 1
    assert [str(one.message) for one in recwarn if "samples in targets" in str(one.message)] == []


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[index == b].mean() - correct[index == b].mean()) * (index == b).sum() for b in set(index)]
    return float(sum(gaps) / len(labels))
