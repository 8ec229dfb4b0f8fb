"""What a sampler learns from an earlier study, which counts nothing in the study that learns."""

from __future__ import annotations

import math
import statistics

import numpy
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from sentiment.search import starts
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.seen import _level
from sentiment.search.study.current import current_trial

SPACE = ("x=interval(-5,5)", "y=interval(-5,5)")


@pytest.fixture
def study(sweep, tmp_path):
    """Runs a study in a folder of its own beside the others."""

    def run(name, *overrides, task):
        return sweep(*overrides, task=task, study_dir=tmp_path / "multirun" / name)

    return run


def near(config):
    """Best at (3, -3)."""
    return (float(config.x) - 3) ** 2 + (float(config.y) + 3) ** 2


def far_above(config):
    """The same, at another level and spread: as on other data."""
    return 1000 + 50 * near(config)


@pytest.mark.parametrize(("sampler", "trials"), [("multivariate_tpe", 40), ("gp", 15)])
def test_the_first_points_are_better_than_without(study, sampler, trials):
    chosen = [*SPACE, f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=1"]
    study("first", *chosen, f"hydra.sweeper.n_trials={trials}", task=far_above)
    few = [*chosen, "hydra.sweeper.n_trials=6"]
    without = study("without", *few, task=near)
    learnt = study("learnt", *few, "hydra.sweeper.prior=first", task=near)
    assert len(learnt.trials) == 6, "the earlier trials do not count"
    assert {trial.state for trial in learnt.trials} == {TrialState.COMPLETE}
    means = [statistics.fmean(trial.value for trial in one.trials) for one in (learnt, without)]
    assert means[0] < 0.8 * means[1]


def test_a_study_that_goes_on_draws_as_one_in_a_piece(study):
    study("first", *SPACE, "hydra.sweeper.n_trials=12", task=far_above)
    options = [*SPACE, "hydra.sweeper.sampler.seed=1", "hydra.sweeper.prior=first"]
    whole = study("whole", *options, "hydra.sweeper.n_trials=6", task=near)
    study("parts", *options, "hydra.sweeper.n_trials=3", task=near)
    parts = study("parts", *options, "hydra.sweeper.n_trials=6", task=near)
    assert [trial.params for trial in parts.trials] == [trial.params for trial in whole.trials]


def test_only_points_of_the_space_teach_and_how_many_is_said(study, caplog):
    study("first", "x=interval(-5,5)", "hydra.sweeper.n_trials=8", "hydra.sweeper.sampler.seed=1", task=near)
    with caplog.at_level("INFO"):
        study("second", "x=interval(0,5)", "hydra.sweeper.n_trials=1", "hydra.sweeper.prior=first", task=near)
    [count] = [int(word) for word in caplog.text.partition("learns from ")[2].split()[:1]]
    assert 0 < count < 8


def test_what_a_constraint_forbids_teaches_nothing(study, caplog):
    start = "hydra.sweeper.start=[{x: -1}, {x: 1}, {x: 2}]"
    study("first", "x=interval(-5,5)", "hydra.sweeper.n_trials=3", start, task=near)
    constraint = ["hydra.sweeper.constraints=['x > 0']", "hydra.sweeper.prior=first"]
    with caplog.at_level("INFO"):
        study("second", "x=interval(-5,5)", "hydra.sweeper.n_trials=1", *constraint, task=near)
    assert "learns from 2 trials of" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["hydra.sweeper.prior=nowhere"], "'nowhere' is no study"),
        (["hydra.sweeper.prior=firs"], "did you mean first"),
        (["hydra.sweeper.prior=first", "x=interval(8,9)"], "none of the 2 complete trials of study"),
        (["hydra.sweeper.prior=first", "hydra/sweeper/sampler=random"], "RandomSampler learns from no trials but"),
        (["hydra.sweeper.prior=first", "hydra/sweeper/sampler=grid", "x=1,2"], "learns from no trials but its own"),
        (["hydra.sweeper.prior=first", "hydra.sweeper.direction=maximize"], "are better by"),
    ],
)
def test_what_teaches_nothing_is_a_fault_before_anything_starts(study, tmp_path, overrides, told):
    study("first", "x=interval(-5,5)", "hydra.sweeper.n_trials=2", task=near)
    with pytest.raises(StudyEndedError) as caught:
        study("second", "x=interval(-5,5)", "hydra.sweeper.n_trials=2", *overrides, task=near)
    assert told in str(caught.value)
    assert not (tmp_path / "multirun/second").exists()


