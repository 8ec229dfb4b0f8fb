"""Budgets: a study ends in time or with its work done, whoever works on it and however often it is started."""

from __future__ import annotations

import json
import logging
import socket
import time
from dataclasses import replace
from datetime import datetime, timedelta
from shutil import copytree

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from optuna.pruners import NopPruner
from optuna.trial import TrialState, create_trial

from sentiment.errors import ConfigError, RunPruned
from sentiment.search.budget import DEFAULT_TRIALS, UNLIMITED, Budget, Spending, read_duration
from sentiment.search.engine import open_end
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.points import TARGET_KEY
from sentiment.search.storage.lease import Lease
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.current import current_trial
from sentiment.search.study.history import read_study
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome
from sentiment.search.study.promotion import PromotionPruner
from sentiment.search.study.spending import EPOCHS_KEY, Meter, count_committed
from sentiment.search.study.trial import ATTEMPT_KEY, OVER, PROGRESS_KEY, STOP_KEY, TrialAddress
from tests.search.conftest import TOY_DIR

SPACE = ("x=interval(-5,5)", "hydra.sweeper.sampler.seed=1")
NOTHING = Spending(0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("90min", 5400), ("60s", 60), ("1h30m", 5400), ("1.5 h", 5400), ("1d", 86400)],
)
def test_times_are_read_with_their_unit(text, seconds):
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["2", 7200, "h", "2x", "2h!", "-2h", "0s", ""])
def test_what_is_no_time_is_refused(sweep, text):
    with pytest.raises(ValueError, match="with its unit"):
        read_duration(text)


def test_a_wrong_budget_is_a_fault_that_names_its_key(sweep):
    with pytest.raises(StudyEndedError) as caught:
        sweep(*SPACE, "hydra.sweeper.budget=2", "hydra.sweeper.full_trials=0")
    cause = caught.value.__cause__
    assert isinstance(cause, ConfigError)
    assert {fault.key for fault in cause.faults} == {"hydra.sweeper.budget", "hydra.sweeper.full_trials"}


class Stepping:
    """A task of four steps, each of which takes some time; bad points are hopeless from the start."""

    def __init__(self, seconds=0.0, stop_at=None):
        self.seconds = seconds
        self.runs = []
        self.stop_at = stop_at

    def __call__(self, config):
        trial = current_trial()
        self.runs.append(trial.number)
        for step in range(4):
            time.sleep(self.seconds / 4)
            trial.progress((step + 1) / 4)
            trial.report(abs(config.x), step=step)
        if len(self.runs) == self.stop_at:
            self.stop_at = None
            raise KeyboardInterrupt
        return abs(config.x)


def test_work_ends_a_study_where_nothing_is_pruned(sweep, study_dir):
    task = Stepping()
    study = sweep(*SPACE, "hydra.sweeper.full_trials=7", task=task)
    assert len(study.trials) == 7
    assert read_study(None, study_dir).budget == "7 of 7 full trials used"
    sweep(*SPACE, "hydra.sweeper.full_trials=7", task=task)
    assert len(task.runs) == 7, "the same command has nothing left to do"
    sweep(*SPACE, "hydra.sweeper.full_trials=9", task=task)
    assert len(task.runs) == 9


