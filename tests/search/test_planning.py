"""What makes two jobs equal, and several jobs one trial."""

from __future__ import annotations

import logging
import shutil

import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sentiment.errors import ConfigError, DataError, Fault, TrackingError
from sentiment.search.application import searchable
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.storage.address import StorageError
from sentiment.search.study.current import current_trial
from sentiment.search.study.history import read_study
from sentiment.search.study.trial import StoredTrial
from tests.search.conftest import TOY_DIR


class Counting:
    """A task that remembers what it was asked."""

    def __init__(self, stop_at=None):
        self.runs = []
        self.stop_at = stop_at

    def __call__(self, config):
        trial = current_trial()
        if len(self.runs) == self.stop_at:
            self.stop_at = None
            raise KeyboardInterrupt
        self.runs.append((trial.number, config.x, config.seed))
        return float(config.x) + config.seed


ONE_POINT = ["x=choice(3)", "hydra/sweeper/sampler=random"]


def reused(study):
    return [trial.user_attrs.get("reused_from") for trial in study.trials]


def test_an_equal_trial_is_not_run_again_but_gets_the_value(sweep, study_dir):
    task = Counting()
    study = sweep(*ONE_POINT, "hydra.sweeper.n_trials=3", task=task)
    assert task.runs == [(0, 3, 0)]
    assert [trial.value for trial in study.trials] == [3.0] * 3
    assert reused(study) == [None, 0, 0]  # never a reuse of a reuse
    assert not (study_dir / "1").exists()


def test_equal_trials_are_run_again_where_people_say_so(sweep):
    task = Counting()
    study = sweep(*ONE_POINT, "hydra.sweeper.n_trials=3", "hydra.sweeper.reuse=false", task=task)
    assert [number for number, *_ in task.runs] == [0, 1, 2]
    assert reused(study) == [None] * 3


@pytest.mark.parametrize("change", ["seed=1", "noise=0.5", "shape=round"])
def test_another_seed_or_setting_is_another_trial(sweep, change):
    task = Counting()
    options = [*ONE_POINT, "hydra.sweeper.allow_changes=true"]
    sweep(*options, "hydra.sweeper.n_trials=1", task=task)
    study = sweep(*options, "hydra.sweeper.n_trials=2", change, task=task)
    assert len(task.runs) == 2
    assert reused(study) == [None, None]


def test_ignored_keys_and_hydras_own_make_no_difference(sweep):
    task = Counting()
    options = [*ONE_POINT, "hydra.sweeper.ignore=[seconds,shape]"]
    sweep(*options, "hydra.sweeper.n_trials=1", task=task)
    study = sweep(*options, "hydra.sweeper.n_trials=2", "seconds=0.1", "shape=round", "hydra.job.name=b", task=task)
    assert reused(study) == [None, 0]


def test_what_is_searched_is_never_ignored(sweep):
    task = Counting()
    options = ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=null", "hydra.sweeper.ignore=[seconds,shape]"]
    study = sweep(*options, "x=3", "seconds=0.1,0.2", "shape=round,flat", task=task)
    assert len(task.runs) == 4
    assert reused(study) == [None] * 4


@pytest.mark.parametrize(("names", "runs"), [(("red", "red", None), 3), (("red", "blue", None), 4)])
def test_of_a_searched_group_what_all_options_set_alike_stays_ignored(sweep, tmp_path, names, runs):
    conf = tmp_path / "conf"
    shutil.copytree(TOY_DIR / "conf", conf)
    for number, name in enumerate(names):
        content = "# @package _global_\nshape: null\n" if name is None else f"color: {name}\nsize: {number % 2}\n"
        (conf / "shape" / f"own{number}.yaml").write_text(content)
    task = Counting()
    options = ["x=3", "shape=own0,own1,own2", "hydra.sweeper.ignore=[seconds,shape.color]"]
    grid = ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=3"]
    sweep(*options, *grid, task=task, config_dir=conf)
    for file in (conf / "shape").glob("own*"):
        file.write_text(file.read_text().replace("color: red", "color: green"))
    study = sweep(*options, "seconds=0.1", "hydra.sweeper.n_trials=9", task=task, config_dir=conf)
    assert len(task.runs) == runs
    assert reused(study).count(None) == runs


