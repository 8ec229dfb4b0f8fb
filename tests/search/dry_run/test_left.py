"""A dry run tells what the same command then runs, for every way in which a study may end or go on."""

from __future__ import annotations

import contextlib
import re

import pytest

from sentiment.search.dry_run.probe import Measured
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.parameters import LabelledPoint
from sentiment.search.study.current import current_trial

SEED = "hydra.sweeper.sampler.seed=1"
GRID = "hydra/sweeper/sampler=grid"
FULL = "hydra.sweeper.full_trials"


class Task:
    """A task that fails, or is interrupted, where a test wants it; one job is one run."""

    def __init__(self):
        self.fail_at = self.stop_at = None
        self.runs = []

    def __call__(self, config):
        self.runs.append(current_trial().number)
        if len(self.runs) == self.fail_at:
            raise ValueError("a bad row")
        current_trial().progress(1.0)
        if len(self.runs) == self.stop_at:
            raise KeyboardInterrupt
        return abs(config.x)


@pytest.fixture
def dry_run(sweep, capsys, monkeypatch):
    """Makes a dry run whose probe is known: jobs of ten seconds."""
    measured = [(LabelledPoint("smallest", {"x": 1, "steps": 4}), Measured(10.0, False, 100, None))]
    monkeypatch.setattr("sentiment.search.dry_run.page.probe_search", lambda *_: measured)

    def tell(*overrides, **where):
        with contextlib.suppress(ValueError):  # there is no study yet
            sweep(*overrides, "hydra.sweeper.dry_run=true", **where)
        return " ".join(capsys.readouterr().out.split())

    return tell


def count(told):
    if "the command would run none" in told:
        return 0
    return int(re.search(r"(\d+) trials?, 1 at a time", told)[1])


@pytest.mark.parametrize(
    "commands",
    [
        [["x=interval(0,9)", "hydra.sweeper.n_trials=3"], ["x=interval(0,9)", "hydra.sweeper.n_trials=5"]],
        [["x=interval(0,9)", f"{FULL}=4"], ["x=interval(0,9)", f"{FULL}=4"], ["x=interval(0,9)", f"{FULL}=6"]],
        [["x=interval(0,9)", f"{FULL}=3", "hydra.sweeper.n_trials=9"]],
        [["x=interval(0,9)", f"{FULL}=7", "hydra.sweeper.repeats=3"]],
        [["x=interval(0,9)", f"{FULL}=0.5"]],
        [["x=interval(0,9)", "hydra.sweeper.epochs=9", "hydra.sweeper.epochs_key=steps", "steps=4"]],
        [["x=interval(0,9)", "hydra.sweeper.epochs=13", "hydra.sweeper.epochs_key=steps", "steps=choice(4)"]],
        [["x=1,2,3,4,5,6", GRID, f"{FULL}=4"], ["x=1,2,3,4,5,6", GRID, f"{FULL}=40"]],
        [["x=1,2,3", GRID], ["x=4,5,6,7", GRID], ["x=1,4,8", GRID]],
        [["x=1,2,3,4", GRID, "hydra.sweeper.constraints=['x > 1']"], ["x=1,2,3,4", GRID]],
        [["x=interval(0,9)", "hydra.sweeper.n_trials=3", "hydra.sweeper.start=[{x: 1}, {x: 2}]"]],
        [["x=1,2,3,4", GRID, "hydra.sweeper.n_trials=2"], ["x=1,2,3,4", GRID, "hydra.sweeper.n_trials=3"]],
    ],
)
def test_it_tells_as_many_trials_as_the_command_then_runs(sweep, dry_run, commands):
    task = Task()
    for command in commands:
        told = count(dry_run(*command, SEED if GRID not in command else "y=1"))
        before = len(set(task.runs))
        with contextlib.suppress(StudyEndedError):
            sweep(*command, SEED if GRID not in command else "y=1", task=task)
        assert told == len(set(task.runs)) - before, command


def test_what_failed_or_was_interrupted_is_run_again(sweep, dry_run):
    command, task = ("x=interval(0,9)", SEED, "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failure_rate=1"), Task()
    task.fail_at, task.stop_at = 1, 3
    with pytest.raises(KeyboardInterrupt):
        sweep(*command, task=task)
    told = dry_run(*command)
    assert count(told) == 3
    assert "1 complete, 1 failed, 1 waiting" in told
    assert "Among the trials to run: 1 interrupted, 1 failed before." in told
    assert count(dry_run(*command, "hydra.sweeper.retry=none")) == 2
    runs = len(task.runs)
    sweep(*command, task=task)
    assert len(task.runs) - runs == 3
    assert count(dry_run(*command)) == 0


def test_what_ended_after_its_command_was_gone_is_not_run_again(sweep, dry_run, gone):
    command, task = ("x=interval(0,9)", SEED, "hydra.sweeper.n_trials=3"), Task()
    with gone(1):
        sweep(*command, task=task)
    told = dry_run(*command)
    assert (count(told), "2 complete" in told, "interrupted" in told) == (1, True, False)
    sweep(*command, task=task)
    assert len(task.runs) == 3


def test_points_to_be_tried_first_beyond_a_lowered_number_are_not_told(sweep, dry_run):
    points = ", ".join(f"{{x: {number}}}" for number in range(8))
    command, task = ("x=interval(0,9)", SEED, "hydra.sweeper.n_trials=8"), Task()
    task.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        sweep(*command, f"hydra.sweeper.start=[{points}]", task=task)
    fewer = (*command[:2], "hydra.sweeper.n_trials=3")
    assert count(dry_run(*fewer)) == 2, "the interrupted one, and one more"
    runs = len(task.runs)
    sweep(*fewer, task=task)
    assert len(task.runs) - runs == 2


