"""Limits on what trials describe: samplers keep to them, and the best trial does."""

from __future__ import annotations

import pytest
from hydra_plugins.hydra_optuna_sweeper import config as stock
from omegaconf import OmegaConf
from optuna.samplers import CmaEsSampler, GridSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from sentiment.errors import ConfigError
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.reading import read_space
from sentiment.search.space.sampling import FreshSampler, build_sampler
from sentiment.search.study.current import current_trial
from sentiment.search.study.limits import LimitError, check_limits, require_feasible
from sentiment.search.study.outcome import Outcome
from sentiment.search.study.stored.endings import give_result
from sentiment.search.study.stored.store import TrialStore
from sentiment.search.study.stored.study import StoredStudy

SPACE = read_space(["x=interval(0.0,1.0)", "y=interval(0.0,1.0)"], {}, {}, None)

KNOWING = {
    "tpe": stock.TPESamplerConfig(seed=3, n_startup_trials=5, multivariate=True),
    "gp": stock.GPSamplerConfig(seed=3, n_startup_trials=4),
    "nsgaii": stock.NSGAIISamplerConfig(seed=3, population_size=6),
    "nsgaiii": stock.NSGAIIISamplerConfig(seed=3, population_size=6),
}
COUNTS = {"tpe": 40, "gp": 8, "nsgaii": 60, "nsgaiii": 60}


@pytest.fixture
def hold(make_search):
    """Opens a study on its own, as a command holds it."""

    def open_one(limits, *, sampler=None, directions=("maximize",), storage=None):
        drawn_by = FreshSampler(OmegaConf.structured(sampler or stock.TPESamplerConfig(seed=1)), SPACE)
        options = {"direction": list(directions), "n_trials": 100, "limits": limits}
        search = make_search(SPACE.suggest, drawn_by, **options)
        return StoredStudy(TrialStore(storage or InMemoryStorage(), None, search), search)

    return open_one


def run(study, outcome, **described):
    trial = study.claim()
    for name, value in described.items():
        study.store.note(trial.trial_id, name, value)
    study.settle(trial.trial_id, outcome)
    return trial.number


def complete(*values):
    return Outcome("complete", tuple(float(value) for value in values))


def test_the_best_trial_is_the_best_of_those_that_keep_every_limit(hold):
    with hold({"size": 10.0, "latency": 2.0}) as study:
        run(study, complete(0.7), size=10.0, latency=1.0)
        run(study, complete(0.9), size=11.0, latency=1.0)
        run(study, complete(0.8), size=5.0, latency=2.5)
        run(study, complete(0.6), size=1.0, latency=1.0)
        assert [trial.number for trial in study.look().best] == [0]
        assert study.trials()[1].constraints == {"size": 1.0, "latency": -1.0}
        require_feasible(study.trials(), {"size": 10.0, "latency": 2.0})


def test_the_pareto_front_keeps_the_limits(hold):
    with hold({"size": 10.0}, directions=("maximize", "minimize")) as study:
        run(study, complete(0.9, 1.0), size=20.0)
        run(study, complete(0.7, 2.0), size=5.0)
        run(study, complete(0.6, 1.5), size=5.0)
        run(study, complete(0.5, 3.0), size=5.0)
        assert [trial.number for trial in study.look().best] == [1, 2]


def test_where_no_trial_keeps_the_limits_there_is_no_best_and_the_end_says_so(hold):
    with hold({"size": 10.0}) as study:
        run(study, complete(0.9), size=40.0)
        run(study, complete(0.7), size=15.0)
        assert study.look().best == []
        with pytest.raises(LimitError, match=r"None of the 2 .* nearest is trial 1: size is 15, the limit 10"):
            require_feasible(study.trials(), {"size": 10.0})


