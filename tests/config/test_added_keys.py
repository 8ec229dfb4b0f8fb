"""Keys that a data set got later: runs and studies of the version before are read, and are the same runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentiment.config import home
from sentiment.config.identity import identify, keep_determining, leave_out_added, read_recorded, simplify
from sentiment.config.option import OPTIONS
from sentiment.config.reading import read_settings as read_composed
from sentiment.config.schema import RNNSettings
from sentiment.errors import TrackingError
from sentiment.tracking.params import flatten_settings, read_settings

BEFORE = {
    "model.name": "transformer", "model.embedding_size": "64", "model.head_form": "narrow", "model.heads": "4",
    "model.depth": "2", "model.feedforward_ratio": "2.0", "model.norm": "pre", "model.activation": "gelu",
    "model.positions": "sinusoidal", "model.pooling": "mean", "model.dropout": "0.1", "model.word_dropout": "0.0",
    "optimizer.name": "adamw", "optimizer.lr": "0.003", "optimizer.weight_decay": "0.01", "optimizer.beta1": "0.9",
    "optimizer.beta2": "0.999", "scheduler.name": "warmup_cosine", "scheduler.warmup_fraction": "0.1",
    "scheduler.final_fraction": "0.0", "data.tokenizer.kind": "word", "data.tokenizer.vocabulary_size": "30000",
    "data.tokenizer.min_frequency": "1", "data.tokenizer.lowercase": "true", "data.max_tokens": "400",
    "data.keep": "head_tail", "data.head_fraction": "0.5", "data.batch_size": "32", "data.validation_fraction": "0.1",
    "data.split_seed": "0", "data.train_limit": "null", "data.cache_dir": "/p/.cache/tokens", "data.name": "files",
    "data.path": "/tmp/idt/a.csv", "data.validation_path": "null", "data.test_path": "null",
    "data.test_fraction": "0.1", "data.text_column": "text", "data.label_column": "label", "data.labels": "null",
    "data.on_bad_row": "error", "trainer.accelerator": "auto", "trainer.precision": "32-true",
    "trainer.max_epochs": "8", "trainer.validations_per_epoch": "1", "trainer.patience": "4",
    "trainer.gradient_clip_norm": "1.0", "trainer.label_smoothing": "0.0", "trainer.weight_averaging": "null",
    "trainer.deterministic": "true", "trainer.threads": "null", "trainer.log_every_n_steps": "20",
    "trainer.progress_bar": "auto", "trainer.resume": "true", "trainer.test": "true", "tracking.mlflow": "true",
    "tracking.tensorboard": "false", "tracking.uri": "sqlite:////p/mlflow.db", "tracking.artifact_dir": "/p/artifacts",
    "tracking.tensorboard_dir": "/p/multirun/tensorboard", "tracking.experiment": "sentiment",
    "tracking.log_model": "true", "seed": "0", "objective": "val/accuracy", "direction": "maximize",
    "objectives": '["val/accuracy"]', "directions": '["maximize"]',
}  # fmt: skip
"""What the version before recorded of `data=files`."""


@pytest.mark.parametrize(
    ("changed", "before"),  # as the version before hashed it
    [
        ({}, "f899dd47ad4877429bb59475db83cfcf6fea89913b910fd89612599c568242aa"),
        (
            {"data.text_column": "6", "data.labels": '["x","y"]'},
            "75f667df6f2b3c5894e5a7610ba5940aa8d57ceb9d49e4a32beaf7c76a38f421",
        ),
    ],
)
def test_old_settings_are_read_and_are_the_same_run(changed: dict[str, str], before: str):
    settings = read_settings({**BEFORE, **changed})
    assert (settings.data.label_map, settings.data.header, settings.data.quoting) == (None, None, None)
    assert identify(settings, "files:abc") == before
    assert keep_determining(flatten_settings(settings)) == keep_determining({**BEFORE, **changed})


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("data", "header", False), ("data", "quoting", "none"), ("data", "label_map", {"-1": None}),
        ("data", "label_path", "/tmp/l"), ("model", "convolution_width", 3),
        ("model", "naive_bayes_ngrams", 2),
        ("data", "unlabelled_path", "/tmp/u"),
    ],
)  # fmt: skip
def test_a_new_key_that_is_set_makes_another_run_and_comes_back(group: str, key: str, value: object):
    old = read_settings(BEFORE)
    new = old.model_copy(update={group: getattr(old, group).model_copy(update={key: value})})
    assert identify(new, "files:abc") != identify(old, "files:abc")
    assert read_settings(flatten_settings(new)) == new


GONE = {"model.bigram_buckets": "64", "model.bigram_size": "8", "trainer.adversarial_share": "0.02"}
"""Keys that a version had in between, each with a value."""


def test_a_key_that_is_gone_says_nothing_at_null():
    between = {**BEFORE, **dict.fromkeys(GONE, "null")}
    assert read_settings(between) == read_settings(BEFORE)
    assert read_recorded(between) == read_recorded(BEFORE)
    assert keep_determining(between) == keep_determining(BEFORE)
    assert simplify(dict.fromkeys(GONE)) == {}


def test_a_model_of_ones_own_may_have_a_key_that_a_built_in_one_once_had(monkeypatch: pytest.MonkeyPatch):
    class Own(RNNSettings):
        bigram_buckets: int | None = 64

    params = {"model.name": "own", "model.bigram_buckets": "null"}
    gone = {"model.bigram_size": "null", "trainer.adversarial_share": "null"}
    assert read_recorded(params) == params, "nor is it lost where the file of the model is not there"
    monkeypatch.setitem(OPTIONS, ("model", "own"), replace(OPTIONS["model", "rnn"], name="own", settings=Own))
    assert read_recorded({**params, **gone}) == params


@pytest.mark.parametrize("key", GONE)
def test_a_run_of_what_is_gone_is_another_and_is_not_read(key: str):
    other = {**BEFORE, key: GONE[key]}
    assert keep_determining(other) != keep_determining(BEFORE)
    assert simplify({key: GONE[key]}) == {key: GONE[key]}
    with pytest.raises(TrackingError, match=f"{key}: .*\n  -> check out the commit that wrote them"):
        read_settings(other)


def test_imdb_got_no_keys(compose_config):
    flat = {f"data.{key}": "x" for key in compose_config("data=imdb").data} | {"data.name": "imdb"}
    assert read_recorded(flat) == leave_out_added(flat) == flat


@pytest.mark.parametrize("option", ["lm", "mlm"])
def test_a_group_that_was_left_out_is_null_and_one_that_is_chosen_has_keys(compose_config, tmp_path, option: str):
    old = read_settings(BEFORE)
    assert old.pretrain is None
    assert flatten_settings(old)["pretrain"] == "null"
    model = {"lm": "rnn", "mlm": "transformer"}[option]
    without = read_composed(compose_config(f"model={model}", "data=synthetic"), tmp_path)
    settings = read_composed(compose_config(f"model={model}", "data=synthetic", f"pretrain={option}"), tmp_path)
    flat = flatten_settings(settings)
    assert (flat["pretrain.name"], "pretrain" in flat) == (option, False)
    assert read_settings(flat) == settings
    assert identify(settings, "data") != identify(without, "data")


@pytest.mark.parametrize("named", ["trainer.init_from={}/multirun/a", "trainer.teachers=[{}/multirun/a,b]"])
def test_a_run_is_the_same_when_the_project_has_moved_with_its_models(compose_config, tmp_path, monkeypatch, named):
    def identify_in(folder, **options):
        monkeypatch.setattr(home, "PROJECT_DIR", folder)
        key = named.format(folder)
        config = compose_config("model=rnn", "data.name=synthetic", "data.unlabelled_size=9", key)
        return identify(read_composed(config, tmp_path), "data", **options)

    here, there = tmp_path / "here", tmp_path / "there"
    assert identify_in(here) == identify_in(there)
    for form in (1, 2):
        assert (identify_in(here, form=form) == identify_in(there, form=form)) is ("init_from" in named)


def test_a_study_compares_settings_without_keys_that_say_nothing(compose_config):
    content = {"data.header": None, "data.encoding": "cp1252", "data.path": None}
    assert leave_out_added(content) == {"data.encoding": "cp1252", "data.path": None}


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ({"objective": "val/accuracy", "objectives": "['val/accuracy']"}, "val/accuracy"),
        (
            {"objective": "val/f1", "objectives": "['model/parameters', 'val/f1']"},
            ["model/parameters", "val/f1"],
        ),
    ],
)
def test_objectives_of_an_earlier_version_are_those_of_this_one(stored: dict[str, str], now: object):
    """A study of several objectives goes on though the keys that named them have become one."""
    stored |= {"direction": "maximize", "directions": "['minimize', 'maximize']", "seed": "0"}
    assert simplify(stored) == simplify({"objective": now, "seed": "0"}) == {"objective": now, "seed": "0"}