def test_pruned_trials_make_room_for_more(sweep):
    study = sweep(
        *SPACE, "hydra.sweeper.full_trials=10", "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=2", task=Stepping(),
    )  # fmt: skip
    pruned = sum(trial.state == TrialState.PRUNED for trial in study.trials)
    complete = sum(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert pruned > 0
    used = complete + sum(
        trial.system_attrs[PROGRESS_KEY][0] for trial in study.trials if trial.state == TrialState.PRUNED
    )
    assert len(study.trials) > 10
    assert 9 < used <= 10, "a trial that cannot run to its end within the budget does not begin"


def test_repeats_count_each(sweep):
    study = sweep(*SPACE, "hydra.sweeper.full_trials=7", "hydra.sweeper.repeats=3", task=Stepping())
    assert len(study.trials) == 2


def test_a_number_of_trials_counts_beside_a_budget_where_the_command_line_gives_it(sweep):
    study = sweep(*SPACE, "hydra.sweeper.full_trials=7", "hydra.sweeper.n_trials=3", task=Stepping())
    assert len(study.trials) == 3


def test_a_grid_ends_with_its_budget_too(sweep):
    study = sweep("x=1,2,3,4,5,6", "hydra/sweeper/sampler=grid", "hydra.sweeper.full_trials=4", task=Stepping())
    assert len(study.trials) == 4
    study = sweep("x=1,2,3,4,5,6", "hydra/sweeper/sampler=grid", "hydra.sweeper.full_trials=40", task=Stepping())
    assert len(study.trials) == 6


def test_equal_trials_cost_nothing(sweep):
    task = Stepping()
    study = sweep(
        "x=choice(1,2)", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=3", "hydra.sweeper.full_trials=4",
        "hydra.sweeper.n_trials=12", task=task,
    )  # fmt: skip
    assert len(study.trials) == 12
    assert len(task.runs) == 2


FINITE = (
    "x=choice(1,2)", "y=choice(3,4)", "hydra.sweeper.constraints=['x + y < 6']", "hydra/sweeper/sampler=random",
    "hydra.sweeper.epochs_key=steps", "steps=4",
)  # fmt: skip
USED_UP = "All points of the space (3) have a complete trial, and equal ones cost nothing: the study ends with "


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pruner", ["none", "promotion"])
@pytest.mark.parametrize(
    ("limit", "used"),
    [("full_trials=10", "3 of 10 full trials used."), ("epochs=40", "12 of 40 epochs used."), ("budget=1h", "")],
)
def test_a_budget_ends_with_the_points_of_a_finite_space(sweep, caplog, pruner, limit, used):
    """Equal trials cost nothing: no number of them uses it up."""
    task, options = Stepping(), [*FINITE, f"hydra/sweeper/pruner={pruner}", f"hydra.sweeper.{limit}"]
    with caplog.at_level("INFO"):
        study = sweep(*options, task=task)
    assert {(trial.params["x"], trial.params["y"]) for trial in study.trials} == {(1, 3), (1, 4), (2, 3)}
    assert len(task.runs) == 3, "a task without checkpoints never pauses"
    [told] = [line for line in caplog.messages if line.startswith("All points")]
    assert told.startswith(USED_UP + used)
    number = len(study.trials)
    assert len(sweep(*options, task=task).trials) == number + 1, "one, to see that it is equal"
    assert len(task.runs) == 3
    sweep("x=choice(2,0)", *options[1:], task=task)
    assert len(task.runs) == 5, "two of the three points of the changed space have no trial yet"


@pytest.mark.timeout(60)
def test_a_finite_space_goes_on_within_its_budget_where_no_trial_is_equal_any_more(sweep):
    """Points of earlier settings have their complete trials, and the last one of before was free."""
    task, options = Stepping(), [*FINITE[:-1], "hydra.sweeper.full_trials=10"]
    sweep(*options, "steps=4", task=task)
    assert len(task.runs) == 3
    sweep(*options, "steps=5", "hydra.sweeper.allow_changes=true", task=task)
    assert len(task.runs) == 3 + 3, "the points of the changed settings"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("option", ["hydra.sweeper.reuse=none", "seed=${hydra:job.num}"])
def test_a_finite_space_whose_trials_all_run_ends_with_its_budget(sweep, option):
    task = Stepping()
    study = sweep(*FINITE, option, "hydra.sweeper.full_trials=10", task=task)
    assert len(study.trials) == len(task.runs) == 10


@pytest.mark.timeout(60)
def test_points_of_branches_are_points_that_a_budget_ends_with(sweep, caplog, tmp_path):
    task, content = Stepping(), (TOY_DIR / "conf" / "config.yaml").read_text()
    copytree(TOY_DIR / "conf", tmp_path / "conf")
    branches = "hydra: {sweeper: {branches: {x=1: {y: 'choice(1,2)'}}}}"
    (tmp_path / "conf" / "config.yaml").write_text(f"{content}\n{branches}\n")
    with caplog.at_level("INFO"):
        sweep("x=choice(1,2)", "hydra.sweeper.full_trials=10", task=task, config_dir=tmp_path / "conf")
    assert len(task.runs) == 3
    assert any(line.startswith("All points of the space (3)") for line in caplog.messages)


@pytest.mark.timeout(60)
def test_a_budget_ends_where_nothing_new_is_drawn(sweep, caplog, monkeypatch):
    """Of a space too large to be listed; another command begins to count anew, with another sampler perhaps."""
    monkeypatch.setattr("sentiment.search.study.agenda.MOST_FREE", 5)
    monkeypatch.setattr("sentiment.search.study.agenda.MOST_LISTED", 1)
    options = ["x=choice(1,2)", "hydra/sweeper/sampler=random", "hydra.sweeper.full_trials=10"]
    task = Stepping()
    with caplog.at_level("INFO"):
        study = sweep(*options, task=task)
    number = len(study.trials)
    assert 2 + 5 <= number < 20
    assert any(line.startswith("None of the last 5 trials ran a job") for line in caplog.messages)
    assert len(sweep(*options, task=task).trials) == number + 5
    assert len(task.runs) == 2


def test_epochs_are_counted_by_the_key_that_says_how_many_a_job_has(sweep):
    options = ("hydra.sweeper.epochs=20", "hydra.sweeper.epochs_key=steps", "steps=4")
    study = sweep(*SPACE, *options, task=Stepping())
    assert len(study.trials) == 5
    assert {trial.system_attrs[EPOCHS_KEY] for trial in study.trials} == {4}


def test_a_job_that_stops_early_counts_the_epochs_that_it_trained(sweep, study_dir):
    def stop_early(config):
        for step in range(2):
            current_trial().progress((step + 1) / 4)
        current_trial().stopped_early(2 / 4)
        return abs(config.x)

    options = ("hydra.sweeper.epochs=20", "hydra.sweeper.epochs_key=steps", "steps=4")
    assert len(sweep(*SPACE, *options, task=stop_early).trials) == 9, "then 2 epochs are left, and a trial may take 4"
    assert read_study(None, study_dir).budget == "18 of 20 epochs used"


def test_a_job_that_tells_its_progress_at_the_beginning_of_each_epoch_did_not_stop_early(sweep, study_dir):
    def run(config):
        for step in range(2):
            current_trial().progress(step / 2)
        return abs(config.x)

    options = ("hydra.sweeper.epochs=10", "hydra.sweeper.epochs_key=steps", "steps=2")
    assert len(sweep(*SPACE, *options, task=run).trials) == 5
    assert read_study(None, study_dir).budget == "10 of 10 epochs used"


def test_jobs_of_different_lengths_cost_what_they_told():
    """Where epochs are searched: three of 27 reports are no third of nine."""

    def make(number, whole, done):
        outcome = Outcome("complete", (1.0,)) if done == whole else Outcome("paused", steps=done)
        attributes = {ATTEMPT_KEY.format(repeat=0): {"count": 1, "log": None}, EPOCHS_KEY: float(whole)}
        attributes |= {OUTCOME_KEY.format(repeat=0): outcome.to_json(), PROGRESS_KEY: [done / whole, ""]}
        state = TrialState.COMPLETE if done == whole else TrialState.WAITING
        value = 1.0 if done == whole else None
        trial = create_trial(state=state, value=value, system_attrs={**attributes, TARGET_KEY: done})
        trial.intermediate_values = dict.fromkeys(range(done), 0.5)
        trial.number, trial.datetime_start = number, datetime.now()
        return trial

    spent = Meter(1, PromotionPruner(3)).measure([make(0, 9, 9), make(1, 27, 3)], [])
    assert spent.epochs == 9 + 3
    assert spent.full_trials == pytest.approx(1 + 1 / 9)


def test_an_epochs_key_that_says_no_number_is_refused(sweep):
    with pytest.raises(StudyEndedError, match=r"nowhere is None\s+-> name the key"):
        sweep(*SPACE, "hydra.sweeper.epochs=20", "hydra.sweeper.epochs_key=nowhere", task=Stepping())


def test_a_trial_of_another_command_whose_epochs_are_not_yet_told_counts():
    claimed = create_trial(state=TrialState.RUNNING)
    alone = Meter(1).measure([claimed], [])
    assert Budget(epochs=28).count_starts(alone, 1) == 0, "it tells how many there are"
    attributes = {EPOCHS_KEY: 10, ATTEMPT_KEY.format(repeat=0): {"count": 1, "log": None}}
    attributes[OUTCOME_KEY.format(repeat=0)] = Outcome("complete", (1.0,)).to_json()
    ended = create_trial(value=1.0, system_attrs=attributes)
    claimed.number = 1
    spent = Meter(1).measure([ended, claimed], [])
    assert (spent.epochs, spent.committed_epochs) == (10, 20)
    assert [Budget(epochs=limit).count_starts(spent, 1) for limit in (28, 30)] == [0, 1]


def test_no_trial_is_longer_in_the_night_in_which_summer_time_begins(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Zurich")
        time.tzset()
        attributes = {ATTEMPT_KEY.format(repeat=0): {"count": 1, "log": None}}
        attributes[OUTCOME_KEY.format(repeat=0)] = Outcome("complete", (1.0,)).to_json()
        trial = create_trial(value=1.0, system_attrs=attributes)
        trial.datetime_start, trial.datetime_complete = datetime(2026, 3, 29, 1, 50), datetime(2026, 3, 29, 3, 10)
        spent = Meter(1).measure([trial], [])
    time.tzset()
    assert spent.trial_seconds == 20 * 60


def test_time_ends_a_study_at_a_report(sweep, study_dir):
    task = Stepping(seconds=0.4)
    began = time.monotonic()
    study = sweep(*SPACE, "hydra.sweeper.budget=5s", task=task)  # a study takes a second or two to begin
    assert time.monotonic() - began < 30  # no timing: only that it ends at all
    states = {trial.state for trial in study.trials}
    assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert TrialState.COMPLETE in states
    text = read_study(None, study_dir).budget
    assert text.endswith("of 5.0 s used")
    count = len(study.trials)
    study = sweep(*SPACE, "hydra.sweeper.budget=5s", task=task)
    assert len(study.trials) == count, "the time of the first command is spent"


def test_a_job_that_is_over_time_ends_at_its_report_and_counts_as_pruned(sweep):
    with pytest.raises(StudyEndedError, match=r"1 were pruned. Of the budget(.|\n)*raise it"):
        sweep(*SPACE, "hydra.sweeper.budget=1.5s", task=Stepping(seconds=8))


def test_no_further_repeat_begins_when_the_time_is_over(sweep, caplog):
    runs = []

    def task(config):
        runs.append(config.x)
        current_trial().report(1.0, step=0)
        time.sleep(1.1)
        return abs(config.x)

    refused = pytest.raises(StudyEndedError, match=r"1 were pruned. Of the budget(.|\n)*raise it")
    with caplog.at_level("INFO"), refused:
        sweep(*SPACE, "hydra.sweeper.budget=1s", "hydra.sweeper.repeats=2", task=task)
    assert len(runs) == 1
    assert any(line.startswith("#0 pruned after 1 report") and "did not report" not in line for line in caplog.messages)


def test_a_job_on_a_machine_of_another_clock_ends_when_its_command_asks(study_dir):
    study = optuna.create_study(study_name="study", storage=open_storage(None, study_dir))
    trial = study.ask()
    address = TrialAddress(
        None, study_dir, "study", trial._trial_id, trial.number, 0, "owner", NopPruner(), deadline=0.0, host="another"
    )
    address.find().report(1.0, step=0)
    with pytest.raises(RunPruned, match="budget of time was over"):
        replace(address, host=socket.gethostname()).find().report(1.0, step=0)
    study._storage.set_trial_system_attr(trial._trial_id, STOP_KEY, OVER)
    with pytest.raises(RunPruned, match="budget of time was over"):
        address.find().report(1.0, step=1)


def test_an_interrupted_study_goes_on_with_what_is_left(sweep):
    task = Stepping(stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        sweep(*SPACE, "hydra.sweeper.full_trials=5", task=task)
    study = sweep(*SPACE, "hydra.sweeper.full_trials=5", task=task)
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) >= 4
    assert not [trial for trial in study.trials if trial.state in (TrialState.WAITING, TrialState.RUNNING)]


def test_points_that_are_tried_first_are_within_the_budget_too(sweep):
    points = "hydra.sweeper.start=[{x: 1}, {x: 2}, {x: 3}]"
    study = sweep(*SPACE, points, "hydra.sweeper.full_trials=2", task=Stepping())
    assert [trial.params.get("x") for trial in study.trials if trial.state == TrialState.COMPLETE] == [1.0, 2.0]
    study = sweep(*SPACE, points, "hydra.sweeper.full_trials=4", task=Stepping())
    assert [trial.params["x"] for trial in study.trials][:3] == [1.0, 2.0, 3.0]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4


def test_points_that_are_tried_first_are_within_a_number_that_was_lowered(sweep, caplog):
    caplog.set_level(logging.INFO)
    points = f"hydra.sweeper.start=[{', '.join(f'{{x: {number / 2}}}' for number in range(8))}]"
    with pytest.raises(KeyboardInterrupt):
        sweep(*SPACE, points, "hydra.sweeper.n_trials=8", task=Stepping(stop_at=2))
    task = Stepping()
    study = sweep(*SPACE, "hydra.sweeper.n_trials=3", task=task)
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 3
    assert task.runs == [1, 2]
    assert (
        "Left out, as n_trials or the budget has no room for them: trials that were to be tried first (5)."
        in caplog.text
    )


def test_failed_trials_are_tried_again_within_the_budget_alone(sweep):
    runs = []

    def fail_at_first(config):
        runs.append(config.x)
        if len(runs) <= 2:
            raise ValueError("a bad row")
        return float(config.x)

    options = ("x=1,2", "hydra/sweeper/sampler=grid", "hydra.sweeper.max_failure_rate=1")
    told = r"a bad row(.|\n)*mend the cause.* has room \(2 of 2 full trials used\)"
    for _ in range(2):
        with pytest.raises(StudyEndedError, match=told):
            sweep(*options, "hydra.sweeper.full_trials=2", task=fail_at_first)
    assert len(runs) == 2, "its work is done, though in vain"
    study = sweep(*options, "hydra.sweeper.full_trials=4", task=fail_at_first)
    assert len(runs) == 4
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 2


def test_what_may_begin():
    assert Budget().count_starts(NOTHING, 1) == UNLIMITED
    assert Budget(seconds=10).count_starts(NOTHING, 1) == UNLIMITED
    used = Spending(8, 3.5, 14, 5, 20, 3, 4)
    assert Budget(seconds=10).count_starts(used, 1) == 0, "2 s are left, and a trial takes 3"
    assert Budget(seconds=11).count_starts(used, 1) == UNLIMITED
    assert Budget(full_trials=8).count_starts(used, 2) == 1
    assert Budget(epochs=28).count_starts(used, 1) == 2
    assert Budget(epochs=28, full_trials=6).count_starts(used, 1) == 1
    assert Budget(epochs=28).count_starts(NOTHING, 1) == 1, "one tells how many epochs there are"


def test_a_clock_that_is_set_back_takes_no_time_from_what_is_used(monkeypatch):
    wall, monotonic = [10_000.0], [50.0]
    monkeypatch.setattr("sentiment.search.storage.lease.time.time", lambda: wall[0])
    monkeypatch.setattr("sentiment.search.storage.lease.time.monotonic", lambda: monotonic[0])
    with Lease.take("controller") as lease:
        wall[0] -= 3600
        monotonic[0] += 1800
        record = lease.record()
        assert Meter(1).measure([], [record]).seconds == 1800
        assert record["until"] == wall[0], "others see when it was heard of"
        wall[0] += 36_000  # the machine slept, and the other clock stood
        assert Meter(1).measure([], [lease.record()]).seconds == 32_400


def test_time_runs_while_any_command_works():
    commands = [
        {"id": "a", "since": 100.0, "until": 160.0}, {"id": "b", "since": 130.0, "until": 170.0},
        {"id": "c", "since": 300.0, "until": 310.0}, {"id": "old", "started": "2026-01-01"},
    ]  # fmt: skip
    assert Meter(1).measure([], commands).seconds == 80


@pytest.mark.parametrize(
    ("state", "outcomes", "progress", "work"),
    [
        (TrialState.COMPLETE, ["complete"], None, 1.0),
        (TrialState.COMPLETE, [], None, 0.0),  # its result is another's
        (TrialState.PRUNED, ["pruned"], 0.25, 0.25),
        (TrialState.PRUNED, ["pruned"], None, 1.0),  # nobody told how far it came
        (TrialState.COMPLETE, ["complete", "complete"], 1.0, 2.0),
        (TrialState.FAIL, ["complete", "failed"], 0.5, 1.5),
    ],
)
def test_work_is_counted_by_jobs(state, outcomes, progress, work):
    attributes = {ATTEMPT_KEY.format(repeat=number): {"count": 1, "log": None} for number in range(len(outcomes))}
    attributes |= {
        OUTCOME_KEY.format(repeat=number): json.loads(json.dumps(Outcome(kind, (1.0,)).to_json()))
        for number, kind in enumerate(outcomes)
    }
    if progress is not None:
        attributes[PROGRESS_KEY] = [progress, ""]
    trial = create_trial(
        state=state, value=1.0 if state == TrialState.COMPLETE else None, params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)}, system_attrs=attributes,
    )  # fmt: skip
    assert Meter(1).measure([trial], []).full_trials == work