@pytest.mark.parametrize(
    ("size", "limit", "told"),
    [(2_612_345.0, 2.5e6, "2,612,345, the limit 2,500,000"), (600.004, 600.0, "600.004, the limit 600.0")],
)
def test_a_number_over_its_limit_is_told_in_a_form_that_shows_it(hold, size, limit, told):
    with hold({"size": limit}) as study:
        run(study, complete(0.9), size=size)
        with pytest.raises(LimitError, match=f"size is {told}"):
            require_feasible(study.trials(), {"size": limit})


def test_a_number_that_was_not_described_is_named_and_the_result_is_not_lost(hold):
    storage = InMemoryStorage()
    with hold({"parameters": 10.0}, storage=storage) as study:
        trial = study.claim()
        study.store.note(trial.trial_id, "model/parameters", 5.0)
        study.store.write(trial.trial_id, "study:outcome:0", complete(0.9).to_json())  # as the job does
        with pytest.raises(LimitError, match=r"names parameters, .* trial 0 .* described model/parameters"):
            study.settle(trial.trial_id, complete(0.9))
        assert study.trials()[0].state == TrialState.RUNNING
    with hold({"model/parameters": 10.0}, storage=storage) as study:
        study.claim()
        assert [trial.value for trial in study.look().best] == [0.9]
        assert study.trials()[0].constraints == {"model/parameters": -5.0}


def test_a_trial_without_the_number_that_others_have_has_failed_and_the_study_goes_on(hold):
    with hold({"size": 10.0}) as study:
        run(study, complete(0.9), size=float("nan"))
        run(study, complete(0.8), size=5.0)
        run(study, complete(0.7))
        run(study, Outcome("pruned"), size=float("nan"))
        assert [trial.state.name for trial in study.trials()] == ["FAIL", "COMPLETE", "FAIL", "PRUNED"]
        reasons = [study.trials()[number].user_attrs["failure.reason"] for number in (0, 2)]
        assert reasons == [f"a limit cannot be checked: size is {what}" for what in ("nan", "missing")]
        assert [trial.value for trial in study.look().best] == [0.8]


@pytest.mark.parametrize("value", [None, "5", True])
def test_what_is_no_number_does_not_count_as_described(hold, value):
    with hold({"size": 10.0}) as study, pytest.raises(LimitError, match="did not describe"):
        run(study, complete(0.9), size=value)


def test_an_equal_trial_that_did_not_run_has_the_numbers_of_the_one_that_did(hold):
    with hold({"size": 10.0}) as study:
        first = run(study, complete(0.9), size=20.0)
        second = study.claim().trial_id
        outcome = give_result(
            study.store, study.search, second, 0, Outcome("complete", (0.9,), reused_from=first), {"size": 20.0}
        )
        study.settle(second, outcome)
        assert study.look().best == []
        assert study.trials()[1].user_attrs["reused_from"] == first
        assert study.trials()[1].user_attrs["size"] == 20.0


def test_a_trial_that_was_ended_early_need_not_have_its_numbers(hold):
    with hold({"size": 10.0, "seconds": 1.0}) as study:
        run(study, Outcome("pruned"))
        run(study, Outcome("pruned"), size=20.0)
        run(study, Outcome("failed", reason="no"))
        assert [trial.constraints for trial in study.trials()] == [{}, {"size": 10.0}, {}]
        assert [trial.state.name for trial in study.trials()] == ["PRUNED", "PRUNED", "FAIL"]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", KNOWING)
