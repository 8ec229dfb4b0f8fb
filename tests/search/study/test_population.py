"""Population-based training: the worst go on from copies of the best, at changed settings."""

from __future__ import annotations

import json
import logging
import random
import shutil

import pytest
from hydra.utils import execution_whitelist
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.points import TARGET_KEY
from sentiment.search.study.current import current_trial
from sentiment.search.study.history import parse_history, read_study, write_history
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, find_pruned_reason
from sentiment.search.study.population import CONTINUES_KEY, PopulationPruner, find_origin
from sentiment.search.study.rungs import count_steps

POPULATION = PopulationPruner(interval=1, quantile=0.25)


def trial_at(number, *reports, state=TrialState.WAITING, continues=None):
    """A trial that has made some reports, and waits after them where it is not said what it does."""
    system_attrs = {TARGET_KEY: len(reports)}
    if continues is not None:
        system_attrs[CONTINUES_KEY] = continues
    if state == TrialState.WAITING:
        system_attrs[OUTCOME_KEY.format(repeat=0)] = Outcome("paused", steps=len(reports)).to_json()
    trial = create_trial(
        state=state, value=reports[-1] if state == TrialState.COMPLETE else None,
        params={"optimizer.lr": 0.1}, distributions={"optimizer.lr": FloatDistribution(0.01, 1)},
        intermediate_values=dict(enumerate(reports)), system_attrs=system_attrs,
    )  # fmt: skip
    trial.number = number
    return trial


def find_swap(trials, pruner=POPULATION):
    swap = pruner.find_swap(trials, maximize=[True])
    return None if swap is None else (swap.loser.number, swap.origin.number)


def test_the_worst_quarter_gives_its_place_to_the_best_that_waits():
    four = [trial_at(number, value) for number, value in enumerate([0.5, 0.7, 0.6, 0.8])]
    assert find_swap(four) == (0, 3)
    assert find_swap(four[:3]) is None, "a quarter of three is nobody"
    gone_on = [*four[:3], trial_at(3, 0.8, state=TrialState.RUNNING)]
    assert find_swap(gone_on) is None, "the best has left this checkpoint"
    eight = [*four, *(trial_at(4 + number, 0.75) for number in range(4))]
    assert find_swap(eight) == (0, 3)


def test_one_is_replaced_at_a_time_and_nobody_follows_who_was_not_among_the_worst():
    four = [trial_at(number, value) for number, value in enumerate([0.5, 0.7, 0.6, 0.8])]
    copy = trial_at(4, 0.8, state=TrialState.RUNNING, continues={"trial": 3, "steps": 1, "place_of": 0})
    assert find_swap([*four, copy]) is None
    four[0].state = TrialState.PRUNED
    assert find_swap([*four, copy]) is None, "2 is not the worst because 0 has ended"


def test_the_least_advanced_go_on_first_and_who_is_copied_waits_for_it():
    trials = [trial_at(0, 0.5, 0.5), trial_at(1, 0.7), trial_at(2, 0.6)]
    listed = POPULATION.list_promotable(trials, maximize=[True], is_closing=True)
    assert [trial.number for trial in listed] == [2, 1, 0], "the worse first: the better may be copied yet"
    assert list(POPULATION.list_promotable(trials, maximize=[True], is_closing=False)) == [], "all begin first"
    copy = trial_at(3, 0.7, state=TrialState.RUNNING, continues={"trial": 1, "steps": 1, "place_of": 2})
    listed = POPULATION.list_promotable([*trials, copy], maximize=[True], is_closing=True)
    assert [trial.number for trial in listed] == [0], "1 is copied, 2 has lost its place"
    assert [trial.number for trial in POPULATION.list_excess([*trials, copy], maximize=[True])] == [2]
    reported = trial_at(3, 0.7, 0.8, state=TrialState.RUNNING, continues={"trial": 1, "steps": 1, "place_of": 2})
    listed = POPULATION.list_promotable([*trials, reported], maximize=[True], is_closing=True)
    assert [trial.number for trial in listed] == [1, 0]