def make_failed(seconds, share):
    attributes = {ATTEMPT_KEY.format(repeat=0): {"count": 1, "log": None}, EPOCHS_KEY: 4.0}
    attributes[OUTCOME_KEY.format(repeat=0)] = Outcome("failed", seconds=seconds).to_json()
    told = {} if share is None else {PROGRESS_KEY: [share, "", 0]}
    return create_trial(state=TrialState.FAIL, system_attrs={**attributes, **told})


@pytest.mark.parametrize("pruner", [[], ["hydra/sweeper/pruner=promotion"]])
def test_what_the_first_job_does_for_all_is_no_part_of_the_length_of_a_job(sweep, pruner):
    """It learns words for 20 s at first, of which it has told at the last word."""

    def task(config):
        trial = current_trial()
        if trial.number == 0:
            trial.progress(0.0, "learns words")
            trial._began, trial._waits_since = trial._began - 20, trial._waits_since - 20
            trial.progress(0.0, "learns words")
        for step in range(4):
            trial.report(abs(config.x), step=step)
            trial.progress((step + 1) / 4)
            trial.saved()
        return abs(config.x)

    [trial] = sweep(*SPACE, *pruner, "hydra.sweeper.n_trials=1", task=task).trials
    kept = trial.system_attrs[OUTCOME_KEY.format(repeat=0)]
    assert kept["seconds"] >= 20, "its own time limit has them"
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=kept["seconds"])
    spent = Meter(1, PromotionPruner(3) if pruner else None).measure([trial], [])
    assert 0 < spent.trial_seconds < 20