def test_samplers_draw_away_from_what_breaks_a_limit(hold, name):
    """More of x is better and a fifth of it is allowed: without the limit, trials would go to the other end."""
    check_limits({"size": 0.2}, build_sampler(OmegaConf.structured(KNOWING[name]), trial_number=0, space=SPACE))
    count = COUNTS[name]
    shares = []
    for limit in (0.2, 10.0):
        with hold({"size": limit}, sampler=KNOWING[name]) as study:
            for _ in range(count):
                claim = study.claim()
                x = claim.values["x"]
                study.store.note(claim.trial_id, "size", x)
                study.settle(claim.trial_id, complete(x))
            later = [trial.params["x"] for trial in study.trials()[count // 2 :]]
        shares.append(sum(x <= 0.25 for x in later) / len(later))
    assert shares[0] > 0.5 > shares[1]


@pytest.mark.parametrize(
    "sampler", [RandomSampler(), CmaEsSampler(), GridSampler({"x": [1]})], ids=lambda sampler: type(sampler).__name__
)
def test_a_sampler_that_knows_no_limits_is_refused(sampler):
    with pytest.raises(ConfigError, match=rf"{type(sampler).__name__} does not know limits") as caught:
        check_limits({"size": 1.0}, sampler)
    assert all(name in str(caught.value) for name in ("tpe", "gp", "nsgaii", "nsgaiii"))
    check_limits({}, sampler)


@pytest.mark.slow
def test_a_command_with_limits_keeps_the_best_within_them(start_toy, study_dir):
    command = start_toy(
        "x=choice(0,3,4)", "describe=true", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.n_trials=8", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.limits={size: 3}",
    )  # fmt: skip
    output, _ = command.communicate(timeout=60)
    assert command.returncode == 0, output
    best = OmegaConf.load(study_dir / "optimization_results.yaml")
    assert (best.best_params.x, best.best_value) == (3, 10.0)


@pytest.mark.slow
def test_a_command_none_of_whose_trials_keeps_the_limits_says_so_and_fails(start_toy, study_dir):
    command = start_toy(
        "x=3", "describe=true", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.limits={size: 1}",
    )  # fmt: skip
    output, _ = command.communicate(timeout=60)
    assert command.returncode != 0
    assert "size is 3, the limit 1" in output
    assert "Traceback" not in output
    assert not (study_dir / "optimization_results.yaml").exists()


def describe_size(config):
    current_trial().describe({"size": float(config.x)})
    return float(config.x)


@pytest.mark.parametrize(
    ("now", "allowed"),
    [("{size: 1}", "true"), ("{size: 20}", "false"), ("{size: 10, other: 1}", "true"), ("{}", "true")],
)
def test_other_limits_than_those_that_judged_trials_are_refused(sweep, now, allowed):
    options = ("x=interval(0,5)", "hydra.sweeper.direction=maximize", f"hydra.sweeper.allow_changes={allowed}")
    sweep(*options, "hydra.sweeper.n_trials=2", "hydra.sweeper.limits={size: 10}", task=describe_size)
    told = r"hydra\.sweeper\.limits\.\w+: stored(.|\n)*start another study"
    with pytest.raises(StudyEndedError, match=told) as caught:
        sweep(*options, "hydra.sweeper.n_trials=3", f"hydra.sweeper.limits={now}", task=describe_size)
    assert "allow_changes" not in str(caught.value)


def test_a_name_that_no_trial_described_may_be_corrected(sweep):
    options = ("x=interval(0,5)", "hydra.sweeper.n_trials=1")
    with pytest.raises(StudyEndedError, match="allow_changes=true: the trial's result is kept"):
        sweep(*options, "hydra.sweeper.limits={sise: 10}", task=describe_size)
    study = sweep(*options, "hydra.sweeper.limits={size: 10}", "hydra.sweeper.allow_changes=true", task=describe_size)
    assert set(study.trials[0].constraints) == {"size"}
    assert len(study.trials) == 1


def test_a_trial_is_run_again_once_the_application_describes_what_the_limit_is_on(sweep):
    runs = []

    def forget_size(config):
        runs.append(config.x)
        return float(config.x)

    def run(config):
        runs.append(config.x)
        return describe_size(config)

    options = ("x=choice(1,2)", "hydra/sweeper/sampler=tpe", "hydra.sweeper.repeats=2", "hydra.sweeper.n_trials=1")
    options += ("hydra.sweeper.limits={size: 10}",)
    with pytest.raises(StudyEndedError, match="the same command runs the trial again"):
        sweep(*options, task=forget_size)
    study = sweep(*options, task=run)
    assert len(runs) == 4
    assert [trial.constraints["size"] for trial in study.trials] == [study.trials[0].params["x"] - 10]