def test_who_is_copied_loses_its_place_to_nobody_before_its_checkpoint_is_taken():
    half = PopulationPruner(quantile=0.5)
    trials = [trial_at(number, value) for number, value in enumerate([0.5, 0.6, 0.7, 0.8])]
    copy = trial_at(4, 0.6, state=TrialState.RUNNING, continues={"trial": 1, "steps": 1, "place_of": 0})
    assert find_swap([*trials, copy], half) is None
    reported = trial_at(4, 0.6, 0.7, state=TrialState.RUNNING, continues={"trial": 1, "steps": 1, "place_of": 0})
    assert find_swap([*trials, reported], half) == (1, 3)


@given(seed=st.integers(0, 1000), value=st.floats(0.01, 1), whole=st.integers(2, 9))
def test_numbers_change_within_their_intervals_and_the_rest_stays(seed, value, whole):
    distributions = {
        "optimizer.lr": FloatDistribution(0.01, 1, log=True),
        "optimizer.steps": IntDistribution(2, 10),
        "optimizer.name": CategoricalDistribution(["adam", "sgd"]),
        "model.depth": IntDistribution(1, 4),
    }
    params = {"optimizer.lr": value, "optimizer.steps": whole, "optimizer.name": "adam", "model.depth": 2}
    changed = POPULATION.explore(params, distributions, random.Random(seed))
    for name, distribution in distributions.items():
        assert distribution._contains(distribution.to_internal_repr(changed[name]))
        assert type(changed[name]) is type(params[name])
    assert changed["model.depth"] == 2
    assert changed["optimizer.name"] == "adam"
    assert changed == POPULATION.explore(params, distributions, random.Random(seed))
    factors = PopulationPruner(resample=0.0).explore(params, distributions, random.Random(seed))
    assert (
        factors["optimizer.lr"]
        == pytest.approx(min(max(value * (1.25 if factors["optimizer.lr"] > value else 0.8), 0.01), 1))
        or factors["optimizer.lr"] == value
    )


@given(seed=st.integers(0, 1000), factor=st.floats(1.01, 4), whole=st.integers(-4, 10), wide=st.integers(-4, 10))
def test_a_number_that_is_not_drawn_anew_moves_unless_the_end_of_its_interval_holds_it(seed, factor, whole, wide):
    distributions = {
        "optimizer.warmup": IntDistribution(-4, 10),
        "optimizer.steps": IntDistribution(-4, 10, step=2),
        "optimizer.decay": FloatDistribution(0.0, 0.5),
        "optimizer.centre": FloatDistribution(-1.0, 1.0),
        "optimizer.share": FloatDistribution(0.0, 1.0, step=0.25),
    }
    wide -= wide % 2
    params = dict(zip(distributions, (whole, wide, 0.0, 0.0, 0.0), strict=True))
    changed = PopulationPruner(resample=0.0, factor=factor).explore(params, distributions, random.Random(seed))
    for name, distribution in distributions.items():
        assert distribution._contains(changed[name])
        assert changed[name] != params[name] or params[name] in (distribution.low, distribution.high)
    assert abs(changed["optimizer.centre"]) == pytest.approx(1.0 if factor >= 2 else 2 * (1 - 1 / factor))


@pytest.mark.parametrize("value", [1, 0, 0.0])
def test_a_number_at_the_lower_end_leaves_it_half_of_the_time(value):
    distribution = IntDistribution(value, 10) if type(value) is int else FloatDistribution(value, 1.0)
    factors = PopulationPruner(resample=0.0)
    changed = [
        factors.explore({"optimizer.it": value}, {"optimizer.it": distribution}, random.Random(seed))["optimizer.it"]
        for seed in range(200)
    ]
    assert 60 < sum(one > value for one in changed) < 140


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["hydra.sweeper.n_trials=3"],
            r"pruner\.quantile: 3 trials .* 0\.25 is nobody to replace\n.*n_trials=4 or more",
        ),
        (["hydra.sweeper.pruner.quantile=0.1"], r"quantile: 8 trials .*\n.*n_trials=10 or more"),
        (["hydra.sweeper.pruner.keys=[z]"], r"pruner\.keys: no number .* lies under z: .*\n.*name some of x"),
        (["hydra.sweeper.pruner.keys=[x,optimizer]"], "lies under optimizer"),
        (["x=0,1"], "lies under x"),
    ],
)
def test_a_population_that_would_never_exploit_or_never_explore_is_refused(sweep, options, told):
    with pytest.raises(StudyEndedError, match=told):
        sweep(*COMMAND, *options)