@pytest.mark.parametrize("share", [0.0, -1.0, 2.0, float("nan")])
def test_a_share_that_is_none_is_no_error_in_each_later_command(sweep, study_dir, share):
    """A job that finds all done has stopped early after nothing."""

    def task(config):
        current_trial().progress(share)
        current_trial().report(abs(config.x), step=0)
        current_trial().stopped_early(share)
        return abs(config.x)

    options = ("hydra.sweeper.epochs=8", "hydra.sweeper.epochs_key=steps", "steps=4", "hydra.sweeper.n_trials=2")
    study = sweep(*SPACE, *options, task=task)
    told = [trial.system_attrs[PROGRESS_KEY][0] for trial in study.trials]
    assert told == [1.0 if share > 1 else 0.0] * 2
    assert read_study(None, study_dir).budget == f"{8 if share > 1 else 0} of 8 epochs used"


@pytest.mark.parametrize("share", [None, 0.0, 0.005])
@pytest.mark.parametrize("pruner", [None, PromotionPruner(3)])
def test_what_failed_in_its_first_steps_tells_no_length(pruner, share):
    spent = Meter(1, pruner).measure([make_failed(25.0, share)], [])
    assert spent.trial_seconds == 0
    assert Budget(seconds=3600).count_starts(spent, 1) == UNLIMITED


