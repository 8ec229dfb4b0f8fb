"""A person ends a trial, or a study, from outside."""

from __future__ import annotations

import shutil

import optuna
import pytest
from optuna.trial import TrialState

from sentiment.__main__ import main
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.address_file import write_study_address
from sentiment.search.study.current import current_trial
from sentiment.search.study.stop import StopError, request_stop
from sentiment.search.study.trial import STOP_KEY, open_study


@pytest.fixture(autouse=True)
def _forget_studies():
    """A process never meets another study at the same place."""
    open_study.cache_clear()
    yield
    open_study.cache_clear()


@pytest.mark.parametrize("is_database", [False, True])
def test_a_study_ends_after_its_running_job_and_its_command_goes_on(sweep, study_dir, tmp_path, is_database):
    storage = f"sqlite:///{tmp_path}/studies.db" if is_database else None

    def stop_at_second(config):
        if current_trial().number == 1:
            request_stop(study_dir)
        return 1.0

    options = ("x=interval(0,1)", "hydra.sweeper.n_trials=4", "hydra.sweeper.study_name=mine")
    stopped = sweep(*options, task=stop_at_second, storage=storage)
    assert [trial.state for trial in stopped.trials] == [TrialState.COMPLETE] * 2
    whole = sweep(*options, task=lambda config: 1.0, storage=storage)
    assert [trial.state for trial in whole.trials] == [TrialState.COMPLETE] * 4


def test_of_a_study_whose_trials_have_ended_nothing_is_left_to_stop(sweep, study_dir, capsys):
    sweep("x=interval(0,1)", "hydra.sweeper.n_trials=2", task=lambda config: 1.0)
    capsys.readouterr()
    main(["stop", str(study_dir)])
    told = "Nothing is left to stop: no command works on the study, and what it has, 2 trials, has ended.\n"
    assert capsys.readouterr().out == told


def test_a_study_that_is_stopped_before_a_trial_keeps_the_limits_has_not_failed(sweep, study_dir):
    def run(config):
        current_trial().describe({"size": 5.0})
        if current_trial().number == 1:
            request_stop(study_dir)
        return 1.0

    options = ("x=interval(0,1)", "hydra.sweeper.limits={size: 1}", "hydra.sweeper.n_trials=3")
    assert len(sweep(*options, task=run).trials) == 2
    with pytest.raises(StudyEndedError, match="None of the 3"):
        sweep(*options, task=run)


def test_a_study_that_is_stopped_tells_which_trials_have_failed(sweep, study_dir):
    def run(config):
        if current_trial().number == 0:
            raise ValueError("a bad row")
        request_stop(study_dir)
        return 1.0

    options = ("x=interval(0,1)", "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failure_rate=1")
    with pytest.raises(StudyEndedError, match=r"1 of 2 trials of the study .* no result:\n  trial 0: .*a bad row"):
        sweep(*options, task=run)
    study = sweep(*options, task=lambda config: 1.0)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, *[TrialState.COMPLETE] * 4]


def test_a_trial_ends_as_pruned_at_its_next_report(sweep, study_dir, caplog):
    caplog.set_level("INFO", "sentiment.search.progress")

    def report(config):
        trial = current_trial()
        for step in range(3):
            if (trial.number, step) == (1, 1):
                request_stop(study_dir, 1)
            trial.report(1.0, step=step)
        return 1.0

    study = sweep("x=interval(0,1)", "hydra.sweeper.n_trials=3", "hydra.sweeper.progress=lines", task=report)
    assert "#1 pruned after 1 report: ended on request |" in caplog.text
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert [trial.state for trial in study.trials] == states
    assert set(study.trials[1].intermediate_values) == {0}
    with pytest.raises(StopError, match=r"Trial 0 of .* does not run"):
        request_stop(study_dir, 0)


def test_a_trial_that_ends_at_the_moment_when_it_is_asked_to_does_not_run(study_dir, monkeypatch):
    study = optuna.create_study(study_name="mine", storage=open_storage(None, study_dir))
    write_study_address(study_dir, "mine", None, None)
    trial, list_trials = study.ask(), optuna.Study.get_trials

    def list_and_end(*arguments, **options):
        listed = list_trials(*arguments, **options)
        study.tell(trial, 1.0)
        return listed

    monkeypatch.setattr(optuna.Study, "get_trials", list_and_end)
    with pytest.raises(StopError, match=r"Trial 0 of mine does not run\.\n  -> those that run: none"):
        request_stop(study_dir, 0)


def test_a_study_that_was_removed_and_made_anew_is_the_one_that_is_asked(study_dir):
    def make(trials):
        study = optuna.create_study(study_name="mine", storage=open_storage(None, study_dir))
        write_study_address(study_dir, "mine", None, None)
        for _ in range(trials):
            study.ask()
        return study

    make(1)
    request_stop(study_dir, 0)
    shutil.rmtree(study_dir)
    study = make(3)
    request_stop(study_dir, 2)
    assert [trial.system_attrs for trial in study.trials] == [{}, {}, {STOP_KEY: True}]


def test_a_folder_without_a_study_is_said(tmp_path):
    with pytest.raises(StopError, match=r"holds no study.*\n.*a plain multirun ends by Ctrl-C"):
        request_stop(tmp_path)