@pytest.mark.parametrize("timed", ["hydra.sweeper.metric_names=[time/fit]", "hydra.sweeper.limits={time/fit: 9}"])
def test_a_time_belongs_to_the_run_that_was_timed(sweep, timed):
    count = Counting()

    def task(config):
        current_trial().describe({"time/fit": 1.0})
        return count(config)

    study = sweep("x=choice(3)", "hydra.sweeper.n_trials=2", timed, task=task)
    assert len(count.runs) == 2
    assert reused(study) == [None, None]


def test_failed_trials_are_no_result_to_reuse(sweep):
    runs = []

    def fail_once(config):
        runs.append(config.x)
        if len(runs) == 1:
            raise ValueError("the first time")
        return float(config.x)

    study = sweep(
        *ONE_POINT,
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.max_failure_rate=0.5",
        "hydra.sweeper.retry=none",
        task=fail_once,
    )
    assert len(runs) == 2
    assert reused(study) == [None, None, 1]


def test_repeats_are_runs_of_their_own_under_seeds_of_their_own(sweep, study_dir):
    task = Counting()
    grid = ["x=choice(3,4)", "hydra/sweeper/sampler=grid"]
    study = sweep(*grid, "seed=10", "hydra.sweeper.repeats=3", task=task, noting=True)
    assert sorted(seed for number, _, seed in task.runs if number == 0) == [10, 11, 12]
    assert [trial.value for trial in study.trials] == [trial.params["x"] + 11 for trial in study.trials]
    for number, (_, _, seed) in enumerate(task.runs):
        overrides = OmegaConf.load(study_dir / str(number) / ".hydra" / "overrides.yaml")
        assert [line for line in overrides if line.startswith("seed=")] == [f"seed={seed}"]


def test_the_bound_of_repeats_is_optimised_where_people_say_so(sweep):
    bound = ["hydra.sweeper.repeats=3", "hydra.sweeper.repeat_value=bound", "hydra.sweeper.n_trials=1"]
    study = sweep(*ONE_POINT, *bound, task=Counting())
    assert study.best_value == pytest.approx(4 + (1 / 3) ** 0.5)  # minimised: the mean plus its standard error


def test_an_outcome_that_its_job_could_not_write_is_written_by_the_command(sweep, study_dir, monkeypatch):
    write = StoredTrial.write_outcome

    def write_but_the_last(trial, outcome):
        if trial.repeat == 2:
            raise StorageError("locked for a moment")
        write(trial, outcome)

    monkeypatch.setattr(StoredTrial, "write_outcome", write_but_the_last)
    sweep(*ONE_POINT, "hydra.sweeper.repeats=3", "hydra.sweeper.n_trials=1", task=Counting())
    [trial] = read_study(None, study_dir).trials
    assert (trial.values, trial.means) == ((4.0,), ()), "of all three, and no bound"


def test_a_trial_goes_on_after_the_repeats_that_were_finished(sweep):
    task = Counting(stop_at=2)
    options = ["x=interval(-5,5)", "hydra.sweeper.repeats=3", "hydra.sweeper.n_trials=2"]
    with pytest.raises(KeyboardInterrupt):
        sweep(*options, task=task)
    assert [seed for *_, seed in task.runs] == [0, 1]
    study = sweep(*options, task=task)
    assert [(number, seed) for number, _, seed in task.runs] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert len({x for number, x, _ in task.runs if number == 0}) == 1
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_runs_that_are_taken_from_several_trials_bring_their_numbers(sweep):
    def run(config):
        current_trial().describe({"size": 5.0})
        return float(config.seed)

    options = ["x=3", "hydra/sweeper/sampler=tpe", "hydra.sweeper.repeats=2", "hydra.sweeper.limits={size: 9}"]
    for count, seed in enumerate((0, 2, 1), start=1):  # the seeds of the last are 1, of the first, and 2, of the second
        allowed = [f"seed={seed}", f"hydra.sweeper.n_trials={count}", "hydra.sweeper.allow_changes=true"]
        study = sweep(*options, *allowed, task=run)
    assert [trial.user_attrs["size"] for trial in study.trials] == [5.0] * 3
    assert [trial.value for trial in study.trials] == [0.5, 2.5, 1.5]