def test_what_failed_before_it_told_a_share_costs_its_time():
    attributes = {ATTEMPT_KEY.format(repeat=0): {"count": 1, "log": None}, EPOCHS_KEY: 4.0}
    attributes[OUTCOME_KEY.format(repeat=0)] = Outcome("complete", (1.0,), seconds=100.0).to_json()
    whole = create_trial(value=1.0, system_attrs=attributes)
    whole.datetime_complete = whole.datetime_start + timedelta(seconds=100)
    trials = [make_failed(5.0, None), make_failed(5.0, 0.0), whole]
    for number, trial in enumerate(trials):
        trial.number = number
    meter = Meter(1)
    assert meter.measure(trials[:2], []).full_trials == 2, "nobody knows yet how long a job takes"
    spent = meter.measure(trials, [])
    assert (spent.full_trials, spent.epochs) == (pytest.approx(1.1), pytest.approx(4.4))


@pytest.mark.parametrize(
    ("given", "n_trials", "full_trials"),
    [
        ([], None, 20.0),  # a budget of the configuration ends the study
        (["hydra.sweeper.n_trials=5"], 5, None),  # who says how many wants so many
        (["hydra.sweeper.n_trials=5", "hydra.sweeper.full_trials=20"], 5, 20.0),
        (["hydra.sweeper={n_trials: 5, n_jobs: 1}"], 5, None),
        (["hydra={sweeper: {n_trials: 5}}", "~hydra.sweeper.full_trials"], 5, None),
        (["hydra.sweeper.full_trials=20"], None, 20.0),
        (["hydra.sweeper.epochs=300"], None, None),  # another kind
        (["hydra.sweeper.epochs=300", "hydra.sweeper.n_trials=5"], 5, None),
        (["hydra.sweeper.budget=null", "hydra.sweeper.n_trials=5"], 5, None),  # that one is none
    ],
)
def test_what_the_command_line_gives_takes_the_place_of_the_configurations_budget(
    make_search, given, n_trials, full_trials
):
    epochs = 300.0 if "hydra.sweeper.epochs=300" in given else None
    options = make_search(full_trials=20.0, n_trials=5, epochs=epochs).options
    ends = open_end(options, OmegaConf.create({"hydra": {"overrides": {"hydra": given}}}))
    assert (ends.n_trials, ends.full_trials) == (n_trials, full_trials)


