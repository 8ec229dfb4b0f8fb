"""What people see of a study: the results file after every trial, event lines, callbacks, workers' logs."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import pytest
from hydra.utils import execution_whitelist
from omegaconf import OmegaConf
from optuna.trial import TrialState, create_trial

from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.progress import (
    RESULTS_FILE,
    WORKERS_DIR,
    EventLines,
    RunningJob,
    StudyState,
    format_failure,
    write_results,
)
from sentiment.search.study.current import current_trial
from sentiment.search.study.rungs import VALUES_KEY


def read_results(study_dir):
    return OmegaConf.to_container(OmegaConf.load(study_dir / RESULTS_FILE))


def test_the_results_file_is_there_after_every_trial(sweep, study_dir):
    seen = []

    def look(config):
        seen.append(read_results(study_dir)["best_value"] if (study_dir / RESULTS_FILE).exists() else None)
        return 10.0 - current_trial().number

    sweep("x=interval(0,1)", "hydra.sweeper.n_trials=4", task=look)
    assert seen == [None, 10.0, 9.0, 8.0]
    assert read_results(study_dir)["best_value"] == 7.0


def test_an_aborted_study_has_its_results(sweep, study_dir):
    def stop(config):
        if current_trial().number == 2:
            raise KeyboardInterrupt
        return float(current_trial().number)

    with pytest.raises(KeyboardInterrupt):
        sweep("x=interval(0,1)", "hydra.sweeper.n_trials=4", task=stop)
    assert read_results(study_dir)["best_value"] == 0.0


def test_a_study_without_a_result_writes_none(sweep, study_dir):
    def fail(config):
        raise ValueError("no")

    with pytest.raises(StudyEndedError):
        sweep("x=interval(0,1)", "hydra.sweeper.n_trials=1", task=fail)
    assert not (study_dir / RESULTS_FILE).exists()


def test_a_worker_that_died_before_its_job_began_has_left_its_own_log(study_dir):
    trial = create_trial(
        state=TrialState.FAIL, user_attrs={"failure.kind": "worker_died", "failure.reason": "it was killed"}
    )
    assert format_failure(trial, study_dir) == "it was killed"
    (study_dir / WORKERS_DIR).mkdir(parents=True)
    assert format_failure(trial, study_dir) == f"it was killed (log: {study_dir}/workers)"


def test_results_are_replaced_whole(sweep, study_dir, monkeypatch):
    study = sweep("x=interval(0,1)", "hydra.sweeper.n_trials=1", task=lambda config: 1.0)
    before = (study_dir / RESULTS_FILE).read_bytes()

    def lose_power(source, target):
        raise OSError("power cut")

    monkeypatch.setattr(os, "replace", lose_power)
    monkeypatch.setattr("pathlib.Path.replace", lose_power)
    with pytest.raises(OSError, match="power cut"):
        write_results(study_dir, study.trials, 1)
    assert (study_dir / RESULTS_FILE).read_bytes() == before


def test_every_event_has_its_line(sweep, caplog):
    def task(config):
        trial = current_trial()
        if trial.number == 1:
            raise ValueError("bad luck")
        trial.report(trial.number, step=0)
        return trial.number / 3

    pruner = ["hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1"]
    options = [
        "x=interval(1,2)",
        "+z=choice(a)",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.max_failure_rate=0.5",
        "hydra.sweeper.retry=none",
    ]
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        sweep(*options, *pruner, "hydra.sweeper.progress=lines", task=task)
    lines = [record.message for record in caplog.records if record.name == "sentiment.search.progress"]
    assert lines[0].startswith("Study study, 3 trials, in ")
    assert lines[1].startswith("#0 started (here): x=1.")
    assert lines[1].endswith("+z=a")
    assert lines[2] == "#0 complete: 0 | 1 done of 3; best 0 (#0)"
    assert lines[4] == "#1 failed: ValueError: bad luck | 1 done, 1 failed of 3; best 0 (#0)"
    assert lines[6] == "#2 pruned after 1 report | 1 done, 1 pruned, 1 failed of 3; best 0 (#0)"
    assert lines[-1].startswith("Best parameters: x=1.")


def test_a_study_that_goes_on_says_so_and_equal_trials_are_named(sweep, caplog):
    sweep("x=choice(3)", "hydra.sweeper.n_trials=1")
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        sweep("x=choice(3)", "hydra.sweeper.n_trials=2")
    assert "Study study, goes on: 1 of 2 trials have ended" in caplog.text
    assert "#1 complete: 10 (equal to trial 0, not run again)" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        sweep("x=choice(3)", "hydra.sweeper.n_trials=2")
    assert "Study study, 2 of 2 trials have ended, in " in caplog.text


def test_a_trial_that_breaks_a_limit_is_never_called_the_best(sweep, study_dir, caplog):
    def task(config):
        current_trial().describe({"size": float(config.x)})
        return float(config.x)

    options = ["x=choice(2,3,1)", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize"]
    limits = ["hydra.sweeper.limits={size: 2}", "hydra/sweeper/sampler=tpe", "hydra.sweeper.n_trials=9"]
    limits += ["hydra.sweeper.sampler.seed=1"]
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        study = sweep(*options, *limits, "hydra.sweeper.reuse=false", task=task)
    assert max(trial.value for trial in study.trials) == 3.0
    best = next(trial for trial in study.trials if trial.value == 2.0)
    stands = [record.message for record in caplog.records if "; best " in record.message]
    assert f"; best 2 (#{best.number})" in stands[-1]
    assert not any("; best 3" in line for line in stands)
    assert read_results(study_dir)["best_value"] == 2.0


def test_nobody_is_told_where_people_want_quiet(sweep, caplog):
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        sweep("x=choice(3)", "hydra.sweeper.n_trials=1", "hydra.sweeper.progress=none")
    assert "started" not in caplog.text


CALLBACK = """
events = []