def read_jobs(study_dir):
    return [trial.jobs for trial in read_study(None, study_dir).trials]


def test_a_trial_that_is_tried_again_has_the_results_of_the_repeats_that_did_not_fail(sweep, study_dir):
    """And an equal one is no measurement of its own, though its results come from jobs of two trials."""
    runs = []

    def run(config):
        runs.append(config.seed)
        if len(runs) == 3:
            raise ValueError("not yet")
        return float(config.seed)

    options = [*ONE_POINT, "hydra.sweeper.repeats=3"]
    with pytest.raises(StudyEndedError, match="not yet"):
        sweep(*options, "hydra.sweeper.n_trials=1", "hydra.sweeper.max_failure_rate=1", task=run)
    study = sweep(*options, "hydra.sweeper.n_trials=2", task=run)
    assert runs == [0, 1, 2, 2]
    assert [trial.value for trial in study.trials] == [None, 1.0, 1.0]
    assert reused(study) == [None, None, 1]
    assert read_jobs(study_dir) == [(0, 1, 5)] * 2


def test_trials_share_the_repeats_of_equal_seeds(sweep, study_dir):
    """Each has a job of its own but the last, which is equal to no other as a whole."""
    runs = []
    options = ["x=3", "hydra/sweeper/sampler=grid", "hydra.sweeper.repeats=2", "hydra.sweeper.n_trials=9"]
    options += ["hydra.sweeper.allow_changes=true"]
    for seeds in ("seed=0", "seed=0,2", "seed=0,2,1"):
        study = sweep(*options, seeds, task=lambda config: runs.append(config.seed) or float(config.seed))
    assert runs == [0, 1, 2, 3]
    assert [trial.value for trial in study.trials] == [0.5, 2.5, 1.5]
    assert reused(study) == [None] * 3
    assert read_jobs(study_dir) == [(0, 1), (2, 3), (1, 2)]


def test_the_pruner_compares_the_repeats_that_are_taken_over(sweep, caplog):
    """As if their jobs had run: what they show is worse, so the other repeats are not needed."""
    runs = []
    options = ["x=3", "hydra/sweeper/sampler=grid", "hydra.sweeper.repeats=6", "hydra.sweeper.n_trials=9"]
    options += ["hydra/sweeper/pruner=wilcoxon", "hydra.sweeper.allow_changes=true"]
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        for seeds in ("seed=0", "seed=0,2"):
            study = sweep(*options, seeds, task=lambda config: runs.append(config.seed) or float(config.seed))
    assert runs == [0, 1, 2, 3, 4, 5]
    assert "#1 pruned after 4 seeds |" in caplog.text
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert study.trials[1].intermediate_values == {0: 2.0, 1: 3.0, 2: 4.0, 3: 5.0}


def test_limits_hold_the_means_of_the_repeats(sweep):
    """As the objective is one: not what the repeat that ended last described, nor of a run that is taken over."""
    sizes = {0: 20.0, 1: 2.0, 2: 8.0}

    def run(config):
        current_trial().describe({"size": sizes[int(config.seed)]})
        return float(config.seed)

    options = ["x=3", "hydra/sweeper/sampler=tpe", "hydra.sweeper.repeats=2", "hydra.sweeper.limits={size: 11}"]
    options += ["hydra.sweeper.allow_changes=true"]
    sweep(*options, "hydra.sweeper.n_trials=1", task=run)
    study = sweep(*options, "seed=1", "hydra.sweeper.n_trials=2", task=run)  # the first seed of which has been trained
    assert [trial.user_attrs["size"] for trial in study.trials] == [11.0, 5.0]
    assert [trial.constraints for trial in study.trials] == [{"size": 0.0}, {"size": -6.0}]