@pytest.mark.parametrize("pruner", [None, PromotionPruner()])
def test_how_long_a_job_takes_is_told_of_one_repeat(pruner):
    attributes = {ATTEMPT_KEY.format(repeat=number): {"count": 1, "log": None} for number in range(4)}
    kept = Outcome("complete", (1.0,), seconds=3.0).to_json()
    attributes |= {OUTCOME_KEY.format(repeat=number): kept for number in range(4)}
    trial = create_trial(value=1.0, system_attrs={**attributes, PROGRESS_KEY: [1.0, ""]})
    trial.datetime_complete = trial.datetime_start + timedelta(seconds=12)
    spent = Meter(4, pruner).measure([trial], [])
    assert spent.trial_seconds == 3
    assert Budget(seconds=12).count_starts(spent, 4) == UNLIMITED, "there is time for four more jobs"
    assert Budget(seconds=12).has_time(spent, 4)
    assert not Budget(seconds=11).has_time(spent, 4)


@pytest.mark.parametrize(
    ("reports", "share", "committed"),
    [(1, None, 1 / 3), (3, None, 1 / 3), (4, None, 3.0), (2, 2 / 9, 3.0)],
    ids=["before", "at", "past", "stopped early"],
)
def test_who_does_not_pause_at_its_rung_is_counted_with_all_its_repeats(reports, share, committed):
    attributes = {ATTEMPT_KEY.format(repeat=0): {"count": 1, "log": None}, EPOCHS_KEY: 9.0}
    whole = Outcome("complete", (1.0,), share=1.0).to_json()
    ended = create_trial(value=1.0, system_attrs={**attributes, OUTCOME_KEY.format(repeat=0): whole})
    ended.intermediate_values = dict.fromkeys(range(9), 0.5)
    kept = {} if share is None else {OUTCOME_KEY.format(repeat=0): Outcome("complete", (1.0,), share=share).to_json()}
    trial = create_trial(state=TrialState.RUNNING, system_attrs={**attributes, **kept, TARGET_KEY: 3})
    trial.number, trial.intermediate_values = 1, dict.fromkeys(range(reports), 0.5)
    spent = Meter(3, PromotionPruner(3)).measure([ended, trial], [])
    assert spent.committed_trials == pytest.approx(1 + committed)


