"""A run of the n-gram classifier: same result, same files and same reports as a network's."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.data.build import build_corpus, build_source
from sentiment.errors import DataError, OutOfMemoryError
from sentiment.models.bundle import Predictor
from sentiment.training import device, linear
from sentiment.training.device import name_device
from sentiment.training.lightning_setup import memory_errors
from sentiment.training.metrics import SplitMetrics, UndefinedObjectiveError
from sentiment.training.run import train_and_test

METRICS = {"loss", "accuracy", "f1", "auroc", "macro_f1", "balanced_accuracy", "mcc", "brier"}


@pytest.fixture
def ngram_settings(cache_dir):
    def compose_settings(*overrides):
        small = (
            "data.train_size=600", "data.test_size=100", "data.max_sentences=3", "data.difficulty=0",
            "data.label_noise=0", f"data.cache_dir={cache_dir}", "trainer.threads=1", "tracking=none",
        )  # fmt: skip
        with initialize_config_dir(str(PROJECT_DIR / "conf")):
            config = compose("config", ["model=ngram", *small, *overrides])
        return read_settings(config, Path.cwd())

    return compose_settings


def learned(result):
    """The metrics less the wall times, which are no result."""
    return {name: value for name, value in result.metrics.items() if not name.startswith("time/")}


def test_a_run_learns_and_reports_as_a_network_does(ngram_settings, small_corpus, reporter, tmp_path):
    result = train_and_test(ngram_settings(), small_corpus, tmp_path, reporter)
    [(step, epoch, validated)] = reporter.of_kind("validated")
    assert (step, epoch) == (1, 1.0)
    assert set(validated) == {f"val/{name}" for name in METRICS}
    [(_, _, tested)] = reporter.of_kind("tested")
    assert set(tested) == {f"test/{name}" for name in METRICS | {"ece"}}
    assert learned(result) == {**validated, **tested}
    assert 0 < result.metrics["time/latency_ms"] < 1000
    assert result.metrics["val/accuracy"] > 0.9
    assert result.test is not None
    np.testing.assert_array_equal(result.test.labels, small_corpus.test.labels)
    assert np.trace(result.test.confusion()) / 100 == pytest.approx(tested["test/accuracy"])
    assert result.checkpoint.is_file()


def test_a_test_is_no_time_of_training(ngram_settings, small_corpus, recording_reporter, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(linear, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow(recording_reporter):
        def tested(self, metrics, **at):
            now[0] += 1000

    assert train_and_test(ngram_settings(), small_corpus, tmp_path, Slow()).seconds == 0


def test_an_objective_that_is_no_number_ends_the_run(ngram_settings, small_corpus, reporter, tmp_path, monkeypatch):
    compute = SplitMetrics.compute
    monkeypatch.setattr(SplitMetrics, "compute", lambda self: compute(self) | {"val/brier": torch.tensor(torch.nan)})
    with pytest.raises(UndefinedObjectiveError, match="val/brier was no number at any validation"):
        train_and_test(ngram_settings("objective=val/brier"), small_corpus, tmp_path, reporter)
    assert reporter.of_kind("tested") == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fit_has_the_threads_that_its_record_names(
    ngram_settings, small_corpus, reporter, tmp_path, monkeypatch, threads
):
    counts = []
    fit = linear.fit_linear
    monkeypatch.setattr(linear, "fit_linear", lambda *given: counts.append(torch.get_num_threads()) or fit(*given))
    settings = ngram_settings(f"trainer.threads={threads}")
    train_and_test(settings, small_corpus, tmp_path, reporter)
    assert [f"cpu ({count} thread{'s' if count > 1 else ''})" for count in counts] == [name_device(settings)]


def test_its_probabilities_are_those_of_a_scikit_learn_pipeline(ngram_settings, small_corpus, reporter, tmp_path):
    result = train_and_test(ngram_settings(), small_corpus, tmp_path, reporter)
    train, test = (
        [" ".join(map(str, split[row])) for row in range(len(split))]
        for split in (small_corpus.train, small_corpus.test)
    )
    vectorizer = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), min_df=2, binary=True)
    seen = vectorizer.fit_transform(train)
    labels = small_corpus.train.labels
    p, q = (1 + np.asarray(seen[labels == k].sum(axis=0)) for k in (1, 0))
    ratio = np.log((p / p.sum()) / (q / q.sum()))
    model = LogisticRegression(C=0.1, max_iter=1000).fit(seen.multiply(ratio).tocsr(), labels)
    expected = model.predict_proba(vectorizer.transform(test).multiply(ratio).tocsr())
    np.testing.assert_allclose(result.test.probabilities, expected, atol=1e-5)
    assert result.parameters == seen.shape[1] + 1


def test_the_bundle_answers_for_texts_as_the_run_did_for_the_test_split(ngram_settings, reporter, tmp_path):
    settings = ngram_settings()
    result = train_and_test(settings, build_corpus(settings.data), tmp_path, reporter)
    predictor = Predictor.load(result.bundle)
    texts = build_source(settings.data).load().test.texts
    predictions = predictor.predict(texts)
    np.testing.assert_allclose(predictions.probabilities, result.test.probabilities, atol=1e-6)
    assert predictor.cut.max_tokens is None


def test_whole_reviews_are_read_whatever_networks_may_see(ngram_settings, small_corpus, reporter, tmp_path):
    whole = train_and_test(ngram_settings(), small_corpus, tmp_path / "a", reporter)
    short = train_and_test(ngram_settings("data.max_tokens=2"), small_corpus, tmp_path / "b", reporter)
    assert learned(short) == learned(whole)


@pytest.mark.parametrize("classifier", ["logistic", "svm"])
def test_equal_seeds_give_equal_figures_whatever_has_no_part_in_them(
    ngram_settings, small_corpus, reporter, tmp_path, classifier
):
    first = train_and_test(ngram_settings(f"model.classifier={classifier}"), small_corpus, tmp_path / "a", reporter)
    settings = ngram_settings(
        f"model.classifier={classifier}", "optimizer=sgd", "optimizer.lr=7", "trainer.max_epochs=1"
    )
    second = train_and_test(settings, small_corpus, tmp_path / "b", reporter)
    assert learned(second) == learned(first)


def test_the_logistic_one_does_not_depend_on_the_seed(ngram_settings, small_corpus, reporter, tmp_path):
    first = train_and_test(ngram_settings("seed=0"), small_corpus, tmp_path / "a", reporter)
    second = train_and_test(ngram_settings("seed=1"), small_corpus, tmp_path / "b", reporter)
    assert learned(second) == learned(first)


def test_the_test_split_is_left_alone_where_asked(ngram_settings, small_corpus, reporter, tmp_path, monkeypatch):
    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError("the test split was touched")

    object.__setattr__(small_corpus, "test", Untouchable())
    result = train_and_test(ngram_settings("trainer.test=false"), small_corpus, tmp_path, reporter)
    assert result.test is None
    assert reporter.of_kind("tested") == []
    assert not any(name.startswith("test/") for name in result.metrics)


def test_memory_errors_become_one_with_a_remedy(ngram_settings, small_corpus, reporter, tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise MemoryError

    monkeypatch.setattr(linear.NgramClassifier, "learn", fail)
    with pytest.raises(OutOfMemoryError, match=r"lower model\.max_n.*raise model\.min_frequency"):
        train_and_test(ngram_settings(), small_corpus, tmp_path, reporter)


@pytest.mark.parametrize(("composed", "model"), [("ngram_settings", []), ("small_settings", ["model=rnn"])])
def test_a_latency_that_is_an_objective_has_to_be_measured(
    small_corpus, reporter, tmp_path, monkeypatch, request, composed, model
):
    """A study was told of a loss that became no number."""

    @contextmanager
    def exhaust(remedy):
        with memory_errors(remedy):
            raise MemoryError
        yield

    monkeypatch.setattr(device, "memory_errors", exhaust)
    settings = request.getfixturevalue(composed)(*model, "objective=[val/accuracy,time/latency_ms]")
    with pytest.raises(OutOfMemoryError, match=r"lower data\.max_tokens"):
        train_and_test(settings, small_corpus, tmp_path, reporter)


def test_a_frequency_that_no_ngram_has_is_told(ngram_settings, small_corpus, reporter, tmp_path):
    with pytest.raises(DataError, match=r"no n-gram stands in 9,999 of the 540 training .* lower model\.min_frequency"):
        train_and_test(ngram_settings("model.min_frequency=9999"), small_corpus, tmp_path, reporter)


def test_three_classes(reporter, tmp_path):
    words = {"low": "bad", "mid": "plain", "high": "good"}
    rows = [{"text": f"the {word} one {n % 7}", "label": label} for n in range(40) for label, word in words.items()]
    file = tmp_path / "reviews.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        config = compose("config", ["model=ngram", "data=files", f"data.path={file}", "tracking=none",
                                    f"data.cache_dir={tmp_path}", "model.cost=10"])  # fmt: skip
    settings = read_settings(config, Path.cwd())
    result = train_and_test(settings, build_corpus(settings.data), tmp_path, reporter)
    assert result.metrics["test/accuracy"] == 1.0
    np.testing.assert_allclose(result.test.probabilities.sum(axis=1), 1, rtol=1e-5)
    answers = Predictor.load(result.bundle).predict([f"the {word} one" for word in ("good", "bad", "plain")])
    assert answers.labels == ["high", "low", "mid"]


@pytest.mark.slow
def test_prediction_imports_no_scikit_learn(ngram_settings, small_corpus, reporter, tmp_path):
    bundle = train_and_test(ngram_settings(), small_corpus, tmp_path, reporter).bundle
    code = (
        "import sys; from pathlib import Path; from sentiment.models.bundle import Predictor\n"
        "Predictor.load(Path(sys.argv[1])).predict(['fine'])\n"
        "print(sorted({'sklearn', 'scipy'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], cwd=PROJECT_DIR, capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_time_of_a_fit_holds_no_import():
    """The first run of a process would take longer than others equal to it."""
    code = (
        "import sys; import numpy as np; from scipy.sparse import csr_matrix\n"
        "from sentiment.config.schema import NgramSettings; from sentiment.training import linear\n"
        "features, labels, loaded = csr_matrix(np.eye(6)), np.arange(6) % 2, set(sys.modules)\n"
        "learned = dict(name='ngram', max_n=1, min_frequency=1, keep_unknown=False)\n"
        "for classifier in ('logistic', 'svm'):\n"
        "    settings = NgramSettings(classifier=classifier, cost=1, smoothing=1, interpolation=1, **learned)\n"
        "    linear.fit_linear(features, labels, 2, settings, 0)\n"
        "print(sorted(name for name in set(sys.modules) - loaded if name.startswith(('sklearn', 'scipy'))))"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
