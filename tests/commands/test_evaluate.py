"""``python -m sentiment evaluate`` measures on reviews that its model has not learned from, or says so."""

from __future__ import annotations

import argparse
import json
import re
import shutil

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from sentiment.commands import evaluate
from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.data.batching import Cut
from sentiment.data.build import build_corpus
from sentiment.data.fingerprint import UNTOLD, hash_reviews
from sentiment.data.texts import LabelledReviews
from sentiment.errors import DataError, SentimentError, TrackingError
from sentiment.models.bundle import LEARNED_FILE, SETTINGS_FILE, Predictor
from sentiment.report.errors import evaluation
from sentiment.report.errors.evaluation import evaluate as evaluate_reviews
from sentiment.tracking.model_source import find_model_source
from sentiment.tracking.result_file import ResultRecord, write_result
from sentiment.training.metrics import SplitMetrics
from sentiment.training.run import build_module, save_run_bundle


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(evaluation, "RESAMPLES", 30)


@pytest.fixture
def data(tmp_path):
    """The settings of reviews of which a part is held out as the test, but for the seed of that part."""
    firsts, seconds = ("fine", "dull", "odd", "long", "slow", "warm"), ("film", "plot", "cast", "end")
    texts = [f"{first} {second}" for first in firsts for second in seconds]
    lines = [f"{text} indeed,{number % 2}" for number, text in enumerate(texts)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    return ["data=files", f"data.path={tmp_path}/reviews.csv", "data.test_fraction=0.4"]


@pytest.fixture
def train(data, tmp_path):
    """Writes the bundle of a model of the reviews, and returns its folder."""

    def write(start=None):
        small = ["model.embedding_size=8", "model.heads=2", "model.depth=1", "tracking=none"]
        small += [f"data.cache_dir={tmp_path}/cache", "data.tokenizer.min_frequency=1"]
        with initialize_config_dir(str(PROJECT_DIR / "conf")):
            settings = read_settings(compose("config", [*data, *small, "data.split_seed=1"]), tmp_path)
        corpus = build_corpus(settings.data)
        network = build_module(settings, corpus).network
        return save_run_bundle(tmp_path / "model", settings, corpus, network, Cut.of(settings.data), start)

    return write


@pytest.fixture
def call(data, tmp_path, capsys):
    def evaluate_it(model, *changes, output=tmp_path / "out"):
        parser = argparse.ArgumentParser()
        evaluate.add_arguments(parser)
        place = [] if output is None else ["--output", str(output)]
        evaluate.run(parser.parse_args(["--model", str(model), "--data", *data, *changes, *place, "--no-explain"]))
        return " ".join(capsys.readouterr().out.split())

    return evaluate_it


def test_reviews_that_the_model_learned_from_are_left_out_of_the_figures_and_counted(train, call, tmp_path):
    bundle = train()
    assert "Attention" not in call(bundle, "data.split_seed=1")
    printed = call(bundle, "data.split_seed=2")
    left_out = int(re.search(r"(\d+) others stood in the model's own training, validation or pretraining", printed)[1])
    assert 0 < left_out < 10
    assert f"of {10 - left_out} given reviews are right" in printed
    assert f"{left_out} others stood in" in (tmp_path / "out" / "errors.html").read_text()
    printed = call(bundle, "data.split_seed=2", "--with-learned")
    assert "of 10 given reviews are right" in printed
    assert f"Attention: {left_out} stood in the model's own training, validation or pretraining" in printed


@pytest.mark.parametrize(
    "change",
    [
        "data.max_tokens=4", "++data.keep=tail", "data.tokenizer.kind=word", "data.batch_size=2", "data.cache_dir=c",
        "data.train_limit=10", "data.validation_fraction=0.2",
    ],
)  # fmt: skip
def test_settings_that_change_nothing_of_the_reviews_are_refused(call, change):
    key = change.lstrip("+").partition("=")[0]
    with pytest.raises(SentimentError, match=rf"data=files, and {key} would be ignored(.|\n)*-> leave them out"):
        call("model", change)


def test_an_evaluation_is_recorded_in_the_store_of_the_run_wherever_runs_are_looked_for(
    train, call, empty_store, tmp_path, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    client = MlflowClient(tracking_uri=f"sqlite:///{shutil.copy(empty_store, tmp_path / 'own.db')}")
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    trained = client.create_run(experiment).info.run_id
    params = {"tracking.uri": f"sqlite:///{tmp_path}/own.db"}
    for name, run_id in (("in_mlflow", trained), ("not", None)):
        write_result(tmp_path / name, ResultRecord(name, "rnn", "FINISHED", "2026-01-01", params=params, run_id=run_id))
        shutil.copytree(train(), tmp_path / name / "model")
    assert f"an evaluation of the model of {trained}" in call(tmp_path / "in_mlflow", "data.split_seed=1")
    assert "Not recorded: no run in MLflow" in call(tmp_path / "not", "data.split_seed=1")
    bundle = tmp_path / "in_mlflow" / "model"
    assert "Not recorded" in call(shutil.copytree(bundle, tmp_path / "in_mlflow" / "other"), "data.split_seed=1")
    assert f"an evaluation of the model of {trained}" in call(bundle, "data.split_seed=2")
    checkpoints = tmp_path / "in_mlflow" / "checkpoints"
    checkpoints.mkdir()
    for name, run_id in (("best", trained), ("last", None)):
        (checkpoints / f"{name}.ckpt").touch()
        assert find_model_source(str(checkpoints / f"{name}.ckpt"), tmp_path, "").run_id == run_id
    assert len(client.search_runs([experiment])) == 3
    call(tmp_path / "in_mlflow", "data.split_seed=1", "--label", "1=")
    tags = client.search_runs([experiment], "tags.`evaluation.left_out_labels` != '0'")[0].data.tags
    assert int(tags["evaluation.left_out_labels"]) == 5, "as the page tells"


def test_files_whose_run_the_store_does_not_have_are_measured_all_the_same(train, call, empty_store, tmp_path):
    """A run's folder that was copied from another machine: its record names a store that here is another one."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'own.db')}"
    record = ResultRecord("a", "rnn", "FINISHED", "2026-01-01", params={"tracking.uri": uri}, run_id="0" * 32)
    write_result(tmp_path / "run", record)
    bundle = shutil.copytree(train(), tmp_path / "run" / "model")
    assert f"Not recorded: There is no run {'0' * 32} in the MLflow store" in call(bundle, "data.split_seed=1")
    for asked in ([tmp_path / "run"], [bundle, "--tracking-uri", uri]):
        with pytest.raises(TrackingError, match="There is no run 0000"):
            call(*asked, *([] if len(asked) > 1 else ["data.split_seed=1"]))


def test_the_model_of_a_try_is_told(train, call, tmp_path):
    bundle = train()
    told = "which is a try (debug) and no result"
    assert told not in call(bundle, "data.split_seed=1")
    record = ResultRecord("tried", "rnn", "FINISHED", "2026-01-01", params={"trainer.debug": "fast"})
    write_result(tmp_path, record)
    assert told in call(bundle, "data.split_seed=1")
    assert told in (tmp_path / "out" / "errors.html").read_text()


def test_the_page_of_another_model_or_of_other_reviews_takes_no_place_of_one_before(train, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = train(), shutil.copytree(tmp_path / "model", tmp_path / "other")
    for model, seed in ((models[0], 1), (models[1], 1), (models[0], 2), (models[0], 1)):
        call(model, f"data.split_seed={seed}", output=None)
    assert len(list(tmp_path.glob("evaluation_files_*/errors.html"))) == 3


def test_reviews_that_the_model_learned_from_one_and_all_are_no_measure(train, call, data, tmp_path):
    predictor = Predictor.load(train())
    texts = ["fine film indeed", "dull plot indeed", "odd cast indeed", "warm end indeed"]
    labels = np.arange(4) % 2
    reviews = LabelledReviews(texts, labels, np.arange(4), "a file", "file")
    predictor.learned = hash_reviews(predictor.tokenizer.encode(texts))
    with pytest.raises(DataError, match=r"a file: all of its 4 reviews stood in .*\n  -> .*--with-learned"):
        evaluate_reviews(predictor, reviews, "", explain=False)
    predictor.learned = hash_reviews(predictor.tokenizer.encode(texts[:3]))
    found = evaluate_reviews(predictor, reviews, "", explain=False)
    assert (found.reviews.texts, found.learned, found.left_out) == (texts[3:], 0, 3)
    assert not found.notes[1:], "all of them are told"
    predictor.learned = np.append(predictor.learned, UNTOLD)
    found = evaluate_reviews(predictor, reviews, "", explain=False)
    assert (found.reviews.texts, found.learned, found.left_out) == (texts[3:], None, 3), "what is known is left out"
    assert "whether the model has learned from more is unknown" in found.notes[1]
    assert {wrong.position for wrong in found.errors.tables.wrong_reviews} <= {3}, "as the file numbers it"


def test_the_loss_is_the_run_s_where_a_class_has_no_probability_that_a_float32_could_hold(train, data, tmp_path):
    predictor = Predictor.load(train())
    predictor.network.head.weight.data *= 1e4
    texts, labels = ["fine film indeed", "dull plot indeed"], np.arange(2)
    reviews = LabelledReviews(texts, labels, labels, "", "")
    found = evaluate_reviews(predictor, reviews, "", explain=False, with_learned=True)
    metrics = SplitMetrics(2, "")
    for text, label in zip(predictor.tokenizer.encode(texts), labels, strict=True):
        tokens = torch.tensor(text.astype(np.int64))[None]
        logits = predictor.network(tokens, torch.ones_like(tokens, dtype=torch.bool))
        assert logits.softmax(dim=1).min() == 0
        label = torch.tensor([label])
        metrics.update(logits.softmax(dim=1), label, F.cross_entropy(logits, label))
    loss = float(metrics.compute()["loss"])
    assert loss > 100
    assert found.metrics["loss"].value == pytest.approx(loss, rel=1e-4)


def test_what_an_earlier_bundle_does_not_tell_is_said_to_be_unknown(train, call):
    bundle = train()
    (bundle / LEARNED_FILE).unlink()
    settings = json.loads((bundle / SETTINGS_FILE).read_text())
    for name in (LEARNED_FILE, SETTINGS_FILE):
        del settings["sha256"][name]
    (bundle / SETTINGS_FILE).write_text(json.dumps(settings))
    assert "whether the model has learned from more is unknown" in call(bundle, "data.split_seed=1")


def test_what_the_model_learned_from_that_a_run_starts_from_counts_too(train):
    first = Predictor.load(train())
    first.learned = first.learned[:1] + 1  # of a review that is no more among those of the run
    assert first.learned[0] in Predictor.load(train(first)).learned
    assert UNTOLD not in Predictor.load(train(first)).learned
    first.learned = UNTOLD
    assert UNTOLD in Predictor.load(train(first)).learned
