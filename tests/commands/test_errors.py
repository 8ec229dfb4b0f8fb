"""``python -m sentiment errors`` on a run whose model and predictions were written by hand."""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from sentiment.commands import errors
from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.config.schema import RNNSettings
from sentiment.data.batching import Cut
from sentiment.data.build import build_corpus
from sentiment.data.texts import read_split_texts
from sentiment.errors import DataError, SentimentError, TrackingError
from sentiment.report.errors.analysis import analyse_run
from sentiment.report.errors.tables import find_negations
from sentiment.tracking import params
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.result_file import ResultRecord, read_result, write_result
from sentiment.tracking.runs import find_stored_run
from sentiment.training.run import build_module, save_run_bundle
from tests.models.conftest import RNN
from tests.models.own import Plain, Turned, registered


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """A run whose stored predictions are wrong exactly on the test reviews with a negation."""
    folder = tmp_path_factory.mktemp("multirun") / "single"
    overrides = [
        "tracking=none", "data.train_size=80", "data.test_size=60", "model.embedding_size=8", "model.heads=2",
        "model.depth=1", f"data.cache_dir={folder.parent / 'cache'}",
    ]  # fmt: skip
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", overrides), folder)
    corpus = build_corpus(settings.data)
    save_run_bundle(folder / "model", settings, corpus, build_module(settings, corpus).network, Cut.of(settings.data))
    test, class_names = read_split_texts(settings.data, "test", corpus.fingerprint)
    wrong = np.array([bool(find_negations(text)) for text in test.texts])
    probabilities = np.full((60, 2), 0.2, dtype=np.float32)
    probabilities[np.arange(60), np.where(wrong, 1 - test.labels, test.labels)] = 0.8
    (folder / "predictions").mkdir()
    names = np.array(class_names)
    np.savez(folder / "predictions/test.npz", labels=test.labels, probabilities=probabilities, class_names=names)
    record = ResultRecord(
        "transformer", "transformer", "FINISHED", "2026-01-01T00:00:00+00:00", params=flatten_settings(settings),
        tags={"data.fingerprint": corpus.fingerprint},
    )  # fmt: skip
    write_result(folder, record)
    return folder


def call(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    errors.add_arguments(parser)
    errors.run(parser.parse_args(arguments))


def test_the_planted_error_is_printed_and_the_page_written(run_folder, tmp_path, capsys):
    call(str(run_folder), "--output", str(tmp_path / "out"), "--mistakes", "2")
    printed = " ".join(capsys.readouterr().out.split())
    assert "Reviews with negation are harder than those without: 0.00 % against 100.00 % right" in printed
    assert "The worst part of" in printed
    assert f"{tmp_path / 'out'}/errors.html shows it" in printed
    page = (tmp_path / "out/errors.html").read_text(encoding="utf-8")
    assert page.count('<article class="wrong"') == 2
    assert page.count('class="attribution"') == 2
    assert "layer 1, head 2" in page


@pytest.mark.slow
def test_validation_is_predicted_with_the_model(run_folder, capsys):
    call(str(run_folder), "--split", "validation", "--no-explain")
    printed = " ".join(capsys.readouterr().out.split())
    assert "validation reviews are right" in printed
    assert "predicted now, with the stored model" in printed
    assert (run_folder / "errors_validation/errors.html").is_file()
    assert 'class="attribution"' not in (run_folder / "errors_validation/errors.html").read_text(encoding="utf-8")


@pytest.fixture
def copied(run_folder, tmp_path) -> Path:
    """The run, to be spoiled."""
    return Path(shutil.copytree(run_folder, tmp_path / "copy"))


@pytest.mark.slow
def test_a_run_that_was_not_tested_is_looked_at_on_validation(copied, capsys):
    record = read_result(copied / "result.json")
    write_result(copied, replace(record, params={**record.params, "trainer.test": "false"}))
    (copied / "predictions/test.npz").unlink()
    call(str(copied), "--no-explain")
    assert "validation reviews are right" in capsys.readouterr().out
    with pytest.raises(TrackingError, match=r"no test predictions.*\n.*trainer.test=true"):
        call(str(copied), "--split", "test")


def test_a_run_in_mixed_precision_is_told_from_its_model_which_answers_in_32_bits(copied, monkeypatch):
    record = read_result(copied / "result.json")
    write_result(copied, replace(record, params={**record.params, "trainer.precision": "bf16-mixed"}))
    found = analyse_run(find_stored_run(str(copied), copied.parent, ""), split="validation", explain=False)
    assert found.source.endswith("at 32-true; the run's own figures are of bf16-mixed")
    monkeypatch.setattr("sentiment.report.errors.analysis.find_option", lambda _: SimpleNamespace(fitter="a"))
    found = analyse_run(find_stored_run(str(copied), copied.parent, ""), split="validation", explain=False)
    assert found.source == "predicted now, with the stored model", "what is fitted in one go reads no precision"


def test_the_words_are_weighed_for_the_class_that_stands_beside_them(copied):
    """The model itself, which is not trained, answers otherwise than the predictions that were written by hand."""
    found = analyse_run(find_stored_run(str(copied), copied.parent, ""), shown=9)
    labels = [explanation.attribution.label for explanation in found.explanations]
    assert labels == [review.predicted for review in found.tables.wrong_reviews]
    assert set(labels) == {"negative", "positive"}


@pytest.mark.parametrize(
    ("network", "told"),
    [(Plain, "the network has no methods embed, encode"), (Turned, "the network's forward is not classify(encode(")],
)
def test_a_network_that_is_not_made_of_its_parts_has_tables_without_coloured_words(copied, capsys, network, told):
    settings = params.read_settings(find_stored_run(str(copied), copied.parent, "").record.params)
    corpus = build_corpus(settings.data)
    settings = settings.model_copy(update={"model": RNNSettings.model_validate(RNN)})
    whole = replace(Cut.of(settings.data), max_tokens=None)  # as n-gram models read reviews
    with registered(network):
        save_run_bundle(copied / "model", settings, corpus, build_module(settings, corpus).network, whole)
        call(str(copied))
    assert f"no words are coloured, as {told}" in " ".join(capsys.readouterr().out.split())
    assert list(copied.glob("errors*/errors.html"))


def test_other_data_is_refused(copied):
    record = read_result(copied / "result.json")
    write_result(copied, replace(record, tags={"data.fingerprint": "f" * 32}))
    with pytest.raises(DataError, match="f" * 32):
        call(str(copied), "--no-explain")
    write_result(copied, replace(record, tags={}))
    with pytest.raises(SentimentError, match=r"no tag data\.fingerprint"):
        call(str(copied), "--no-explain")


def test_predictions_of_other_reviews_are_refused(copied):
    file = copied / "predictions/test.npz"
    with np.load(file) as content:
        stored = dict(content)
    np.savez(file, **{**stored, "labels": 1 - stored["labels"]})
    with pytest.raises(SentimentError, match="60 of 60 labels differ"):
        call(str(copied), "--no-explain")
    np.savez(file, **{name: array[:10] if len(array) == 60 else array for name, array in stored.items()})
    with pytest.raises(SentimentError, match="10 stored, 60 read"):
        call(str(copied), "--no-explain")


def test_generated_data_has_no_other_place(run_folder, tmp_path):
    with pytest.raises(SentimentError, match="leave --data-path out"):
        call(str(run_folder), "--data-path", str(tmp_path))


def test_a_count_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        call("anything", "--mistakes", "-1")
    assert "no whole number from 0 on" in capsys.readouterr().err
