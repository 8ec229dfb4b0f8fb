"""A run's settings as an experiment file: small, free of this machine, and the same run again when composed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sentiment.config.experiment_file import list_differences, write_experiment
from sentiment.config.group import TrackingSettings
from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.errors import SentimentError
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.params import read_settings as read_settings_again

OVERRIDES = {
    "model": ["transformer", "rnn"],
    "optimizer": ["adamw", "adam", "sgd"],
    "scheduler": ["warmup_cosine", "warmup_linear", "constant"],
    "data": ["synthetic", "imdb"],
    "trainer": ["auto", "cpu", "gpu"],
    "model.embedding_size": ["16", "64", "96"],
    "model.pooling": ["mean", "attention"],
    "optimizer.lr": ["1e-05", "0.003", "1e-3", "0.0035301809"],
    "data.train_limit": ["null", "100"],
    "data.tokenizer.kind": ["word", "bpe"],
    "trainer.patience": ["null", "2"],
    "trainer.weight_averaging": ["null", "0.999"],
    "trainer.test": ["true", "false"],
    "objective": ["val/accuracy", "val/loss", "[val/f1,model/parameters]"],
    "seed": ["0", "7"],
}


@pytest.fixture(scope="session")
def conf(tmp_path_factory) -> Path:
    """A copy of ``conf/`` to write into."""
    return Path(shutil.copytree(PROJECT_DIR / "conf", tmp_path_factory.mktemp("project") / "conf"))


def read(conf, *overrides):
    with initialize_config_dir(str(conf)):
        return read_settings(compose("config", list(overrides)), conf.parent)


@hypothesis_settings(max_examples=4, suppress_health_check=list(HealthCheck))
@given(st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in OVERRIDES.items()}))
def test_composing_the_file_gives_the_run_again(conf, chosen):
    settings = read(conf, *(f"{key}={value}" for key, value in chosen.items()))
    write_experiment(settings, "again", conf, origin=["here"], force=True)
    again = read(conf, "experiment=again")
    assert list_differences(settings, again) == []
    assert again.trainer.test is True


def test_the_file_holds_only_what_differs(conf):
    settings = read(conf, "model=rnn", "model.embedding_size=32", "trainer=cpu", "trainer.threads=1", "tracking=none")
    experiment = write_experiment(settings, "small", conf, origin=["Trial 3 of a search."])
    lines = experiment.file.read_text().splitlines()
    assert lines[:3] == ["# @package _global_", "# python run.py experiment=small", "# Trial 3 of a search."]
    assert OmegaConf.to_container(OmegaConf.load(experiment.file)) == {
        "defaults": [{"override /model": "rnn"}, {"override /trainer": "cpu"}],
        "model": {"embedding_size": 32},  # hidden_size follows
        "trainer": {"test": True},
        "seed": 0,
    }


def test_what_is_learned_before_is_in_the_file(conf):
    settings = read(conf, "model=rnn", "pretrain=lm", "pretrain.lr=0.004", "pretrain.cache_dir=elsewhere")
    experiment = write_experiment(settings, "words", conf, origin=[])
    assert OmegaConf.to_container(OmegaConf.load(experiment.file)) == {
        "defaults": [{"override /model": "rnn"}, {"override /pretrain": "lm"}],
        "trainer": {"test": True},
        "pretrain": {"lr": 0.004},
        "seed": 0,
    }


def test_a_key_that_follows_from_another_is_kept_where_it_does_not(conf):
    settings = read(conf, "model=rnn", "model.embedding_size=32", "model.hidden_size=48")
    experiment = write_experiment(settings, "hidden", conf, origin=[])
    assert OmegaConf.load(experiment.file).model == {"embedding_size": 32, "hidden_size": 48}


@pytest.mark.parametrize("label_map", ["{v1.0: good, 2: bad, -1: null}", '\'{"a.b: c": good, Très bon: "null"}\''])
def test_a_dot_in_a_label_separates_no_keys(conf, tmp_path, label_map):
    reviews = tmp_path / "reviews.csv"
    reviews.write_text("text,label\ngood,1\n")
    settings = read(conf, "data=files", f"data.path={reviews}", f"data.label_map={label_map}")
    write_experiment(settings, "labels", conf, origin=[], force=True)
    again = read(conf, "experiment=labels", f"data.path={reviews}")
    assert list_differences(settings, again) == []
    names = [{str(label): target for label, target in one.data.label_map.items()} for one in (settings, again)]
    assert names[0] == names[1] != {}
    assert read_settings_again(flatten_settings(settings)).data.label_map == names[0]


def test_places_of_this_machine_stand_in_the_command_alone(conf, tmp_path):
    reviews = tmp_path / "my reviews.csv"
    reviews.write_text("text,label\ngood,1\n")
    settings = read(conf, "data=files", f"data.path='{reviews}'", "data.labels=[no,yes]")
    experiment = write_experiment(settings, "places", conf, origin=[], shares={"trainer.threads": "2"})
    assert experiment.command[2:] == ("experiment=places", "trainer.threads=2", f"data.path={reviews}")
    text = experiment.file.read_text()
    assert "# python run.py experiment=places trainer.threads=2 data.path=PATH\n" in text
    assert str(tmp_path) not in text
    assert read(conf, "experiment=places", f"data.path='{reviews}'").data.labels == ["no", "yes"]


def test_where_runs_are_recorded_stays_out(conf):
    class LinesSettings(TrackingSettings):
        name: Literal["lines"] = "lines"

    settings = read(conf, "tracking=both")
    own = settings.model_copy(update={"tracking": LinesSettings(**settings.tracking.model_dump())})
    for name, chosen in (("both", settings), ("lines", own)):
        assert "tracking" not in write_experiment(chosen, name, conf, origin=[]).file.read_text()


def test_another_file_is_not_replaced_unless_forced(conf):
    write_experiment(read(conf, "seed=1"), "taken", conf, origin=["one"])
    again = write_experiment(read(conf, "seed=1"), "taken", conf, origin=["another comment"])
    assert not again.is_new
    with pytest.raises(SentimentError, match="holds something else"):
        write_experiment(read(conf, "seed=2"), "taken", conf, origin=[])
    assert "seed: 1" in again.file.read_text()
    write_experiment(read(conf, "seed=2"), "taken", conf, origin=[], force=True)
    assert "seed: 2" in again.file.read_text()
    assert not list(again.file.parent.glob(".*"))


@pytest.mark.parametrize(
    "name", ["", "a/b", "../a", "a b", "a=b", ".a", "a.yaml.yaml", "a.yml", "null", "1", "1e3", "true"]
)
def test_a_name_is_a_file_name(conf, name):
    with pytest.raises(SentimentError, match="cannot be the name"):
        write_experiment(read(conf), name, conf, origin=[])


def test_the_name_of_its_file_is_the_experiments_too(conf):
    """Hydra reads ``experiment=a.yaml`` as ``a``: the command of an ``a.yaml.yaml`` ran another one."""
    written = write_experiment(read(conf), "a.yaml", conf, origin=[])
    assert (written.file.name, written.command[2]) == ("a.yaml", "experiment=a")


def test_a_run_that_does_not_compose_any_more_is_refused_and_leaves_no_file(conf):
    settings = read(conf, "data=imdb")
    broken = settings.model_copy(update={"data": settings.data.model_copy(update={"repository": "${seed}"})})
    with pytest.raises(SentimentError, match=r"repository"):
        write_experiment(broken, "broken", conf, origin=[])
    assert not (conf / "experiment" / "broken.yaml").exists()