def test_a_job_that_described_no_limited_number_is_run_again(sweep):
    """Its trial failed for it; were its result taken over, no later command could mend it."""
    runs, is_mended = [], False

    def run(config):
        runs.append(int(config.x))
        if config.x != 2 or is_mended:
            current_trial().describe({"size": 5.0})
        return float(config.x)

    options = ["x=1,2", "hydra/sweeper/sampler=tpe", "hydra.sweeper.start=[{x: 1}, {x: 2}]", "hydra.sweeper.n_trials=2"]
    options += ["hydra.sweeper.limits={size: 9}"]
    with pytest.raises(StudyEndedError, match="size is missing"):
        sweep(*options, "hydra.sweeper.max_failure_rate=1", task=run)
    is_mended = True
    study = sweep(*options, task=run)
    assert runs == [1, 2, 2]
    assert [(trial.state.name, trial.constraints) for trial in study.trials[-1:]] == [("COMPLETE", {"size": -4.0})]


def test_the_first_failed_repeat_ends_its_trial(sweep):
    runs = []

    def fail(config):
        runs.append(config.seed)
        if config.seed == 1:
            raise ValueError("unlucky seed")
        return 1.0

    options = ["x=interval(0,1)", "hydra.sweeper.repeats=3", "hydra.sweeper.n_trials=1"]
    with pytest.raises(Exception, match="unlucky seed"):
        sweep(*options, "hydra.sweeper.max_failure_rate=1", task=fail)
    assert runs == [0, 1]


