"""Every pruner, chosen by configuration: who is ended early, and what that means for the study."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
import torch
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sentiment.search.plugin.registration import PRUNERS
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.current import current_trial

STEPS = 8

OPTIONS = {
    "median": ["n_startup_trials=1"],
    "percentile": ["percentile=30", "n_startup_trials=1"],
    "successive_halving": ["min_resource=1", "reduction_factor=2"],
    "hyperband": ["min_resource=1", f"max_resource={STEPS}", "reduction_factor=2"],
    "patient": ["patience=2"],
}
"""Settings under which a toy study of a few trials prunes."""


def climb_after(x):
    """Falls to x for small x, rises for large x."""
    return [x * (step + 1) if x > 5 else x - step / 100 for step in range(STEPS)]


class Steps:
    """A task that reports its steps, and remembers what was reported and what began when."""

    def __init__(self):
        self.reported = {}
        self.events = []

    def __call__(self, config):
        trial = current_trial()
        self.events.append(("began", trial.number))
        for step, value in enumerate(climb_after(float(config.x))):
            self.reported[trial.number] = step
            trial.report(value, step=step)
        self.events.append(("ended", trial.number))
        return value


def run_pruned(sweep, pruner, *options):
    steps = Steps()
    settings = [f"hydra/sweeper/pruner={pruner}", *(f"hydra.sweeper.pruner.{line}" for line in OPTIONS.get(pruner, []))]
    grid = ["x=choice(1,2,6,7,8,9)", "hydra/sweeper/sampler=grid", "hydra.sweeper.sampler.seed=0"]
    study = sweep(*grid, *settings, *options, task=steps)
    return study, steps


@pytest.mark.parametrize("pruner", OPTIONS)
def test_a_pruner_ends_bad_trials_early(sweep, pruner):
    study, steps = run_pruned(sweep, pruner)
    states = {trial.number: trial.state for trial in study.trials}
    assert set(states.values()) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert study.best_params == {"x": 1}
    for trial in study.trials:
        assert sorted(trial.intermediate_values) == list(range(steps.reported[trial.number] + 1))
        if trial.state == TrialState.PRUNED:
            assert ("ended", trial.number) not in steps.events
        else:
            assert len(trial.intermediate_values) == STEPS
    assert not any("failure.reason" in trial.user_attrs for trial in study.trials)  # pruned is no failure


def test_brackets_of_hyperband_are_the_same_in_every_process(sweep, monkeypatch):
    """They follow from the trial that was complete first; those after it are longer."""
    brackets, prune = set(), optuna.pruners.HyperbandPruner.prune

    def note(pruner, study, trial):
        is_behind = prune(pruner, study, trial)
        brackets.add(pruner._n_brackets)
        return is_behind

    def evaluate(config):
        for step in range(3 if current_trial().number == 0 else 27):
            current_trial().report(-current_trial().number, step=step)
        return -current_trial().number

    monkeypatch.setattr(optuna.pruners.HyperbandPruner, "prune", note)
    for total in (2, 4):  # each command has a pruner of its own, as each worker has
        sweep("x=interval(0,1)", "hydra/sweeper/pruner=hyperband", f"hydra.sweeper.n_trials={total}", task=evaluate)
    assert brackets == {2}


def test_without_a_pruner_every_trial_runs_to_its_end(sweep):
    study, _ = run_pruned(sweep, "none")
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    assert all(len(trial.intermediate_values) == STEPS for trial in study.trials)


@pytest.mark.parametrize(("upper", "pruned"), [(1000, set()), (15, {8, 9})])
def test_a_patient_pruner_asks_the_pruner_that_it_wraps(sweep, upper, pruned):
    wrapped = f"hydra.sweeper.pruner.wrapped_pruner={{_target_:optuna.pruners.ThresholdPruner,upper:{upper}}}"
    study, _ = run_pruned(sweep, "patient", wrapped, "x=choice(1,2,8,9)")
    assert {trial.params["x"] for trial in study.trials if trial.state == TrialState.PRUNED} == pruned


def test_wilcoxon_ends_a_trial_after_the_repeats_that_decide(sweep):
    runs = []

    def evaluate(config):
        trial = current_trial()
        runs.append(trial.number)
        return trial.number + config.seed / 100

    pruner = ["hydra/sweeper/pruner=wilcoxon", "hydra.sweeper.repeats=6", "hydra.sweeper.n_trials=2"]
    study = sweep("x=interval(0,1)", *pruner, task=evaluate)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert runs.count(0) == 6
    assert 1 < runs.count(1) < 6


def test_wilcoxon_leaves_a_trial_its_value_whose_repeats_have_all_run(sweep):
    """One of five pairs is a little better: the p value is below the threshold at the last repeat alone."""

    def evaluate(config):
        return current_trial().number * (-0.01 if config.seed == 0 else 1 + config.seed)

    pruner = ["hydra/sweeper/pruner=wilcoxon", "hydra.sweeper.repeats=5", "hydra.sweeper.n_trials=2"]
    first, second = sweep("x=interval(0,1)", *pruner, task=evaluate).trials
    assert second.state == TrialState.COMPLETE
    assert second.value == pytest.approx(first.value + 13.99 / 5)


@pytest.mark.parametrize(
    ("options", "least"), [([], 4), (["p_threshold=0.25"], 3), (["p_threshold=0.5"], 2), (["n_startup_steps=5"], 5)]
)
def test_a_wilcoxon_pruner_that_could_save_no_repeat_is_refused(sweep, options, least):
    pruner = ["hydra/sweeper/pruner=wilcoxon", *(f"hydra.sweeper.pruner.{option}" for option in options)]
    for repeats in (1, least):
        with pytest.raises(
            StudyEndedError, match=rf"after {least} repeats at the earliest(.|\n)*repeats={least + 1} or"
        ):
            sweep("x=interval(0,1)", *pruner, f"hydra.sweeper.repeats={repeats}")


def test_the_first_repeat_decides_for_the_others(sweep, study_dir):
    runs = []

    def evaluate(config):
        trial = current_trial()
        runs.append((trial.number, trial.repeat))
        trial.report(float(trial.number), step=0)
        return float(trial.number)

    pruner = ["hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1", "hydra.sweeper.repeats=3"]
    study = sweep("x=interval(0,1)", *pruner, "hydra.sweeper.n_trials=2", task=evaluate, noting=True)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert runs == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert sorted(path.parent.name for path in study_dir.glob("*/.hydra")) == ["0", "1", "2", "3"]


def test_the_next_trial_begins_when_a_pruned_one_ends(sweep):
    study, steps = run_pruned(sweep, "median")
    order = [number for event, number in steps.events if event == "began"]
    assert order == list(range(6))
    pruned = next(trial.number for trial in study.trials if trial.state == TrialState.PRUNED)
    begun = steps.events.index(("began", pruned))
    assert pruned == 5 or steps.events[begun + 1] == ("began", pruned + 1)


def test_a_study_of_pruned_trials_alone_has_no_result_and_no_failure(sweep):
    patience = ["hydra/sweeper/pruner=patient", "hydra.sweeper.pruner.patience=0"]
    with pytest.raises(StudyEndedError, match="0 failed, 3 were pruned"):
        sweep("x=interval(6,7)", *patience, "hydra.sweeper.n_trials=3", task=Steps())


@pytest.mark.parametrize(
    "pruner",
    [*sorted(set(PRUNERS) - {"none", "promotion", "population"}), "promotion hydra.sweeper.pruner.growing=true"],
)
def test_several_objectives_are_refused_before_anything_starts(sweep, study_dir, pruner):
    direction = "hydra.sweeper.direction=[minimize,maximize]"
    remedy = "leave hydra.sweeper.pruner.growing at false" if "growing" in pruner else "choose .*=promotion or none"
    with pytest.raises(StudyEndedError, match=rf"compares one objective, and there are 2\n +-> {remedy}"):
        sweep("x=interval(-5,5)", *f"hydra/sweeper/pruner={pruner}".split(), direction)
    assert not study_dir.exists()


def test_reports_of_several_objectives_are_taken_and_not_compared(sweep):
    def evaluate(config):
        current_trial().report(1.0, step=0)
        return float(config.x), -float(config.x)

    direction = "hydra.sweeper.direction=[minimize,maximize]"
    study = sweep("x=interval(-5,5)", direction, "hydra.sweeper.n_trials=3", task=evaluate)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_numbers_of_numpy_and_torch_are_reported(sweep):
    def evaluate(config):
        with pytest.raises(ValueError, match=r"step 0\.5, which is no whole number"):
            current_trial().report(1.0, step=0.5)
        for step in (np.int64(0), torch.tensor(1)):
            current_trial().report(torch.tensor(float(config.x)), step=step)
            current_trial().report(np.float32(2), step=step)  # the first counts
        return float(config.x)

    study = sweep("x=interval(-5,5)", "hydra.sweeper.n_trials=1", task=evaluate)
    assert study.trials[0].intermediate_values == {step: pytest.approx(study.trials[0].value) for step in range(2)}


def test_arrays_of_several_objectives_are_reported(sweep):
    def evaluate(config):
        current_trial().report(np.array([1.0, 2.0]), step=0)
        current_trial().report(torch.tensor([1.0, 2.0]), step=1)
        with pytest.raises(ValueError, match="'abc'"):
            current_trial().report("abc", step=2)
        return float(config.x), -float(config.x)

    direction = "hydra.sweeper.direction=[minimize,maximize]"
    study = sweep("x=interval(-5,5)", direction, "hydra.sweeper.n_trials=1", task=evaluate)
    assert study.trials[0].intermediate_values == {0: 1.0, 1: 1.0}


def test_a_pruner_from_elsewhere_is_refused(sweep, study_dir):
    with pytest.raises(StudyEndedError, match="execution whitelist"):
        sweep("x=interval(-5,5)", "hydra.sweeper.pruner._target_=os.getcwd")
    assert not study_dir.exists()


def test_every_pruner_can_be_chosen_by_name():
    names = {name.removesuffix(".yaml") for name in ConfigStore.instance().list("hydra/sweeper/pruner")}
    others = {"successive_halving", "hyperband", "promotion", "population"}
    assert names == {"none", "median", "percentile", "patient", "wilcoxon"} | others


def test_the_project_s_own_promotion_differs_from_the_engine_s_in_its_first_rung_alone(project_dir):
    own = OmegaConf.load(project_dir / "conf/hydra/sweeper/pruner/promotion.yaml")
    theirs = OmegaConf.structured(PRUNERS["promotion"])
    assert own.keys() == theirs.keys()
    assert {key for key in theirs if OmegaConf.to_container(own)[key] != theirs[key]} == {"min_resource"}


@pytest.mark.slow
def test_worker_processes_prune_as_a_command_says(start_toy, study_dir):
    grid = ["x=choice(0,1,7,8)", "y=0", "hydra/sweeper/sampler=grid", "hydra.sweeper.direction=maximize"]
    wrapped = "hydra.sweeper.pruner.wrapped_pruner={_target_:optuna.pruners.ThresholdPruner,upper:30}"
    pruner = ["hydra/sweeper/pruner=patient", "hydra.sweeper.pruner.patience=1", wrapped]
    command = start_toy(*grid, *pruner, "hydra.sweeper.n_jobs=2", "steps=6")  # reports fall from step to step
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert output.count(" pruned after ") == 2
    study = optuna.load_study(study_name="study", storage=open_storage(None, study_dir))
    assert {trial.params["x"] for trial in study.trials if trial.state == TrialState.PRUNED} == {7, 8}
    assert {trial.params["x"] for trial in study.trials if trial.state == TrialState.COMPLETE} == {0, 1}


@pytest.mark.parametrize(("margin", "pruned"), [(0.0, True), (1.9, True), (2.1, False)])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("pruner", ["median", "successive_halving"])
def test_nothing_is_pruned_within_the_noise_of_its_report(sweep, pruner, direction, margin, pruned):
    """Three trials stand at 0, then one is behind by 0.2, which is two of its standard errors."""
    sign = 1 if direction == "maximize" else -1

    def evaluate(config):
        number = current_trial().number
        value = 0.0 if number < 3 else -0.2 * sign
        current_trial().report(value, step=1, error=0.1)
        return value

    option = {"median": "n_startup_trials=2", "successive_halving": "min_resource=1"}[pruner]
    study = sweep(
        "x=interval(-5,5)", f"hydra.sweeper.direction={direction}", f"hydra/sweeper/pruner={pruner}",
        f"hydra.sweeper.pruner.{option}", f"hydra.sweeper.margin={margin}", "hydra.sweeper.n_trials=4",
        task=evaluate,
    )  # fmt: skip
    assert (study.trials[3].state == TrialState.PRUNED) == pruned
    assert study.trials[3].intermediate_values == {1: -0.2 * sign}, "what is stored is what was reported"


@pytest.mark.parametrize(("margin", "pruned"), [(0.0, True), (0.9, True), (1.1, False)])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize("pruner", ["median", "percentile", "patient"])
def test_the_margin_is_on_what_is_compared_though_the_last_report_is_not_the_best(
    sweep, pruner, direction, margin, pruned
):
    """Three trials stand at 0.1 in the end; the best report of the last one is behind by one of its standard errors."""
    sign = 1 if direction == "maximize" else -1

    def evaluate(config):
        trial = current_trial()
        reports = [0.0, 0.1, 0.1] if trial.number < 3 else [0.0, -0.3, -0.4]
        for step, value in enumerate(reports):
            trial.report(value * sign, step=step, error=0.1)
        return value * sign

    wrapped = "{_target_: optuna.pruners.MedianPruner, n_startup_trials: 2, n_warmup_steps: 1}"
    option = {
        "median": ["n_startup_trials=2", "n_warmup_steps=1"],
        "percentile": ["n_startup_trials=2", "n_warmup_steps=1"],
        "patient": [f"wrapped_pruner={wrapped}", "patience=1"],
    }[pruner]
    study = sweep(
        "x=interval(-5,5)", f"hydra.sweeper.direction={direction}", f"hydra/sweeper/pruner={pruner}",
        *(f"hydra.sweeper.pruner.{line}" for line in option), f"hydra.sweeper.margin={margin}",
        "hydra.sweeper.n_trials=4", task=evaluate,
    )  # fmt: skip
    assert (study.trials[3].state == TrialState.PRUNED) == pruned


@pytest.mark.parametrize(("margin", "pruned"), [(0.0, True), (1.1, False)])
def test_patience_alone_counts_what_is_better_within_the_margin(sweep, margin, pruned):
    def evaluate(config):
        trial = current_trial()
        for step, value in enumerate([0.0, -0.1, -0.1] if trial.number else [0.0]):
            trial.report(value, step=step, error=0.1)
        return 0.0

    study = sweep(
        "x=interval(-5,5)", "hydra.sweeper.direction=maximize", "hydra/sweeper/pruner=patient",
        "hydra.sweeper.pruner.patience=1", f"hydra.sweeper.margin={margin}", "hydra.sweeper.n_trials=2", task=evaluate,
    )  # fmt: skip
    assert (study.trials[1].state == TrialState.PRUNED) == pruned
