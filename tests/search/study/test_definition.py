"""A stored study and the command that joins it: what differs is said."""

from __future__ import annotations

import dataclasses
import json

import pytest

from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.study.definition import Definition, StudyChangedError, compare

STORED = Definition({"x": "1 to 5"}, {"lr": "0.1", "depth": "2"}, ["minimize"], "1")


def test_an_equal_definition_is_no_difference_after_its_storage():
    stored = Definition.from_json(json.loads(json.dumps(STORED.to_json())))
    assert compare("study", stored, STORED) == []


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"settings": {"lr": "0.2", "depth": "2", "new": "1"}},
            ["setting lr: stored 0.1, now 0.2", "setting new: stored w"],
        ),
    ],
)
def test_every_difference_is_said_with_both_values(changes, lines):
    with pytest.raises(StudyChangedError) as caught:
        compare("study", STORED, dataclasses.replace(STORED, **changes))
    assert all(line in str(caught.value) for line in lines)
    assert "allow_changes=true" in str(caught.value)


def test_a_changed_space_is_returned_and_goes_on():
    assert compare("study", STORED, dataclasses.replace(STORED, space={"x": "1 to 9"})) == [
        "space x: stored 1 to 5, now 1 to 9"
    ]
    searched = dataclasses.replace(STORED, space={"lr": "1 to 9"}, settings={"depth": "2", "x": "3"})
    assert len(compare("study", STORED, searched)) == 2  # keys that move between the space and the settings


def test_another_direction_or_objective_cannot_be_gone_on_with():
    named = dataclasses.replace(STORED, objectives=["val/f1"])
    repeated = dataclasses.replace(STORED, repeats="3, mean")
    for one, other in [
        (STORED, {"directions": ["maximize"]}), (named, {"objectives": ["val/accuracy"]}),
        (STORED, {"repeats": "3, mean"}), (repeated, {"repeats": "5, mean"}), (repeated, {"repeats": "3, bound"}),
    ]:  # fmt: skip
        with pytest.raises(StudyChangedError) as caught:
            compare("study", one, dataclasses.replace(one, **other))
        assert "hydra.sweeper.study_name=study_2" in str(caught.value)
        assert "allow_changes" not in str(caught.value)


def test_a_key_that_is_ignored_by_now_is_no_difference_though_it_was_stored():
    before = dataclasses.replace(STORED, settings={**STORED.settings, "old": "1", "old.group": "2"})
    compare("study", before, STORED, ignored=["old"])
    with pytest.raises(StudyChangedError, match="setting older: stored 1, now without"):
        compare("study", dataclasses.replace(STORED, settings={**STORED.settings, "older": "1"}), STORED, ["old"])


def test_a_setting_with_the_time_in_it_is_to_be_ignored_by_name(sweep):
    command = ["x=choice(1,2)", "hydra.sweeper.n_trials=2", "+run_name='toy_${now:%H-%M-%S-%f}'"]
    sweep(*command)
    with pytest.raises(StudyEndedError, match=r"(?s)setting run_name: stored toy_.*->.*to hydra\.sweeper\.ignore,"):
        sweep(*command)
    assert len(sweep(*command, "hydra.sweeper.ignore=[run_name]").trials) == 2


def test_a_long_list_of_differences_is_cut():
    settings = {f"key{number}": "1" for number in range(30)}
    with pytest.raises(StudyChangedError, match=r"and 20 more"):
        compare("study", STORED, dataclasses.replace(STORED, settings=settings))


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["x=interval(-5,5)", "y=2"], "setting y: stored 1.0, now 2"),
        (["x=interval(-5,5)", "shape=round"], "setting shape.name: stored flat, now round"),
        (["x=interval(-5,5)", "hydra.sweeper.direction=maximize"], "directions"),
        (["x=interval(-5,5)", "hydra.sweeper.repeats=2"], "repeats: stored 1, now 2, mean"),
    ],
)
def test_a_command_that_differs_from_the_stored_study_stops_unless_told_to_go_on(sweep, options, difference):
    sweep("x=interval(-5,5)", "hydra.sweeper.n_trials=1")
    with pytest.raises(StudyEndedError) as caught:
        sweep(*options, "hydra.sweeper.n_trials=2")
    assert difference in str(caught.value)
    if "setting" in difference:
        study = sweep(*options, "hydra.sweeper.n_trials=2", "hydra.sweeper.allow_changes=true")
        assert len(study.trials) == 2