def test_a_study_of_another_objective_teaches_nothing(study):
    study("first", *SPACE, "hydra.sweeper.n_trials=2", "hydra.sweeper.metric_names=[loss]", task=near)
    options = [*SPACE, "hydra.sweeper.n_trials=2", "hydra.sweeper.prior=first"]
    with pytest.raises(StudyEndedError, match=r"the objectives of \w+ are loss, here parameters"):
        study("second", *options, "hydra.sweeper.metric_names=[parameters]", task=near)
    assert len(study("third", *options, "hydra.sweeper.metric_names=[loss]", task=near).trials) == 2


def make(value):
    return create_trial(value=value, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)})


def test_values_are_moved_to_the_level_of_the_study_that_learns():
    prior = [make(value) for value in (100.0, 200.0, 300.0)]
    assert [trial.value for trial in _level(prior, [])] == [100.0, 200.0, 300.0]
    assert [trial.value for trial in _level(prior, [make(1.0), make(3.0)])] == [-98.0, 2.0, 102.0]
    own = [make(value) for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    moved = [trial.value for trial in _level(prior, own)]
    assert numpy.mean(moved) == pytest.approx(0.3)
    assert numpy.std(moved) == pytest.approx(numpy.std([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert [trial.value for trial in prior] == [100.0, 200.0, 300.0], "what is stored stays as it is"
    equal = [trial.value for trial in _level([make(7.0), make(7.0)], own)]
    assert equal == pytest.approx([0.3, 0.3])


def test_an_infinite_value_moves_no_other():
    """A trial that diverged says that its point is bad, and nothing of the level of the others."""
    own = [make(value) for value in (1.0, 3.0, math.inf)]
    assert [trial.value for trial in _level([make(100.0), make(math.inf), make(300.0)], own)] == [
        -98.0,
        math.inf,
        102.0,
    ]
    assert [trial.value for trial in _level([make(100.0)], [make(math.inf)])] == [100.0], "there is no level to move to"


@pytest.mark.parametrize("key", ["prior=first", "extend=first"])
def test_a_study_does_not_learn_from_itself(study, key):
    """It would learn from each trial twice."""
    study("first", *SPACE, "hydra.sweeper.n_trials=2", task=near)
    with pytest.raises(StudyEndedError, match="'first' is this study itself") as caught:
        study(
            "first",
            *SPACE,
            "hydra.sweeper.n_trials=3",
            f"hydra.sweeper.{key}",
            "hydra.sweeper.allow_changes=true",
            task=near,
        )
    assert caught.value.__cause__ is not None


def describe_size(config):
    current_trial().describe({"size": float(config.x), "depth": float(config.y)})
    return near(config)


@pytest.mark.parametrize("earlier", [[], ["hydra.sweeper.limits={size: 1, depth: 2}"]])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_earlier_trials_described_is_held_against_the_limits_of_the_study_that_learns(study, monkeypatch, earlier):
    drawn = ["hydra/sweeper/sampler=tpe", "hydra.sweeper.n_trials=3"]
    first = study("first", *SPACE, *drawn, *earlier, task=describe_size)
    assert any(excess > 0 for trial in first.trials for excess in trial.constraints.values()) == bool(earlier)
    learnt = ("hydra.sweeper.prior=first", "hydra.sweeper.n_trials=2")
    options = [*SPACE, *learnt, "hydra/sweeper/sampler=gp", "hydra.sweeper.sampler.n_startup_trials=2"]
    shown = []
    monkeypatch.setattr(starts, "create_trial", lambda **told: shown.append(create_trial(**told)) or shown[-1])
    second = study("second", *options, "hydra.sweeper.limits={size: 1, depth: 2}", task=describe_size)
    assert [trial.state for trial in second.trials] == [TrialState.COMPLETE] * 2
    assert {trial.value for trial in shown} == {trial.value for trial in first.trials}, "what breaks a limit, too"
    for trial in [*shown, *second.trials]:
        assert list(trial.constraints.items()) == [("depth", trial.params["y"] - 2), ("size", trial.params["x"] - 1)]
    with pytest.raises(StudyEndedError, match="trials of study did not describe seconds, which has a limit here"):
        study("third", *options, "hydra.sweeper.limits={seconds: 1}", task=describe_size)