@pytest.mark.parametrize(
    ("target", "reports", "committed"),
    [(1, 2, 1 / 6), (1, 4, 1 / 3), (1, 5, 3.0), (5, 8, 2 / 3), (9, 10, 3.0)],
    ids=["to pause", "at its pause", "past", "second epoch", "last epoch"],
)
def test_who_has_yet_to_come_to_the_end_of_the_epoch_of_its_rung_may_pause_there(target, reports, committed):
    """Three epochs of four reports each."""
    attributes = {ATTEMPT_KEY.format(repeat=0): {"count": 1, "log": None}, EPOCHS_KEY: 3.0, TARGET_KEY: target}
    trial = create_trial(state=TrialState.RUNNING, system_attrs=attributes)
    trial.intermediate_values = dict.fromkeys(range(reports), 0.5)
    assert count_committed(trial, reports / 12, 3, 12.0) == pytest.approx(committed)


def test_how_far_a_repeat_came_is_not_told_by_another(sweep, study_dir):
    """The first one stops early, the second tells nothing: it is whole, and both are as long as the first says."""

    def task(config):
        trial = current_trial()
        if trial.repeat == 0:
            trial.progress(0.5)
            trial.report(abs(config.x), step=0)
            trial.stopped_early(0.5)
        return abs(config.x)

    options = ("hydra.sweeper.epochs=8", "hydra.sweeper.epochs_key=steps", "steps=4", "hydra.sweeper.repeats=2")
    [trial] = sweep(*SPACE, *options, task=task).trials
    shares = [trial.system_attrs[OUTCOME_KEY.format(repeat=repeat)]["share"] for repeat in (0, 1)]
    assert shares == [0.5, 1.0]
    assert read_study(None, study_dir).budget == "6 of 8 epochs used"


