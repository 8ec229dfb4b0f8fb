"""The naive-Bayes ratio against numbers made by hand, and the folded weights against plain scikit-learn pipelines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from sentiment.config.schema import NgramSettings
from sentiment.data.tokenizer import UNK_ID
from sentiment.errors import DataError
from sentiment.models.ngram import NgramClassifier
from sentiment.training.linear import fit_linear
from sentiment.training.naive_bayes import log_count_ratio


@pytest.fixture
def settings():
    def make(**changes):
        defaults = {"name": "ngram", "max_n": 1, "min_frequency": 1, "keep_unknown": False, "classifier": "logistic"}
        return NgramSettings(**{**defaults, "cost": 1.0, "smoothing": 1.0, "interpolation": 1.0, **changes})

    return make


@pytest.fixture
def reviews():
    """120 reviews of three classes: three features each speak for a class, three for none."""
    random = np.random.default_rng(0)
    labels = np.arange(120) % 3
    rates = np.full((120, 6), 0.4)
    rates[np.arange(120), labels] = 0.8
    return csr_matrix((random.random((120, 6)) < rates).astype(float)), labels


def test_the_ratio_of_the_paper_by_hand():
    features = csr_matrix(np.array([[1.0, 1, 0], [1, 0, 0], [0, 1, 1]]))
    positive = np.array([True, True, False])
    # p = 1 + (2, 1, 0) = (3, 2, 1), sum 6; q = 1 + (0, 1, 1) = (1, 2, 2), sum 5
    expected = np.log([(3 / 6) / (1 / 5), (2 / 6) / (2 / 5), (1 / 6) / (2 / 5)])
    np.testing.assert_allclose(log_count_ratio(features, positive, 1.0), expected)
    np.testing.assert_allclose(log_count_ratio(features, ~positive, 1.0), -expected)


def test_the_scores_are_those_of_scikit_learn_on_scaled_features(reviews, settings):
    features, labels = reviews
    positive = labels == 1
    scaled = features.multiply(log_count_ratio(features, positive, 0.5)).tocsr()
    pipeline = LogisticRegression(C=0.3, max_iter=1000).fit(scaled, positive)
    fitted = fit_linear(features, positive.astype(int), 2, settings(cost=0.3, smoothing=0.5), seed=0)
    assert fitted.weight.shape == (1, 6)
    scores = features @ fitted.weight[0] + fitted.bias[0]
    np.testing.assert_allclose(scores, pipeline.decision_function(scaled), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), pipeline.predict_proba(scaled)[:, 1], rtol=1e-9)


def test_several_classes_are_each_one_against_the_rest(reviews, settings):
    features, labels = reviews
    fitted = fit_linear(features, labels, 3, settings(), seed=0)
    assert fitted.weight.shape == (3, 6)
    for k in range(3):
        alone = fit_linear(features, (labels == k).astype(int), 2, settings(), seed=0)
        np.testing.assert_array_equal(fitted.weight[k], alone.weight[0])
    scores = features @ fitted.weight.T + fitted.bias
    assert (scores.argmax(axis=1) == labels).mean() > 0.5  # a third by chance


class ScaledLogistic(ClassifierMixin, BaseEstimator):
    """Logistic regression on features that are scaled by the ratio of the class."""

    def fit(self, features, positive):
        self.ratio_ = log_count_ratio(features, positive == 1, 1.0)
        self.model_ = LogisticRegression(max_iter=1000).fit(features.multiply(self.ratio_).tocsr(), positive)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, features):
        return self.model_.predict_proba(features.multiply(self.ratio_).tocsr())


def test_the_probabilities_of_several_classes_are_those_of_scikit_learn(reviews, settings):
    features, labels = reviews
    fitted = fit_linear(features, labels, 3, settings(), seed=0)
    network = NgramClassifier(vocabulary_size=8, classes=3, max_n=1, keep_unknown=False)
    network.set_weights([torch.arange(2, 8)], *map(torch.from_numpy, fitted))  # feature i is the word of id i + 2
    tokens = torch.from_numpy(np.where(features.toarray() == 1, np.arange(2, 8), UNK_ID))
    probabilities = network(tokens, torch.full((len(labels),), 6)).softmax(dim=1).detach()
    expected = OneVsRestClassifier(ScaledLogistic()).fit(features, labels).predict_proba(features)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)


def test_interpolation_goes_from_the_fit_to_naive_bayes(reviews, settings):
    features, labels = reviews
    positive = (labels == 0).astype(int)
    fitted, half, bayes = (
        fit_linear(features, positive, 2, settings(interpolation=share), seed=0).weight[0] for share in (1.0, 0.5, 0.0)
    )
    ratio = log_count_ratio(features, positive == 1, 1.0)
    np.testing.assert_allclose(half, (fitted + bayes) / 2)
    np.testing.assert_allclose(bayes / ratio, np.abs(fitted / ratio).mean())


def test_a_support_vector_machine_is_calibrated_without_changing_its_order(reviews, settings):
    features, labels = reviews
    positive = labels == 1
    scaled = features.multiply(log_count_ratio(features, positive, 1.0)).tocsr()
    machine = LinearSVC(C=0.1, max_iter=1000, random_state=3).fit(scaled, positive).decision_function(scaled)
    fitted = fit_linear(features, positive.astype(int), 2, settings(classifier="svm", cost=0.1), seed=3)
    scores = features @ fitted.weight[0] + fitted.bias[0]
    slope, intercept = np.polyfit(machine, scores, 1)
    np.testing.assert_allclose(scores, slope * machine + intercept, rtol=1e-9, atol=1e-9)
    assert slope > 0
    assert (1 / (1 + np.exp(-scores))).mean() == pytest.approx(positive.mean(), abs=0.05)  # a margin alone has no scale


def test_calibration_does_not_look_at_the_reviews_it_was_fitted_on(settings):
    """Features that are one review each separate the training reviews perfectly, and tell nothing about others."""
    features = csr_matrix(np.eye(60))
    fitted = fit_linear(features, np.arange(60) % 2, 2, settings(classifier="svm", smoothing=0.1), seed=0)
    scores = features @ fitted.weight[0] + fitted.bias[0]
    assert np.abs(scores).max() < 1


def test_too_few_reviews_to_calibrate_is_an_error_with_the_remedy(settings):
    with pytest.raises(DataError, match=r"a class has 2 training reviews only.*model\.classifier=logistic"):
        fit_linear(csr_matrix(np.eye(6)), np.array([0, 0, 0, 0, 1, 1]), 2, settings(classifier="svm"), seed=0)