class Watching:
    def on_study_start(self, config, state):
        events.append(("start", state.total, config.x))

    def on_trial_job_end(self, config, finished):
        events.append(("job", finished.job.number, finished.outcome.values))

    def on_trial_end(self, config, trial, state):
        events.append(("trial", trial.number, state.best[0].number))
        if config.error:
            raise RuntimeError("the callback is broken")

    def on_study_end(self, config, state):
        events.append(("end", len(state.trials)))
"""


@pytest.fixture
def watching(tmp_path, monkeypatch):
    """A Hydra callback of the application."""
    (tmp_path / "watching_module.py").write_text(CALLBACK, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import watching_module

    watching_module.events.clear()
    with execution_whitelist("watching_module.*"):
        yield watching_module


CALL = "+hydra.callbacks.watching._target_=watching_module.Watching"


def test_the_applications_callbacks_follow_a_study(sweep, watching):
    sweep("x=choice(3)", CALL, "hydra.sweeper.n_trials=2", "hydra.sweeper.reuse=false")
    assert watching.events == [
        ("start", 2, 1.0),
        *(("job", 0, (10.0,)), ("trial", 0, 0)),
        *(("job", 1, (10.0,)), ("trial", 1, 0)),
        ("end", 2),
    ]


def test_a_broken_callback_is_not_passed_over(sweep, watching):
    with pytest.raises(RuntimeError, match="the callback is broken"):
        sweep("x=choice(3)", CALL, "hydra.sweeper.n_trials=2", "error=true")


@pytest.mark.slow
def test_what_workers_print_is_in_their_logs(start_toy, study_dir):
    accident = ["x=choice(0,1)", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_jobs=2", "accident=error"]
    command = start_toy(*accident, "hydra.sweeper.max_failure_rate=1", "hydra.sweeper.retry=none")
    output, _ = command.communicate(timeout=120)
    logs = "".join(file.read_text(encoding="utf-8") for file in (study_dir / "workers").glob("worker-*.log"))
    assert logs.count("Error executing job with overrides") == 2
    assert "Error executing job" not in output
    assert "RuntimeError: cfg.error is True" in output


@pytest.mark.parametrize("progress", ["lines", "table"])
def test_a_parameter_that_has_another_name_in_optuna_is_shown_by_its_key(sweep, study_dir, caplog, capsys, progress):
    grid = ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=9", f"hydra.sweeper.progress={progress}"]
    sweep("x=choice(2,3)", *grid)
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        study = sweep("x=choice(1,2,3)", *grid)
    assert "x[2]" in study.best_params
    assert OmegaConf.load(study_dir / "optimization_results.yaml").best_params == {"x": 1}
    told = caplog.text + capsys.readouterr().out
    assert "x=1" in told
    assert "x[2]" not in told


@pytest.mark.parametrize(("value", "shown"), [("mean", "best 0.5 (#0)"), ("bound", "best 0 (bound) (#0)")])
def test_a_bound_of_repeats_is_not_shown_as_their_mean(sweep, caplog, value, shown):
    options = ["x=1", "hydra.sweeper.n_trials=1", "hydra.sweeper.repeats=2", "hydra.sweeper.direction=maximize"]
    options += [f"hydra.sweeper.repeat_value={value}", "hydra.sweeper.progress=lines"]
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        sweep(*options, task=lambda config: float(config.seed))
    assert shown in caplog.text


def test_each_repeat_says_which_it_is(caplog):
    lines = EventLines()
    lines.study_started(StudyState("s", Path("s"), ["maximize"], 5, [], [], [], 1.0, [], repeats=3))
    caplog.clear()
    with caplog.at_level(logging.INFO):
        lines.job_started(RunningJob(0, "worker 0", 0.0, {"x": 1}, repeat=1))
        lines.job_started(RunningJob(0, "worker 0", 0.0, {"x": 1}, repeat=2, reports=1))
    assert [record.getMessage() for record in caplog.records] == [
        "#0 started, repeat 2 of 3 (worker 0): x=1",
        "#0 started again after 1 report, repeat 3 of 3 (worker 0): x=1",
    ]


@pytest.mark.parametrize(
    ("names", "values", "shown"),
    [
        (["val/accuracy"], [0.5], "50.00 %"),
        (["val/accuracy"], [math.nan], "undefined"),
        (["val/accuracy", "model/parameters"], [0.5, 2690], "50.00 %, 2,690"),
    ],
)
def test_a_paused_trial_is_shown_with_every_objective(caplog, names, values, shown):
    """What it is compared by: of one objective its best report, which the table of the sweep shows too."""
    attributes = {VALUES_KEY.format(step=1): values} if len(values) > 1 else {}
    reports = {0: values[0], 1: values[0] - 0.1}
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=reports, system_attrs=attributes)
    state = StudyState("s", Path("s"), ["maximize"] * len(names), 5, [trial], [], [], 1.0, names)
    with caplog.at_level(logging.INFO):
        EventLines().trial_paused(trial, state)
    assert f"paused after 2 reports: {shown} | " in caplog.text
