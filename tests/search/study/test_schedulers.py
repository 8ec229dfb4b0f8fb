"""What holds for everything that ends, pauses or goes on with trials: one contract for every pruner by name."""

from __future__ import annotations

import json
import shutil

import pytest
from optuna.trial import TrialState

from sentiment.search.plugin.registration import PRUNERS
from sentiment.search.study.current import current_trial
from sentiment.search.study.population import find_origin
from sentiment.search.study.rungs import count_steps

STEPS, TRIALS = 6, 7
EXTRA = {
    "median": ["hydra.sweeper.pruner.n_startup_trials=2"],
    "percentile": ["hydra.sweeper.pruner.n_startup_trials=2"],
    "patient": ["hydra.sweeper.pruner.patience=1"],
    "hyperband": [f"hydra.sweeper.pruner.max_resource={STEPS}"],
    "successive_halving": ["hydra.sweeper.pruner.reduction_factor=2", "hydra.sweeper.pruner.min_resource=1"],
    "wilcoxon": ["hydra.sweeper.repeats=5"],
    "population": ["hydra.sweeper.pruner.keys=[x]"],
}


QUICK = ("median", "promotion", "population")
"""Tested with every change; the others in the slow tier."""


class Training:
    """A task with a checkpoint after each of its steps; it is better the nearer x is to 0."""

    def __init__(self, stop_after=None):
        self.steps, self.stop_after = [], stop_after

    def __call__(self, config):
        trial = current_trial()
        checkpoint = trial.folder / "checkpoint.json"
        if trial.origin is not None and not checkpoint.exists():
            shutil.copy(trial.origin / checkpoint.name, checkpoint)
        done = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in range(done, STEPS):
            if len(self.steps) == self.stop_after:
                self.stop_after = None
                raise KeyboardInterrupt
            self.steps.append((trial.number, trial.repeat, step))
            checkpoint.write_text(json.dumps(step + 1))
            trial.report(abs(config.x) / (step + 1), step=step)
            if step + 1 < STEPS:
                trial.saved()
        return abs(config.x)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in PRUNERS]
)
def test_counts_are_exact_nobody_starves_and_a_stop_changes_nothing(sweep, tmp_path, name):
    command = (
        "x=interval(-5,5)", "hydra.sweeper.sampler.seed=4", f"hydra/sweeper/pruner={name}",
        f"hydra.sweeper.n_trials={TRIALS}", *EXTRA.get(name, []),
    )  # fmt: skip
    whole_task, task = Training(), Training(stop_after=9)
    whole = sweep(*command, task=whole_task, study_dir=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        sweep(*command, task=task)
    study = sweep(*command, task=task)

    assert sum(find_origin(trial) is None for trial in study.trials) == TRIALS
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}, "nobody waits for ever"
    assert any(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert task.steps == whole_task.steps, "each step once, in the same order"
    assert len(set(task.steps)) == len(task.steps)
    ended = [(trial.state, trial.params, trial.values, count_steps(trial)) for trial in study.trials]
    assert ended == [(trial.state, trial.params, trial.values, count_steps(trial)) for trial in whole.trials]


def test_a_sampler_that_reads_no_trials_draws_for_a_database_too(sweep, tmp_path):
    study = sweep(
        "x=interval(-5,5)", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=3",
        task=lambda config: abs(float(config.x)), storage=f"sqlite:///{tmp_path / 'study.db'}",
    )  # fmt: skip
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