@pytest.mark.parametrize("faulty", [{"interval": 0}, {"quantile": 0.0}, {"quantile": 0.6}, {"factor": 1.0}])
def test_a_population_that_is_none_is_refused(faulty):
    with pytest.raises(ValueError, match="interval should be whole, at least 1"):
        PopulationPruner(**faulty)


class Walking:
    """A task of four steps, each of which adds x to what its checkpoint holds: a line's sum is that of its x."""

    def __init__(self):
        self.steps = []

    def __call__(self, config):
        trial = current_trial()
        file = trial.folder / "checkpoint.json"
        if trial.origin is not None and not file.exists():
            shutil.copy(trial.origin / file.name, file)
        walked = json.loads(file.read_text()) if file.exists() else []
        for step in range(len(walked), 4):
            self.steps.append((trial.number, step))
            walked = [*walked, float(config.x)]
            trial.progress((step + 1) / 4)
            trial.report(sum(walked), step=step)
            file.write_text(json.dumps(walked))
            if step < 3:
                trial.saved()
        return sum(walked)


COMMAND = (
    "x=interval(0,1)", "hydra/sweeper/pruner=population", "hydra.sweeper.pruner.keys=[x]",
    "hydra.sweeper.direction=maximize", "hydra.sweeper.sampler.seed=3", "hydra.sweeper.n_trials=8",
)  # fmt: skip


def test_a_task_that_would_begin_its_copies_anew_is_told_so(sweep):
    class Anew(Walking):
        def __call__(self, config):
            current_trial().origin = None
            return super().__call__(config)

    with pytest.raises(StudyEndedError, match=r"had made 1 report, reports step 0: let .* in trial\.origin"):
        sweep(*COMMAND, task=Anew())


def test_copies_go_on_from_the_best_and_every_step_is_run_once(sweep, study_dir):
    task = Walking()
    study = sweep(*COMMAND, task=task)
    copies = [trial for trial in study.trials if find_origin(trial) is not None]
    assert len(study.trials) - len(copies) == 8
    assert copies, "somebody was replaced"
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == 8, "as many come to their end as there are in the population"
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(task.steps) == len(set(task.steps)) == 8 * 4
    for trial in copies:
        begun = find_origin(trial)
        origin, loser = study.trials[begun["trial"]], study.trials[begun["place_of"]]
        reports = trial.intermediate_values
        assert [reports[step] for step in range(begun["steps"])] == [
            origin.intermediate_values[step] for step in range(begun["steps"])
        ]
        if count_steps(trial) > begun["steps"]:
            assert reports[begun["steps"]] == pytest.approx(reports[begun["steps"] - 1] + trial.params["x"])
        assert loser.state == TrialState.PRUNED
        told = f"trial {trial.number}, a copy of trial {origin.number}, took its place"
        assert find_pruned_reason(loser) == told
        assert loser.intermediate_values[begun["steps"] - 1] < origin.intermediate_values[begun["steps"] - 1]
    again = Walking()
    sweep(*COMMAND, task=again)
    assert again.steps == [], "the same command has nothing left"


def test_a_copy_begins_and_does_not_begin_again(sweep, caplog):
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        study = sweep(*COMMAND, "hydra.sweeper.progress=lines", task=Walking())
    lines = [record.message for record in caplog.records if " started" in record.message]
    for trial in study.trials:
        own = [line for line in lines if line.startswith(f"#{trial.number} ")]
        assert [" again " in line for line in own] == [False, *[True] * len(own)][: len(own)]


