"""``python -m sentiment evaluate`` says how many of the reviews its model has learned from."""

from __future__ import annotations

import argparse

import pytest
from hydra import compose, initialize_config_dir

from sentiment.commands import evaluate
from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.data.build import build_corpus
from sentiment.models.bundle import LEARNED_FILE, SETTINGS_FILE, Predictor
from sentiment.training.run import build_module, write_bundle


@pytest.fixture
def data(tmp_path):
    """The settings of reviews of which a part is held out as the test, but for the seed of that part."""
    firsts, seconds = ("fine", "dull", "odd", "long", "slow", "warm"), ("film", "plot", "cast", "end")
    texts = [f"{first} {second}" for first in firsts for second in seconds]
    lines = [f"{text} indeed,{number % 2}" for number, text in enumerate(texts)]
    (tmp_path / "reviews.csv").write_text("text,label\n" + "\n".join(lines) + "\n")
    place = [f"data.path={tmp_path}/reviews.csv", f"data.cache_dir={tmp_path}/cache"]
    return ["data=files", *place, "data.test_fraction=0.4", "data.tokenizer.min_frequency=1"]


@pytest.fixture
def train(data, tmp_path):
    """Writes the bundle of a model of the reviews, and returns its folder."""

    def write(start=None):
        small = ["model.embedding_size=8", "model.heads=2", "model.depth=1", "tracking=none"]
        with initialize_config_dir(str(PROJECT_DIR / "conf")):
            settings = read_settings(compose("config", [*data, *small, "data.split_seed=1"]), tmp_path)
        corpus = build_corpus(settings.data)
        network = build_module(settings, corpus).network
        return write_bundle(tmp_path / "model", settings, corpus, network, settings.data.max_tokens, start)

    return write


@pytest.fixture
def call(data, tmp_path, capsys):
    def evaluate_it(bundle, *changes):
        parser = argparse.ArgumentParser()
        evaluate.add_arguments(parser)
        output = ["--output", str(tmp_path / "out"), "--no-explain"]
        evaluate.run(parser.parse_args(["--model", str(bundle), "--data", *data, *changes, *output]))
        return " ".join(capsys.readouterr().out.split())

    return evaluate_it


def test_reviews_of_another_split_that_the_model_was_trained_on_are_counted(train, call):
    bundle = train()
    assert "Attention" not in call(bundle, "data.split_seed=1")
    printed = call(bundle, "data.split_seed=2")
    assert "of the 10 reviews stood in the model's own training or validation. -> the figures flatter it" in printed


def test_what_an_earlier_bundle_does_not_tell_is_said_to_be_unknown(train, call):
    bundle = train()
    (bundle / LEARNED_FILE).unlink()
    settings = bundle / SETTINGS_FILE
    lines = [line for line in settings.read_text().splitlines() if LEARNED_FILE not in line]
    settings.write_text("\n".join(lines).replace(",\n  }", "\n  }"))
    assert "whether the model was trained on some of them is unknown" in call(bundle, "data.split_seed=1")


def test_what_the_model_learned_from_that_a_run_starts_from_counts_too(train):
    first = Predictor.load(train())
    first.learned = first.learned[:1] + 1  # of a review that is no more among those of the run
    assert first.learned[0] in Predictor.load(train(first)).learned
    first.learned = None
    assert Predictor.load(train(first)).learned is None