@pytest.mark.parametrize("total", [2, 4])
def test_another_way_of_searching_is_told_also_of_a_study_that_has_ended(sweep, caplog, total):
    command = ["x=interval(-5,5)", "hydra/sweeper/pruner=none"]
    sweep(*command, "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=2")
    caplog.clear()
    sweep(*command, "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=2", "hydra.sweeper.n_trials=2")
    assert "another way" not in caplog.text, "the seed alone"
    other = ["hydra/sweeper/sampler=tpe", "hydra/sweeper/pruner=median", "hydra.sweeper.margin=1"]
    sweep(*command[:-1], *other, f"hydra.sweeper.n_trials={total}")
    [line] = [record.getMessage() for record in caplog.records if "another way" in record.getMessage()]
    assert "sampler: stored optuna.samplers.RandomSampler, now optuna.samplers.TPESampler" in line
    assert "pruner: stored optuna.pruners.NopPruner, now optuna.pruners.MedianPruner; " in line
    assert "margin: stored 0, now 1;" in line
    assert "What has ended stays; hydra.sweeper.study_name=" in line


def test_another_value_of_a_sampler_s_key_is_told(sweep, caplog):
    command = ["x=interval(-5,5)", "hydra/sweeper/sampler=tpe", "hydra.sweeper.n_trials=1"]
    sweep(*command)
    sweep(*command, "hydra.sweeper.sampler.n_startup_trials=3")
    assert "this command searches: sampler.n_startup_trials: stored 10, now 3. What" in caplog.text


@pytest.mark.parametrize(
    ("first", "second", "remedy"),
    [
        (None, "sqlite:///s.db", "leave hydra.sweeper.storage out"),
        ("sqlite:///s.db", None, "hydra.sweeper.storage=sqlite:////"),
        ("sqlite:///s.db", "sqlite:///other.db", "hydra.sweeper.storage=sqlite:////"),
    ],
)
def test_a_study_does_not_begin_anew_in_its_folder_in_another_storage(
    sweep, tmp_path, study_dir, first, second, remedy
):
    """Its first jobs' folders would be overwritten, and its first trials shown nowhere."""
    command = ["x=interval(-5,5)", "hydra.sweeper.study_name=s"]
    sweep(*command, "hydra.sweeper.n_trials=2", storage=first)
    with pytest.raises(StudyEndedError, match="would begin anew there") as caught:
        sweep(*command, "hydra.sweeper.n_trials=2", storage=second)
    assert remedy in str(caught.value)
    same = f"sqlite:///{tmp_path}/./s.db" if first else f"journal://{study_dir}/journal.log"
    study = sweep(*command, "hydra.sweeper.n_trials=3", storage=same)
    assert len(study.trials) == 3


def test_what_does_not_change_a_result_may_change(sweep):
    ignored = ["x=interval(-5,5)", "hydra.sweeper.ignore=[seconds,shape]"]
    sweep(*ignored, "hydra.sweeper.n_trials=1")
    study = sweep(*ignored, "hydra.sweeper.n_trials=2", "seconds=0.001", "shape=round", "hydra.job.name=other")
    assert len(study.trials) == 2


def test_only_what_stood_there_before_a_group_was_searched_tells_which_option_that_was():
    told = {"words.size (words=lm)": "3", "words (words=none)": "None"}
    now = dataclasses.replace(STORED, space={"words": "choice('lm', 'none')"}, settings=told)
    for settings, option in (({}, "none"), ({"words.size": "3"}, "lm"), ({"words.size": "7"}, None)):
        grown = now.follow(dataclasses.replace(STORED, settings=settings))
        assert grown.defaults.get("words") == option
        assert now.follow(grown).defaults.get("words") == option


@pytest.mark.parametrize("interpolations", [None, {}])
def test_no_number_of_the_configuration_is_believed_of_a_key_that_followed_in_earlier_versions(interpolations):
    """They stored it when that key was first searched, though it was another one in each trial."""
    now = dataclasses.replace(STORED, space={"x": "1 to 5", "size": "16, 32"}, interpolations={"size": "${x}"})
    stored = dataclasses.replace(now, defaults={"size": "64", "lr": "0.2"}, interpolations=interpolations)
    grown = now.follow(dataclasses.replace(stored, followers=[] if interpolations is None else ["size"]))
    assert grown.defaults == {"lr": "0.2"}
    assert now.follow(grown).defaults == {"lr": "0.2"}