def test_work_is_counted_once_though_a_copy_stands_for_the_whole_of_it(sweep):
    task = Walking()
    study = sweep(*COMMAND, "hydra.sweeper.full_trials=6", task=task)
    assert 4 * 4 <= len(task.steps) <= 6 * 4, "six trainings' worth, less what could not come to a pause"
    assert any(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_a_copy_s_result_is_nobody_else_s(sweep, tmp_path):
    """Its point alone does not make it, so that no trial at the same point may take it over."""
    study = sweep(*COMMAND, task=Walking())
    copies = [trial for trial in study.trials if find_origin(trial) is not None]
    assert not any(key.startswith("study:identity") for trial in copies for key in trial.system_attrs)


@pytest.mark.parametrize(
    ("space", "lowest"), [(["x=interval(0,1)", "y=interval(0,5)"], 0.0), (["x=tag(log,interval(0.01,1))"], 0.01)]
)
def test_a_copy_in_a_space_that_changed_differs_from_its_origin_in_what_may_change_alone(sweep, space, lowest):
    class Stopped(Walking):
        def __call__(self, config):
            if len(self.steps) == 8:  # all of the population wait at their first pause
                raise KeyboardInterrupt
            return super().__call__(config)

    options = [*COMMAND[1:], "hydra.sweeper.pruner.resample=0"]
    with pytest.raises(KeyboardInterrupt):
        sweep(*COMMAND, *options, task=Stopped())
    study = sweep(*space, *options, task=Walking())
    copies = [trial for trial in study.trials if find_origin(trial) is not None and trial.params]
    assert copies

    def x_of(trial):
        return next(value for name, value in trial.params.items() if name.startswith("x"))

    for trial in copies:
        origin = study.trials[find_origin(trial)["trial"]]
        assert trial.params.get("y", 0.0) == origin.params.get("y", 0.0), "it is what the origin was trained with"
        changed = [min(max(x_of(origin) * factor, lowest), 1.0) for factor in (1.25, 0.8)]
        assert x_of(trial) == pytest.approx(changed[0]) or x_of(trial) == pytest.approx(changed[1])


def test_other_studies_take_a_copy_for_no_trial_at_its_point(sweep, tmp_path, caplog):
    first = tmp_path / "multirun/first"
    study = sweep(*COMMAND, task=Walking(), study_dir=first)
    history = read_study(None, first)
    origins = [find_origin(trial) for trial in study.trials]
    assert [trial.continues for trial in history.trials] == [one and one["trial"] for one in origins]
    complete = [trial for trial in history.trials if trial.state == "complete"]
    own = [trial for trial in complete if trial.continues is None]
    assert 0 < len(own) < len(complete)

    options = ("x=interval(0,1)", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=1")
    with caplog.at_level("INFO"):
        sweep(*options, "hydra.sweeper.prior=first", study_dir=tmp_path / "multirun/learnt")
    assert f"learns from {len(own)} trials of study" in caplog.text
    best = history.trials[history.best[0]]
    assert best.continues is not None
    for key in ("start=[first]", "extend=first"):
        caplog.clear()
        sweep(*options, f"hydra.sweeper.{key}", study_dir=tmp_path / "multirun" / key[:5])
        assert f"Of first, trial {best.number} from one of trial {best.continues} went on from" in caplog.text


def test_a_stored_history_keeps_what_copies_are_and_an_earlier_one_has_none(sweep, study_dir):
    sweep(*COMMAND, task=Walking())
    history = read_study(None, study_dir)
    text = write_history(history)
    assert parse_history(text) == history
    content = json.loads(text)
    for trial in content["trials"]:
        del trial["continues"]
    assert {trial.continues for trial in parse_history(json.dumps(content)).trials} == {None}


def test_a_copy_keeps_what_the_application_s_own_space_drew(sweep, tmp_path, monkeypatch):
    """It goes on from a checkpoint: another width, drawn anew, would not fit its weights."""
    (tmp_path / "toy_width.py").write_text("def draw(config, trial):\n    trial.suggest_int('y', 0, 10_000)\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with execution_whitelist("toy_width.*"):
        study = sweep(*COMMAND, "hydra.sweeper.custom_search_space=toy_width.draw", task=Walking())
    copies = [trial for trial in study.trials if find_origin(trial) is not None]
    assert copies
    for trial in copies:
        assert trial.params["y"] == study.trials[find_origin(trial)["trial"]].params["y"]


def test_repeats_are_refused(sweep):
    with pytest.raises(StudyEndedError, match="population copies trainings"):
        sweep(*COMMAND, "hydra.sweeper.repeats=2")


def test_a_budget_alone_says_nothing_of_the_population_s_size(sweep):
    command = [option for option in COMMAND if "n_trials" not in option]
    with pytest.raises(StudyEndedError, match="is the size of the population"):
        sweep(*command, "hydra.sweeper.full_trials=6")
