"""A study that grows: exactly the points that are new are run, whatever has changed in the space."""

from __future__ import annotations

import itertools
import logging
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sentiment.search.application import searchable
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.study.current import current_trial
from sentiment.search.study.definition import Definition
from sentiment.search.study.history import read_study
from sentiment.search.study.stored.store import DEFINITION_KEY, START_KEY
from sentiment.search.study.trial import open_study

GRID = ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=1000"]


class Noting:
    """A task that remembers the points that it ran."""

    def __init__(self, *keys):
        self.keys = keys
        self.runs = []
        self.bad = ()

    def __call__(self, config):
        point = tuple(config[key] for key in self.keys)
        if point in self.bad:
            raise ValueError(f"a bad row at {point}")
        self.runs.append(point)
        return float(config.x)

    def take(self):
        runs, self.runs = self.runs, []
        return sorted(runs, key=repr)


class Marking:
    """A task that takes values of any type."""

    def __init__(self):
        self.runs = []

    def __call__(self, config):
        self.runs.append((config.mark, config.end_mark))
        return 0.0


def test_more_seeds_run_the_new_seeds_alone(sweep):
    task = Noting("seed")
    sweep("seed=range(0,2)", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=2", task=task)
    assert task.take() == [(0,), (1,)]
    study = sweep("seed=range(0,5)", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=5", task=task)
    assert task.take() == [(2,), (3,), (4,)]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 5
    sweep("seed=range(0,5)", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=5", task=task)
    assert task.take() == []


def test_one_more_choice_and_the_old_command_after_it(sweep):
    task = Noting("x")
    sweep(*GRID, "x=choice(1,2)", task=task)
    sweep(*GRID, "x=choice(1,2,3)", task=task)
    assert task.take() == [(1,), (2,), (3,)]
    sweep(*GRID, "x=choice(1,2)", task=task)
    assert task.take() == []
    sweep(*GRID, "x=choice(4,1)", task=task)
    sweep(*GRID, "x=range(1,6)", task=task)
    assert task.take() == [(4,), (5,)]


def test_one_more_key_counts_the_points_at_its_default(sweep, caplog):
    task = Noting("x", "y", "seed")
    sweep(*GRID, "x=choice(1,2)", task=task)  # y is 1.0 by default
    sweep(*GRID, "x=choice(1,2)", "y=choice(1,2)", task=task)
    sweep(*GRID, "x=choice(1,2)", "y=choice(1,2)", "seed=choice(0,1)", task=task)
    runs = task.take()
    assert len(runs) == len(set(runs)) == 8
    sweep(*GRID, "x=choice(1,2)", "y=2", task=task)  # and back: one of them is fixed again
    assert task.take() == []
    with caplog.at_level(logging.INFO):
        sweep(*GRID, "x=choice(1,2)", "y=3", task=task)
    assert task.take() == [(1, 3, 0), (2, 3, 0)]
    assert "has changed: fixed y: stored 2, now 3" in caplog.text
    assert "2 new points to run; 0 trials there belong to the new space, 8 do not" in caplog.text


@pytest.mark.parametrize(("key", "option"), [("seed", "repeats=1"), ("seed", "repeats=2"), ("y", "seed_key=y")])
@pytest.mark.parametrize("is_old", [False, True])
def test_another_seed_is_told_and_the_trials_of_the_first_are_history(sweep, caplog, monkeypatch, key, option, is_old):
    def write_as_before(definition):
        content = write(definition)
        return {**content, "settings": {name: text for name, text in content["settings"].items() if name != key}}

    def run(seed, total):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            sweep(
                "x=interval(1,2)",
                f"hydra.sweeper.{option}",
                f"{key}={seed}",
                f"hydra.sweeper.n_trials={total}",
                task=task,
            )
        return caplog.text

    write, task = Definition.to_json, Noting(key, "x")
    with monkeypatch.context() as patch:
        if is_old:
            patch.setattr(Definition, "to_json", write_as_before)
        assert "has changed" not in run(1, total=2)
    task.take()
    told = run(5, total=2)
    assert f"has changed: fixed {key}: stored 1, now 5" in told
    assert "0 trials to run; 0 trials there belong to the new space, 2 do not and stay as history" in told
    assert not task.runs
    assert "has changed" not in run(5, total=3)
    assert min(task.take())[0] == 5
    assert "0 trials to run; 2 trials there belong to the new space, 1 do not" in run(1, total=3)


def test_a_config_group_that_is_searched_now_counts_the_option_of_before(sweep):
    task = Noting("x", "shape")
    sweep(*GRID, "x=choice(1,2)", task=task)
    study = sweep(*GRID, "x=choice(1,2)", "shape=flat,round", task=task)
    assert len(study.trials) == 4
    assert len(task.take()) == 4


def test_what_is_new_is_said_and_what_is_outside_stays(sweep, caplog):
    with caplog.at_level(logging.INFO):
        sweep(*GRID, "x=choice(1,2,3)", task=(task := Noting("x")))
        caplog.clear()
        study = sweep(*GRID, "x=choice(3,4)", task=task)
    assert "1 new points to run; 1 trials there belong to the new space, 2 do not and stay as history." in caplog.text
    assert len(study.trials) == 4


MEANINGS = {"1": 1, "2": 2, "'1'": "1", "true": True, "'True'": "True", "null": None, "'None'": "None", "0.5": 0.5}

VALUES = st.lists(st.sampled_from(sorted(MEANINGS)), min_size=2, max_size=3, unique=True)  # one value is no sweep

STEPS = st.lists(
    st.fixed_dictionaries({}, optional={"mark": VALUES, "end_mark": VALUES}).filter(bool), min_size=2, max_size=3
)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_any_sequence_of_growths_runs_every_point_once(sweep, study_dir, steps):
    """Every space of a sequence is whole in the end, and no point has run twice."""
    shutil.rmtree(study_dir, ignore_errors=True)
    open_study.cache_clear()  # a process never meets another study at the same place
    task = Marking()
    seen = set()
    for step in steps:
        sweep(*GRID, *(f"{key}={','.join(values)}" for key, values in step.items()), task=task)
        read = [[MEANINGS[value] for value in step.get(key, ["null"])] for key in ("mark", "end_mark")]
        seen |= {repr(point) for point in itertools.product(*read)}
    runs = [repr(point) for point in task.runs]
    assert len(runs) == len(set(runs))
    assert seen == set(runs)


@pytest.mark.parametrize("sampler", ["tpe", "multivariate_tpe", "random", "cmaes", "gp", "nsgaii", "qmc"])
def test_a_search_goes_on_in_a_grown_space(sweep, sampler):
    if sampler == "gp":
        pytest.importorskip("torch")
    task = Noting("x")
    options = [f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=1"]
    sweep("x=choice(1,2)", "y=interval(0,1)", *options, "hydra.sweeper.n_trials=3", task=task)
    study = sweep("x=choice(1,2,3)", "y=interval(-1,1)", *options, "hydra.sweeper.n_trials=8", task=task)
    assert len(study.trials) == 8
    assert {3} <= {point for (point,) in task.runs}


@pytest.mark.parametrize("sampler", ["nsgaii", "nsgaiii"])
@pytest.mark.parametrize("left", ["x=range(10,40)", "x=range(1,8)", "x=range(1,3)"])
def test_a_genetic_search_goes_on_in_a_narrowed_space(sweep, sampler, left):
    """Of the six parents of the generation that has begun four are points of the new space, one, or none."""
    options = [f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=1"]
    options += ["y=interval(0,1)", "hydra.sweeper.sampler.population_size=6"]
    sweep("x=range(1,40)", *options, "hydra.sweeper.n_trials=15", task=Noting("x"))
    study = sweep(left, *options, "hydra.sweeper.n_trials=28", task=Noting("x"))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 28


def test_samplers_learn_from_the_trials_before(sweep):
    """TPE draws near the best of the trials before the growth, at once."""
    options = ["hydra/sweeper/sampler=multivariate_tpe", "hydra.sweeper.sampler.seed=1", "x=interval(-5,5)"]
    sweep(*options, "shape.name=a,b", "hydra.sweeper.n_trials=30", task=lambda config: (config.x - 3) ** 2)
    study = sweep(*options, "shape.name=a,b,c", "hydra.sweeper.n_trials=42", task=lambda config: (config.x - 3) ** 2)
    later = [abs(trial.params["x"] - 3) for trial in study.trials[30:]]
    assert sum(later) / len(later) < 1.5  # uniform draws would be 3.4 away


def test_a_failed_point_is_tried_again_by_the_next_command(sweep):
    task = Noting("x")
    task.bad = [(2,)]
    options = [*GRID, "x=choice(1,2,3)", "hydra.sweeper.max_failure_rate=0.5"]
    for _ in range(2):  # once per command
        with pytest.raises(StudyEndedError, match=r"1 of 3 trials .* have no result:\n  trial .*a bad row at"):
            sweep(*options, task=task)
    task.bad = ()
    study = sweep(*options, task=task)
    assert task.take() == [(1,), (2,), (3,)]
    assert len(study.trials) == 5
    assert sweep(*options, task=task).trials[-1].number == 4
    assert task.take() == []


def test_failures_stay_where_people_say_so(sweep):
    task = Noting("x")
    task.bad = [(2,)]
    options = [*GRID, "x=choice(1,2,3)", "hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.retry=none"]
    sweep(*options, task=task)
    task.bad = ()
    assert len(sweep(*options, task=task).trials) == 3


def test_a_search_tries_failed_points_again_too(sweep):
    task = Noting("x")
    options = ["x=interval(1,2)", "hydra.sweeper.n_trials=5", "hydra.sweeper.max_failure_rate=0.5"]
    calls = []

    def fail_twice(config):
        calls.append(config.x)
        if len(calls) in (2, 3):
            raise ValueError("for the moment")
        return task(config)

    with pytest.raises(StudyEndedError, match="2 of 5 trials"):
        sweep(*options, task=fail_twice)
    sweep(*options, task=fail_twice)
    assert sorted(calls[5:]) == sorted(calls[1:3])
    assert len(task.runs) == 5


def test_runs_that_finished_before_a_repeat_failed_are_not_run_again(sweep):
    runs = []

    def fail_at_first(config):
        runs.append(config.seed)
        if config.seed == 2 and runs.count(2) == 1:
            raise ValueError("unlucky")
        return float(config.seed)

    options = ["x=interval(1,2)", "hydra.sweeper.n_trials=1", "hydra.sweeper.repeats=3"]
    with pytest.raises(StudyEndedError):
        sweep(*options, task=fail_at_first)
    study = sweep(*options, task=fail_at_first)
    assert runs == [0, 1, 2, 2]
    assert study.best_value == 1.0


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_six_values_of_three_types_are_six_points(sweep, sampler):
    task = Marking()
    options = [f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=60"]
    sweep(*options, "mark=1,'1',true,'True',null,'None'", task=task)
    assert sorted(repr(mark) for mark, _ in task.runs) == sorted(["1", "'1'", "True", "'True'", "None", "'None'"])


def test_settings_that_an_earlier_version_stored_are_compared_in_the_words_of_this_one(sweep):
    task = Noting("x")
    sweep(*GRID, "x=choice(1,2)", "+before=[1]", task=task)
    again = Noting("x")
    rename = {"before": "today"}
    searchable(simplify=lambda flat: {rename.get(key, key): value for key, value in flat.items()})(again)
    sweep(*GRID, "x=choice(1,2,3)", "+today=[1]", task=again)
    assert (task.take(), again.take()) == ([(1,), (2,)], [(3,)])


def test_earlier_trials_are_shown_with_what_they_had_of_a_key_that_is_searched_now(sweep, study_dir):
    task = Noting("x")
    sweep(*GRID, "x=choice(1,2)", task=task)
    sweep(*GRID, "x=choice(1,2)", "y=3", "hydra.sweeper.allow_changes=true", task=task)
    sweep(*GRID, "x=choice(1,2)", "y=choice(1,3)", "shape=flat,round", task=task)
    points = [
        tuple(trial.parameters[key] for key in ("x", "y", "shape")) for trial in read_study(None, study_dir).trials
    ]
    assert len(points) == 8
    assert set(points) == set(itertools.product((1, 2), (1, 3), ("flat", "round")))
    best = OmegaConf.load(study_dir / "optimization_results.yaml").best_params
    assert set(best) == {"x", "y", "shape"}
    sweep(*GRID, "x=choice(1,7)", "y=3", task=task)
    trials = read_study(None, study_dir).trials
    assert [tuple(one.parameters[key] for key in ("x", "y", "shape")) for one in trials if one.number > 7] == [
        (7, 3, "flat")
    ]


@pytest.mark.parametrize("failures", [1, 2])
def test_a_space_that_changes_after_points_were_tried_again(sweep, caplog, failures):
    task = Noting("x")
    task.bad = {(1,)}
    command = [*GRID, "hydra.sweeper.max_failure_rate=1", "hydra.sweeper.progress=lines"]
    for _ in range(failures):
        with pytest.raises(StudyEndedError):
            sweep(*command, "x=1,2,3", task=task)
    task.bad = ()
    sweep(*command, "x=1,2,3", task=task)
    with caplog.at_level(logging.INFO):
        study = sweep(*command, "x=1,2,3,4", task=task)
    assert len(study.trials) == 4 + failures
    assert "1 new points to run; 3 trials there belong to the new space." in caplog.text
    assert "4 done of 4; best" in caplog.text


class Stopping(Noting):
    """A task that is interrupted in its job of a number, counted from 1."""

    def __init__(self, *keys, at=0):
        super().__init__(*keys)
        self.at, self.jobs = at, 0

    def __call__(self, config):
        self.jobs += 1
        if self.jobs == self.at:
            raise KeyboardInterrupt
        return super().__call__(config)


class Training(Stopping):
    """Nine steps, that a scheduler may pause; notes which x each trial was trained with."""

    def __init__(self, at=0):
        super().__init__(at=at)
        self.trained = {}

    def __call__(self, config):
        self.jobs += 1
        if self.jobs == self.at:
            raise KeyboardInterrupt
        trial = current_trial()
        file = Path(trial.folder) / "steps"
        done = file.read_text().split() if file.exists() else []
        for step in range(len(done), 9):
            done.append(str(config.x))
            file.write_text(" ".join(done))
            self.trained[trial.number] = set(done)
            trial.progress((step + 1) / 9)
            trial.report(float(config.x), step=step)
            if step < 8:
                trial.saved()
        return float(config.x)


def interrupt(sweep, *overrides, task):
    with pytest.raises(KeyboardInterrupt):
        sweep(*overrides, task=task)


def test_an_interrupted_trial_of_a_searched_key_that_is_fixed_now_does_not_go_on(sweep):
    """Its record would say what was drawn, and its value be of what is fixed."""
    interrupt(sweep, "x=interval(1,2)", "hydra.sweeper.n_trials=2", task=Stopping("x", at=2))
    sweep("x=0", "hydra.sweeper.n_trials=3", task=(fixed := Noting("x")))
    assert fixed.runs == [(0,)]
    study = sweep("x=interval(1,2)", "hydra.sweeper.n_trials=4", task=Noting("x"))
    states = [trial.state for trial in study.trials]
    assert states[1] == TrialState.PRUNED
    inside = [trial for trial in study.trials if trial.state == TrialState.COMPLETE and trial.params]
    assert all(trial.value == pytest.approx(trial.params["x"]) for trial in inside)


def test_an_interrupted_or_paused_trial_of_another_seed_does_not_go_on(sweep, study_dir):
    options = ["hydra/sweeper/pruner=promotion", "x=interval(1,2)", "hydra.sweeper.n_trials=6"]
    interrupt(sweep, *options, task=Training(at=5))
    begun = {trial.number for trial in read_study(None, study_dir).trials}
    study = sweep(*options, "seed=1", task=(task := Training()))
    assert task.trained
    assert not begun & task.trained.keys()
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}


SMALL = "hydra.sweeper.constraints=['x * y <= 8']"


def test_what_a_new_constraint_forbids_is_not_trained_again(sweep, caplog):
    space = ["x=range(1,5)", "y=choice(1,2,4,8)", "hydra.sweeper.max_failure_rate=1", "hydra.sweeper.reuse=none"]

    def task(config):
        runs.append((int(config.x), int(config.y)))
        if config.x * config.y > 8:
            raise MemoryError("too large")
        return float(config.x)

    runs = []
    with pytest.raises(StudyEndedError, match="too large"):
        sweep(*space, "hydra.sweeper.n_trials=6", task=task)
    runs = []
    with caplog.at_level(logging.INFO):
        study = sweep(*space, SMALL, "hydra.sweeper.n_trials=8", task=task)
    assert len(runs) == 2
    assert all(x * y <= 8 for x, y in runs)
    assert len(study.trials) == 8
    assert "has changed: constraint x * y <= 8: stored without, now kept" in caplog.text
    assert "do not and stay as history" in caplog.text


@pytest.mark.parametrize("pruner", ["none", "promotion"])
def test_an_interrupted_trial_that_a_new_constraint_forbids_does_not_go_on(sweep, pruner):
    command = [
        "x=range(1,9)", "y=range(1,9)", "hydra.sweeper.n_trials=6", f"hydra/sweeper/pruner={pruner}",
        "hydra.sweeper.start=[{x: 5, y: 5}, {x: 6, y: 5}, {x: 5, y: 6}]", "hydra.sweeper.reuse=none",
    ]  # fmt: skip
    interrupt(sweep, *command, task=Training(at=3))
    study = sweep(*command, SMALL, task=(task := Training()))
    assert task.trained.keys() == {3, 4, 5}, "none of the first goes on"
    ended = TrialState.PRUNED if pruner == "promotion" else TrialState.COMPLETE
    assert [trial.state for trial in study.trials[:3]] == [TrialState.COMPLETE, ended, TrialState.PRUNED]


def test_a_constraint_on_a_study_of_an_earlier_version_which_kept_none_is_new(sweep, monkeypatch, caplog):
    def write_as_before(definition):
        content = write(definition)
        return {key: content[key] for key in content.keys() - {"constraints", "way"}}

    write = Definition.to_json
    with monkeypatch.context() as patch:
        patch.setattr(Definition, "to_json", write_as_before)
        sweep("x=range(1,5)", "hydra.sweeper.n_trials=6", "hydra.sweeper.start=[{x: 4}]")
    other = ["x=range(1,5)", "hydra/sweeper/sampler=tpe"]
    with caplog.at_level(logging.INFO):
        sweep(*other, "hydra.sweeper.n_trials=7")
        assert "has changed" not in caplog.text, "there is none to be new"
        for total in (8, 9):
            study = sweep(*other, f"hydra.sweeper.n_trials={total}", "hydra.sweeper.constraints=['x < 4']")
    assert caplog.text.count("has changed: constraint x < 4: stored without, now kept") == 1
    assert caplog.text.count("do not and stay as history") == 1
    assert "another way" not in caplog.text
    assert study._storage.get_study_system_attrs(study._study_id)[DEFINITION_KEY]["has_grown"]


def test_a_point_to_be_tried_first_is_tried_though_the_space_has_grown(sweep):
    start = ["hydra.sweeper.start=[{x: 3},{x: 2}]", "hydra.sweeper.n_trials=4", "hydra.sweeper.reuse=none"]
    interrupt(sweep, "x=choice(1,2,3)", *start, task=Stopping("x", at=1))
    task = Noting("x")
    study = sweep("x=choice(1,2,3,4,5,6,7,8)", *start, task=task)
    assert [point for (point,) in task.runs][:2] == [3, 2]
    assert [trial.value for trial in study.trials[:2]] == [3.0, 2.0]


@pytest.mark.parametrize("later", [["x=choice(1,2,3,4,5,6,7,8)"], ["x=choice(1,2)", "y=interval(2,3)"], ["x=7"]])
def test_a_paused_trial_goes_on_as_it_began_or_not_at_all(sweep, later):
    options = [
        "hydra/sweeper/pruner=promotion", "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=5",
        "hydra.sweeper.reuse=none",
    ]  # fmt: skip
    interrupt(sweep, *options, "x=choice(1,2)", task=(before := Training(at=5)))
    study = sweep(*options, *later, task=(task := Training()))
    assert task.trained
    for number, values in {**before.trained, **task.trained}.items():
        assert len(values) == 1, f"trial {number} was trained with {values}"
        trial = study.trials[number]
        drawn = {value for name, value in trial.params.items() if name.startswith("x")}
        if drawn and trial.state == TrialState.COMPLETE:
            assert drawn == {int(*values)}
            assert "y" not in trial.params or number not in before.trained or trial.params["y"] == 1.0


def test_another_value_of_a_fixed_key_within_a_searched_group_is_another_study(sweep):
    sweep("x=choice(1,2,3)", "shape=flat,round", "shape.name=foo", "hydra.sweeper.n_trials=2")
    with pytest.raises(StudyEndedError, match=r"setting shape\.name \(shape=flat\): stored foo, now bar"):
        sweep("x=choice(1,2,3)", "shape=flat,round", "shape.name=bar", "hydra.sweeper.n_trials=4")
    study = sweep("x=choice(1,2,3,4)", "shape=flat,round", "shape.name=foo", "hydra.sweeper.n_trials=4")
    assert len(study.trials) == 4


def test_steps_of_a_range_are_what_was_written(sweep):
    """In a grid and drawn alike, so that a grid does not run 0.30000000000000004 beside 0.3."""
    task = Noting("x")
    sweep("x=range(0,1,0.1)", "hydra.sweeper.n_trials=30", "hydra/sweeper/sampler=random", task=task)
    drawn = task.take()
    assert {x for (x,) in drawn} <= {number / 10 for number in range(10)}
    study = sweep("x=range(0,1,0.1)", *GRID, task=task)
    assert sorted({*drawn, *task.take()}) == [(number / 10,) for number in range(10)]
    assert study.trials


def test_a_group_that_was_searched_and_that_the_files_fix_now_has_the_option_that_they_fix(sweep):
    """Trials of this option are points of the new space, and those of the other are history."""
    task = Noting("shape", "x")
    sweep(*GRID, "+hydra.sweeper.params={shape: 'flat,round', x: '1,2'}", "hydra.sweeper.reuse=none", task=task)
    task.take()
    fixed = "+hydra.sweeper.params={shape: round, x: '1,2,3'}"
    assert len(sweep(*GRID, fixed, "hydra.sweeper.n_trials=7", task=task).trials) == 5
    assert [(shape.name, x) for shape, x in task.runs] == [("round", 3)]


def test_points_of_another_study_are_held_against_the_option_that_the_files_fix(sweep, tmp_path):
    both = sweep(*GRID, "shape=flat,round", "x=1,2", study_dir=tmp_path / "both")
    params = "+hydra.sweeper.params={shape: round, x: '1,2,3'}"
    study = sweep(params, "hydra.sweeper.n_trials=2", "hydra.sweeper.start=[both:4]")
    same = {f"trial {trial.number} of both" for trial in both.trials if trial.params["shape"] == "round"}
    assert {trial.user_attrs[START_KEY] for trial in study.trials} == same