@pytest.mark.parametrize(("state", "jobs"), [(TrialState.RUNNING, 1.1), (TrialState.FAIL, 1.1)])
def test_a_later_repeat_makes_no_job_longer(state, jobs):
    """What it told, a tenth, is no share of the ten reports of the first one."""
    attributes = {ATTEMPT_KEY.format(repeat=number): {"count": 1, "log": None} for number in range(2)}
    attributes[OUTCOME_KEY.format(repeat=0)] = Outcome("complete", (1.0,), share=1.0).to_json()
    trial = create_trial(state=state, system_attrs={**attributes, PROGRESS_KEY: [0.1, "", 1]})
    trial.intermediate_values = dict.fromkeys(range(10), 0.5)
    spent = Meter(2, PromotionPruner()).measure([trial], [])
    assert (spent.steps_per_job, spent.full_trials) == (10, jobs)
    assert spent.first_jobs == 0.1


def test_a_job_takes_the_time_of_all_its_attempts(sweep):
    """The first two end well after 0.4 s each; the third is stopped at its end, and begun again by the next command."""
    task = Stepping(seconds=0.4, stop_at=3)
    with pytest.raises(KeyboardInterrupt):
        sweep(*SPACE, "hydra.sweeper.n_trials=3", task=task)
    study = sweep(*SPACE, "hydra.sweeper.n_trials=3", task=task)
    seconds = [trial.system_attrs[OUTCOME_KEY.format(repeat=0)]["seconds"] for trial in study.trials]
    assert task.runs == [0, 1, 2, 2]
    assert seconds[2] >= 0.8
    alone = Meter(1).measure(study.trials[2:], [])
    assert alone.trial_seconds >= 0.8


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["hydra.sweeper.n_trials=5"],
            "n_trials=5; budget=2 h 0 min and full_trials=20 does not count, as the command line comes first.",
        ),
        ([], "budget=2 h 0 min and full_trials=20; n_trials=5 does not count, as a budget comes first."),
    ],
)
def test_an_end_that_does_not_count_is_named(make_search, caplog, given, told):
    options = make_search(budget="2h", full_trials=20.0, n_trials=5).options
    with caplog.at_level("INFO"):
        open_end(options, OmegaConf.create({"hydra": {"overrides": {"hydra": given}}}))
    assert caplog.messages == [f"The study ends with {told}"]


def test_a_default_number_of_trials_beside_a_budget_is_nobodys_wish(make_search, caplog):
    options = make_search(full_trials=20.0, n_trials=DEFAULT_TRIALS).options
    with caplog.at_level("INFO"):
        ended = open_end(options, OmegaConf.create({"hydra": {"overrides": {"hydra": []}}}))
    assert (ended.n_trials, ended.full_trials, caplog.messages) == (None, 20.0, [])


def test_a_population_has_to_have_a_size(make_search):
    pruner = {"_target_": "sentiment.search.study.population.PopulationPruner"}
    options = make_search(full_trials=6.0, n_trials=None, pruner=pruner).options
    given = ["hydra.sweeper.n_trials=null", "hydra.sweeper.full_trials=6"]
    with pytest.raises(ConfigError, match="the size of the population"):
        open_end(options, OmegaConf.create({"hydra": {"overrides": {"hydra": given}}}))