def test_trials_that_read_the_same_data_are_asked_once(sweep):
    asked = []

    def identify(config):
        asked.append(config.x)
        return str(config.x // 4)

    task = searchable(identify_data=identify)(lambda config: float(config.x))
    options = ("x=0,1,2,3,4,5,6,7", "hydra/sweeper/sampler=grid")
    sweep(*options, task=task)
    asked.clear()
    sweep(*options, task=task)
    assert len(asked) == 2


def test_a_study_does_not_go_on_with_other_data(sweep):
    content = {"first": "1", "second": "1"}
    runs = []

    def run(config):
        runs.append((config.mark, config.x))
        if config.x == 2.0 and content[config.mark] == "1":
            raise ValueError("a bad row")
        return float(config.x)

    task = searchable(identify_data=lambda config: content[config.mark])(run)
    options = ("mark=first,second", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=100")
    sweep(*options, "x=0,1", task=task)
    assert len(runs) == 4
    sweep(*options, "x=0,1", task=task)
    assert len(runs) == 4
    content["second"] = "2"
    for change in ("allow_changes=false", "allow_changes=true", "dry_run=true"):
        with pytest.raises(
            StudyEndedError, match=r"data: trials like [0-9, ]+ read other data(.|\n)*study_name=study_2"
        ):
            sweep(*options, "x=0,1,3", f"hydra.sweeper.{change}", task=task)
    study = sweep("mark=first", *options[1:], "x=0,1,3", task=task)
    assert len(runs) == 5, "points on the data that stayed go on"
    assert len(study.trials) == 5


def test_data_that_was_mended_after_a_failure_is_no_other_data(sweep):
    content = {"data": "broken"}

    def run(config):
        if content["data"] == "broken":
            raise ValueError("a bad row")
        return float(config.x)

    task = searchable(identify_data=lambda config: content["data"])(run)
    options = ("x=0,1", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=100", "hydra.sweeper.max_failure_rate=1")
    with pytest.raises(StudyEndedError):
        sweep(*options, task=task)
    content["data"] = "mended"
    study = sweep(*options, task=task)
    assert sorted(trial.value for trial in study.trials if trial.value is not None) == [0.0, 1.0]


INSIDE = ("x=range(0,3)", "hydra/sweeper/sampler=grid", "hydra.sweeper.max_failure_rate=1", "hydra.sweeper.retry=none")


@pytest.mark.parametrize("refused", [0, 1], ids=["first repeat", "second repeat"])
def test_a_drawn_point_that_the_application_refuses_is_a_failed_trial(sweep, refused):
    """The corners were fine; the point between them is met when its trial is planned."""

    def identify(config):
        if config.x == 1 and config.seed == refused:
            raise ConfigError([Fault("x", "1 is odd", "set it to 2")])

    task = searchable(identify_data=identify)(lambda config: float(config.x))
    study = sweep(*INSIDE, "hydra.sweeper.repeats=2", task=task)
    [failed] = [trial for trial in study.trials if trial.state != TrialState.COMPLETE]
    assert (failed.state, failed.params["x"], len(study.trials)) == (TrialState.FAIL, 1, 3)
    reason = failed.user_attrs["failure.reason"]
    assert reason.startswith("PlanError: x: 1 is odd: no job can be made of x=1 -> ")
    assert "hydra.sweeper.constraints" in reason


def test_a_server_that_is_away_when_a_trial_is_planned_costs_no_trial(sweep):
    """Trial after trial would fail in a second."""
    is_away = [True]

    def identify(config):
        if config.x == 1 and is_away[0]:
            raise TrackingError("The server does not answer.")

    task = searchable(identify_data=identify)(lambda config: float(config.x))
    with pytest.raises(StudyEndedError, match="The server does not answer"):
        sweep(*INSIDE, task=task)
    is_away[0] = False
    assert sorted(trial.value for trial in sweep(*INSIDE, task=task).trials) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("kind", ["fault", "data"])
def test_data_that_is_away_for_all_trials_costs_none(sweep, kind):
    """Each trial reads a file of its own, which the refusal names; all lie on the disk that is away."""
    is_away, runs = [False], []

    def identify(config):
        problem, remedy = f"{config.x}.csv does not exist", "correct the path"
        if is_away[0]:
            raise ConfigError([Fault("data.path", problem, remedy)]) if kind == "fault" else DataError(problem, remedy)

    def run(config):
        runs.append(config.x)
        is_away[0] = len(runs) == 1
        return float(config.x)

    task = searchable(identify_data=identify)(run)
    with pytest.raises(StudyEndedError, match=r"\d.csv does not exist\n  -> correct the path") as ended:
        sweep(*INSIDE, task=task)
    assert "nothing was started" not in str(ended.value), "a trial has run"
    is_away[0] = False
    study = sweep(*INSIDE, task=task)
    assert sorted(trial.value for trial in study.trials) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("is_given_up", [False, True], ids=["comes back", "never comes back"])
def test_a_trial_that_has_begun_is_not_failed_by_data_that_is_away(sweep, is_given_up):
    is_away, runs = [True], []

    def identify(config):
        if config.x == 1 and is_away[0] and 1 in runs:
            raise DataError("The disk of x=1 is not there.")

    def run(config):
        runs.append(config.x)
        if config.x == 1 and is_away[0]:
            raise KeyboardInterrupt
        return float(config.x)

    task = searchable(identify_data=identify)(run)
    with pytest.raises(KeyboardInterrupt):
        sweep(*INSIDE, task=task)
    told = r"The disk of x=1 is not there\.\n  -> the same command goes on(.|\n)*leave the point of trial \d out"
    with pytest.raises(StudyEndedError, match=told):
        sweep(*INSIDE, task=task)
    if is_given_up:
        study = sweep(*INSIDE, "hydra.sweeper.constraints=['x != 1']", task=task)
        assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE", "COMPLETE", "PRUNED"]
        return
    is_away[0] = False
    study = sweep(*INSIDE, task=task)
    assert sorted(trial.value for trial in study.trials) == [0.0, 1.0, 2.0], "the one that was interrupted went on"