def test_what_was_interrupted_outside_the_space_as_it_is_now_is_not_run_again(sweep, dry_run):
    task = Task()
    task.stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        sweep("x=interval(0,9)", SEED, "hydra.sweeper.n_trials=2", task=task)
    command = ("x=interval(20,30)", SEED, "hydra.sweeper.n_trials=4")
    told = dry_run(*command)
    assert "1 interrupted" not in told
    runs = len(task.runs)
    study = sweep(*command, task=task)
    assert len(task.runs) - runs == count(told) == 2
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"]


def test_a_budget_of_time_is_what_is_left_of_it(sweep, dry_run):
    command = ("x=interval(0,9)", SEED, "hydra.sweeper.budget=100s")
    assert count(dry_run(*command)) == 10
    assert count(dry_run(*command, "hydra.sweeper.repeats=2")) == 5
    assert count(dry_run(*command, "hydra.sweeper.n_trials=3")) == 3
    assert "Not one whole trial fits into the budget" in dry_run(*command, "hydra.sweeper.budget=5s")


def test_a_length_that_is_only_a_bound_tells_how_many_trials_fit_at_most(dry_run, monkeypatch):
    point = LabelledPoint("smallest", {"x": 1, "steps": 4})
    command = ("x=interval(0,9)", SEED, "hydra.sweeper.budget=100s")
    assert "100 s used. So many whole trials fit" in dry_run(*command).replace("1 min 40 s", "100 s")
    found = [(point, Measured(10.0, True, 100, None))]
    monkeypatch.setattr("sentiment.search.dry_run.page.probe_search", lambda *_: found)
    assert "At most so many whole trials fit" in dry_run(*command)
    monkeypatch.setattr("sentiment.search.dry_run.page.probe_search", lambda *_: [])
    told = dry_run(*command)
    assert "none keep the constraints" in told
    assert "failed" not in told


@pytest.mark.parametrize(("steps", "is_told"), [(4, True), (2, False)])
def test_what_a_probe_leaves_out_is_told_where_jobs_have_it(dry_run, steps, is_told):
    told = dry_run("x=interval(0,9)", f"steps={steps}", "hydra.sweeper.probe_overrides=['steps=2']")
    assert ("On top comes what hydra.sweeper.probe_overrides leaves out: steps." in told) == is_told


def test_what_is_extended_is_told_and_not_pruned(sweep, dry_run, study_dir):
    sweep("x=choice(1,2,3,4)", GRID, task=Task())
    other = {"study_dir": study_dir.parent / "other"}
    command = ("x=interval(0,9)", SEED, "hydra.sweeper.extend=study:3", "hydra/sweeper/pruner=promotion", "steps=5")
    told = dry_run(*command, **other)
    assert count(told) == 3
    assert re.search(r"extended trial \d of study; trial \d of study; trial \d of study", told)
    assert "pruner none" in told
    task = Task()
    sweep(*command, task=task, **other)
    assert task.runs == [0, 1, 2]
    assert count(dry_run(*command, "hydra.sweeper.extend=study:4", **other)) == 1


def test_points_of_a_grid_are_extended_too(sweep, study_dir):
    sweep("x=choice(1,2,3,4)", GRID, "y=1", task=Task())
    task = Task()
    command = ("x=choice(1,2,3,4)", GRID, "y=1", "steps=5", "hydra.sweeper.extend=study:2")
    study = sweep(*command, task=task, study_dir=study_dir.parent / "other")
    assert sorted(trial.params["x"] for trial in study.trials) == [1, 2]


def test_a_command_that_would_be_refused_is_refused(sweep, dry_run):
    sweep("x=choice(1,2)", GRID, "y=1", task=Task())
    with pytest.raises(StudyEndedError, match=r"setting y: stored 1, now 2"):
        dry_run("x=choice(1,2)", GRID, "y=2")
    with pytest.raises(StudyEndedError, match="holds the study 'study'"):
        dry_run("x=choice(1,2)", GRID, "y=1", "hydra.sweeper.study_name=other")
    for option in ("trial_timeout=1h", "threads_per_job=1", "devices=none", "trials_per_device=2"):
        for launcher, remedy in (("joblib", "leave"), ("submitit_local", "take .*timeout_min, or leave")):
            told = rf"a launcher's jobs are not ended from here, nor given threads and devices\n +-> {remedy}"
            with pytest.raises(StudyEndedError, match=told):
                dry_run("x=choice(1,2)", f"hydra/launcher={launcher}", f"hydra.sweeper.{option}")
    assert dry_run("x=choice(1,2)", GRID, "y=1", "hydra/launcher=joblib", "hydra.sweeper.devices=unused")


def test_epochs_that_no_trial_could_keep_to_are_refused(sweep):
    command = ("x=interval(0,9)", "hydra.sweeper.epochs_key=steps", "steps=4", "hydra.sweeper.repeats=2")
    with pytest.raises(StudyEndedError, match="is 7, and one trial takes 8"):
        sweep(*command, "hydra.sweeper.epochs=7", task=Task())


def test_a_launcher_has_its_own_devices(dry_run, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    told = dry_run("x=choice(1,2)", "hydra/launcher=joblib", "hydra.sweeper.n_jobs=3")
    assert "3 jobs at a time under hydra/launcher=joblib" in told
