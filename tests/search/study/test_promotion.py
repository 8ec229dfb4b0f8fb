"""Promotion: trials pause at rungs, the best go on from their checkpoints, and every step is run once."""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter
from datetime import datetime
from types import SimpleNamespace

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from sentiment.config.home import PROJECT_DIR
from sentiment.search.budget import UNLIMITED, Budget, Spending
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.points import TARGET_KEY
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.agenda import Agenda
from sentiment.search.study.current import current_trial
from sentiment.search.study.history import read_study
from sentiment.search.study.limits import CONSTRAINT_KEY
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, RepeatPlan, find_pruned_reason, is_paused
from sentiment.search.study.promotion import PromotionPruner
from sentiment.search.study.rungs import VALUES_KEY, count_steps, rank_rung
from sentiment.search.study.stored.store import DEFINITION_KEY, TrialStore
from sentiment.search.study.trial import PROGRESS_KEY

LADDER = PromotionPruner(min_resource=1, reduction_factor=3)
OPTIONS = ("x=interval(-5,5)", "hydra.sweeper.sampler.seed=1", "hydra/sweeper/pruner=promotion")


def trial_at(number, reports, *, state="paused", target=None, above=0.0):
    """A trial that has made some reports; a paused one waits at its rung. It may be above a limit."""
    system_attrs = {TARGET_KEY: target or len(reports), CONSTRAINT_KEY.format(name="size"): above}
    if state == "paused":
        system_attrs[OUTCOME_KEY.format(repeat=0)] = Outcome("paused", steps=len(reports)).to_json()
    states = {"paused": TrialState.WAITING, "running": TrialState.RUNNING, "failed": TrialState.FAIL}
    trial = create_trial(
        state=states.get(state, TrialState.COMPLETE),
        value=reports[-1] if state == "complete" else None,
        params={"x": 0.0},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values=dict(enumerate(reports)),
        system_attrs=system_attrs,
    )
    trial.number = number
    return trial


def promotable(trials, *, is_closing=False, maximize=True, ladder=LADDER):
    return [trial.number for trial in ladder.list_promotable(trials, maximize=[maximize], is_closing=is_closing)]


def test_the_ladder_has_rungs_that_grow_by_eta():
    assert [LADDER.find_target(steps) for steps in (0, 1, 2, 3, 8, 9)] == [1, 3, 3, 9, 9, 27]
    assert [LADDER.find_rung(steps) for steps in (0, 1, 2, 3, 8, 9)] == [0, 1, 1, 3, 3, 9]
    assert [PromotionPruner(2, 4).find_rung(steps) for steps in (1, 2, 31, 32)] == [0, 2, 8, 32]


def test_a_third_of_a_rung_is_promoted_and_the_highest_rung_comes_first():
    bottom = [trial_at(number, [value]) for number, value in enumerate([0.5, 0.7, 0.6])]
    assert promotable(bottom[:2]) == [], "two are too few for a third"
    assert promotable(bottom) == [1]
    assert promotable(bottom, maximize=False) == [0]
    above = [trial_at(number, [0.8, value, value]) for number, value in ((3, 0.9), (4, 0.7), (5, 0.85))]
    assert promotable([*bottom, *above]) == [3], "of six at the first rung the best two have gone on already"
    assert promotable([*bottom, *above, trial_at(6, [0.75]), trial_at(7, [0.5]), trial_at(8, [0.4])]) == [3]


def test_trials_are_compared_at_equal_work():
    """What a trial reached later is no matter at the first rung, and what it had reached before is its value there."""
    late = trial_at(0, [0.5, 0.9, 0.9], state="complete")
    assert promotable([late, trial_at(1, [0.6]), trial_at(2, [0.55])]) == [1]
    fallen = trial_at(3, [0.8, 0.7, 0.1])
    assert promotable([fallen, trial_at(4, [0.1, 0.1, 0.75]), trial_at(5, [0.1, 0.1, 0.7])]) == [3]


def test_at_the_end_a_rung_that_nobody_can_reach_any_more_promotes_one_at_least():
    two = [trial_at(0, [0.5]), trial_at(1, [0.6])]
    assert promotable(two, is_closing=True)[0] == 1
    assert promotable([*two, trial_at(2, [], state="running", target=1)], is_closing=True) == []
    assert promotable([*two, trial_at(2, [0.9], state="running", target=3)], is_closing=True) == [], "it leads"


def test_a_failed_trial_takes_nobody_s_place():
    trials = [trial_at(0, [0.9], state="failed"), trial_at(1, [0.5]), trial_at(2, [0.6])]
    assert promotable(trials) == []


@pytest.mark.parametrize("kind", ["one objective", "two objectives"])
def test_who_is_known_to_break_a_limit_stands_behind_all_others(kind):
    trials = [trial_at(number, [value]) for number, value in enumerate([0.9, 0.8, 0.5, 0.6, 0.7])]
    trials[0].system_attrs[CONSTRAINT_KEY.format(name="size")] = 1.0
    trials[1].system_attrs[CONSTRAINT_KEY.format(name="size")] = 0.5
    maximize = [True]
    if kind == "two objectives":
        maximize = [True, False]
        for trial in trials:
            trial.system_attrs[VALUES_KEY.format(step=0)] = [trial.intermediate_values[0], math.nan]
    assert rank_rung(trials, 1, maximize) == [4, 3, 2, 1, 0]
    promoted = LADDER.list_promotable(trials, maximize=maximize, is_closing=False)
    assert [trial.number for trial in promoted] == [4]


def test_the_order_follows_a_limit_that_turns_out_to_be_broken():
    trials = [trial_at(number, [value]) for number, value in enumerate([0.9, 0.5, 0.6])]
    ladder = PromotionPruner()
    assert promotable(trials, ladder=ladder) == [0]
    assert promotable([trial_at(0, [0.9, 0.9], state="complete", above=1.0), *trials[1:]], ladder=ladder) == [2]


def test_a_promoted_trial_that_breaks_a_limit_is_not_the_one_that_comes_to_its_end():
    over = trial_at(0, [0.9] * 9, state="complete", above=1.0)
    waiting = [trial_at(1, [0.5]), trial_at(2, [0.6]), trial_at(3, [0.4]), trial_at(4, [0.8] * 3, above=2.0)]
    listed = promotable([over, *waiting], is_closing=True)
    assert list(dict.fromkeys(listed)) == [2, 1, 3], "one of the rung, then the others that may keep the limit"
    assert promotable([over, waiting[-1]], is_closing=True, ladder=PromotionPruner(reduction_factor=9)) == []
    assert 4 in promotable([waiting[-1]], is_closing=True), "it is all there is"


def test_beyond_the_bound_the_least_promising_are_given_up():
    trials = [trial_at(0, [0.5]), trial_at(1, [0.4]), trial_at(2, [0.6]), trial_at(3, [0.1, 0.1, 0.2])]
    excess = PromotionPruner(max_paused=2).list_excess(trials, maximize=[True])
    assert [trial.number for trial in excess] == [1, 0]


PASHA = PromotionPruner(min_resource=1, reduction_factor=3, growing=True)


def test_a_growing_ladder_has_a_next_rung_where_the_order_of_trials_still_changes():
    same = [trial_at(number, [value, value, value]) for number, value in enumerate([0.5, 0.6, 0.7])]
    assert PASHA.find_ceiling(same, [True]) == 3
    assert promotable(same, ladder=PASHA) == []
    assert promotable(same) == [2], "without it the best goes on"
    swapped = [*same[:2], trial_at(2, [0.4, 0.5, 0.7])]
    assert PASHA.find_ceiling(swapped, [True]) == 9
    assert promotable(swapped, ladder=PASHA) == [2]
    tolerant = PromotionPruner(min_resource=1, reduction_factor=3, growing=True, tolerance=0.2)
    assert tolerant.find_ceiling(swapped, [True]) == 3, "0.4 and 0.5 are the same"
    assert PASHA.find_ceiling(swapped, [False]) == 3, "where less is better, its best report stays the best"


def test_in_the_end_the_best_of_a_growing_ladder_comes_to_its_end_though_the_first_start_has():
    start = trial_at(3, [0.9] * 9, state="complete")
    del start.system_attrs[TARGET_KEY]
    paused = [trial_at(number, [value, value, value]) for number, value in enumerate([0.5, 0.6, 0.7])]
    assert promotable([start, *paused], ladder=PASHA, is_closing=True)[0] == 2


@pytest.mark.parametrize(
    "faulty",
    [
        {"min_resource": 0},
        {"min_resource": "x"},
        {"min_resource": 1.5},
        {"reduction_factor": 1},
        {"max_paused": 0},
        {"tolerance": -0.1},
    ],
)
def test_a_ladder_that_is_none_is_refused(sweep, faulty):
    with pytest.raises(ValueError, match="at least 1"):
        PromotionPruner(**faulty)


@pytest.mark.parametrize("is_known_ahead", [True, False])
def test_trials_that_break_a_limit_do_not_take_the_promotions(sweep, is_known_ahead):
    """y=2 is better, and over the limit."""

    class Sized(Climbing):
        def __call__(self, config):
            if is_known_ahead:
                current_trial().describe({"size": config.y})
            report = current_trial().report
            current_trial().report = lambda value, *, step: report(value - 10 * config.y, step=step)
            value = super().__call__(config)
            current_trial().describe({"size": config.y})
            return value - 10 * config.y

    study = sweep(
        "x=interval(-3,5)", "y=1,2", "hydra.sweeper.n_trials=12", "+hydra.sweeper.limits={size: 1}",
        "hydra/sweeper/pruner=promotion", "hydra.sweeper.sampler.seed=1", task=Sized(),
    )  # fmt: skip
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert {trial.params["y"] for trial in study.trials} == {1, 2}
    assert any(trial.params["y"] == 1 for trial in complete if TARGET_KEY in trial.system_attrs)
    if is_known_ahead:
        assert {trial.params["y"] for trial in complete} == {1}


class Climbing:
    """A task of some steps with a checkpoint after each; the objective is best where x is near 0."""

    def __init__(self, count=9, *, stop_after=None, tells=True):
        self.steps = []
        self.count = count
        self.tells = tells
        self.stop_after = stop_after

    def __call__(self, config):
        trial = current_trial()
        checkpoint = trial.folder / "checkpoint.json"
        done = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in range(done, self.count):
            if self.stop_after is not None and len(self.steps) == self.stop_after:
                self.stop_after = None
                raise KeyboardInterrupt
            self.steps.append((trial.number, step))
            if self.tells:
                trial.progress((step + 1) / self.count)
            trial.report(abs(config.x) + self.count - step, step=step)
            checkpoint.write_text(json.dumps(step + 1))
            if step < self.count - 1:
                trial.saved()
        return abs(config.x) + 1


def summarize(study):
    return [(trial.state, trial.params["x"], count_steps(trial)) for trial in study.trials]


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_nine_trials_cost_less_than_half_of_their_work_and_the_best_comes_to_its_end(sweep, tmp_path, study_dir, kind):
    storage_url = None if kind == "journal" else f"sqlite:///{tmp_path / 'study.db'}"
    task = Climbing()
    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=task, storage=storage_url)
    assert {count_steps(trial) for trial in study.trials} == {1, 3, 9}
    assert len(task.steps) == len(set(task.steps)) == sum(map(count_steps, study.trials)) < 81 / 2, "each step once"
    assert abs(study.best_trial.params["x"]) == min(abs(trial.params["x"]) for trial in study.trials)
    told = read_study(storage_url, study_dir).trials
    assert {trial.state for trial in told} == {"complete", "pruned"}
    assert all(trial.worked_until <= trial.started for trial in told if trial.state == "pruned"), "given up after it"


@pytest.mark.timeout(60)
def test_points_that_wait_at_a_rung_are_none_that_a_budget_ends_with(sweep, caplog):
    """The worse of two points has its complete trial when a third of those at the rung is more than the better one."""
    task = Climbing()
    with caplog.at_level("INFO"):
        study = sweep("x=choice(1,2)", *OPTIONS[1:], "hydra.sweeper.full_trials=12", task=task)
    complete = {trial.params["x"] for trial in study.trials if trial.state == TrialState.COMPLETE}
    assert complete == {1, 2}
    assert len(task.steps) == len(set(task.steps)) < 12 * 9
    assert any(line.startswith("All points of the space (2)") for line in caplog.messages)
    assert not any(map(is_paused, study.trials))


@pytest.mark.parametrize("rung", [1, 3])
def test_who_follows_the_documented_recipe_loses_no_training_that_has_come_to_its_end(sweep, rung):
    page = (PROJECT_DIR / "docs" / "search.md").read_text()
    [recipe] = [code for code in re.findall(r"```python\n(.*?)```", page, re.S) if "current_trial()" in code]

    def load_checkpoint(folder):
        file = folder / "checkpoint.json"
        return json.loads(file.read_text()) if file.exists() else 0

    def task(config):
        exec(recipe, {
            "epochs": 9, "load_checkpoint": load_checkpoint, "train_epoch": lambda epoch: abs(config.x) + 9 - epoch,
            "save_checkpoint": lambda folder, done: (folder / "checkpoint.json").write_text(json.dumps(done)),
        })  # fmt: skip
        return abs(config.x) + 1

    ladder = f"hydra.sweeper.pruner.min_resource={rung}"
    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=20", ladder, task=task)
    whole = [trial for trial in study.trials if count_steps(trial) == 9]
    assert len(whole) > 1, "more than the one that always comes to its end"
    assert {trial.state for trial in whole} == {TrialState.COMPLETE}


def test_a_job_that_says_that_its_work_is_done_does_not_wait(sweep):
    def task(config):
        trial, share = current_trial(), 0.0
        for step in range(10):
            share += 0.1  # to 0.9999999999999999
            trial.progress(share)
            trial.report(abs(config.x), step=step)
            trial.saved(step + 1)
        return abs(config.x)

    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=4", "hydra.sweeper.pruner.min_resource=10", task=task)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_what_is_tried_first_comes_to_its_end_in_a_piece(sweep):
    task = Climbing()
    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=6", "hydra.sweeper.start=[{x: 4}, {x: 5}]", task=task)
    assert task.steps[:9] == [(0, step) for step in range(9)]
    assert study.trials[0].state == TrialState.COMPLETE
    assert count_steps(study.trials[1]) == 1, "the others compete"
    assert any(trial.state == TrialState.COMPLETE for trial in study.trials[1:]), "and so does one that was drawn"


def test_what_is_tried_first_comes_to_its_end_in_a_piece_though_it_failed_before(sweep):
    """Twice: the last attempt stands for it, too."""
    command = (*OPTIONS, "hydra.sweeper.n_trials=6", "hydra.sweeper.start=[{x: 4}, {x: 5}]")

    class Failing(Climbing):
        def __call__(self, config):
            if config.x == 4:
                raise ValueError("not yet")
            return super().__call__(config)

    for _ in range(2):
        with pytest.raises(StudyEndedError, match="not yet"):
            sweep(*command, "hydra.sweeper.max_failure_rate=1", task=Failing())
    task = Climbing()
    study = sweep(*command, task=task)
    last = study.trials[-1]
    assert (last.number, last.params["x"], last.state) == (7, 4, TrialState.COMPLETE)
    assert last.user_attrs["start"] == study.trials[0].user_attrs["start"]
    assert task.steps == [(7, step) for step in range(9)]


def test_a_growing_ladder_costs_less_where_the_order_stays(sweep, tmp_path):
    costs = {}
    for growing in ("false", "true"):
        task = Climbing()
        command = (*OPTIONS, "hydra.sweeper.n_trials=9", f"hydra.sweeper.pruner.growing={growing}")
        study = sweep(*command, task=task, study_dir=tmp_path / growing)
        assert abs(study.best_trial.params["x"]) == min(abs(trial.params["x"]) for trial in study.trials)
        costs[growing] = len(task.steps)
    assert costs["true"] <= costs["false"]


@pytest.mark.parametrize("sampler", ["multivariate_tpe", "nsgaii", "random"])
def test_of_two_objectives_the_fronts_are_promoted(sweep, sampler):
    """Every point with y=0 is better in both than every one with y=5."""

    class Two(Climbing):
        def __call__(self, config):
            trial = current_trial()
            report = trial.report
            costs = [abs(config.x) + config.y, 5 - abs(config.x) + config.y]
            trial.report = lambda value, *, step: report([costs[0], costs[1] + 9 - step], step=step)
            super().__call__(config)
            return costs

    task = Two()
    study = sweep(
        "x=interval(-5,5)", "y=0,5", "hydra.sweeper.direction=[minimize,minimize]",
        "hydra.sweeper.sampler.seed=1", "hydra/sweeper/pruner=promotion", f"hydra/sweeper/sampler={sampler}",
        "hydra.sweeper.n_trials=12", task=task,
    )  # fmt: skip
    assert {count_steps(trial) for trial in study.trials} == {1, 3, 9}
    assert len(task.steps) == len(set(task.steps)) == sum(map(count_steps, study.trials)), "each step once"
    complete = {trial.number for trial in study.trials if trial.state == TrialState.COMPLETE}
    assert {trial.params["y"] for trial in study.trials} == {0, 5}
    assert {study.trials[number].params["y"] for number in complete} == {0}


def test_an_interrupted_study_ends_as_an_uninterrupted_one(sweep, tmp_path):
    whole = summarize(sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=Climbing(), study_dir=tmp_path / "whole"))
    for stop_after in (2, 5, 12, 20):
        task, study_dir = Climbing(stop_after=stop_after), tmp_path / str(stop_after)
        with pytest.raises(KeyboardInterrupt):
            sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=task, study_dir=study_dir)
        between = read_study(None, study_dir)
        assert sum(trial.state == "paused" for trial in between.trials) >= min(stop_after, 4) - 1
        again = sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=task, study_dir=study_dir)
        assert summarize(again) == whole, stop_after
        assert len(task.steps) == len(set(task.steps)) == sum(steps for *_, steps in whole)


@pytest.mark.parametrize("limit", ["hydra.sweeper.n_trials=9", "hydra.sweeper.full_trials=9"])
def test_what_was_paused_runs_to_its_end_under_a_pruner_that_pauses_nobody(sweep, limit):
    task = Climbing(stop_after=12)
    with pytest.raises(KeyboardInterrupt):
        sweep(*OPTIONS, limit, task=task)
    study = sweep(*OPTIONS, "hydra/sweeper/pruner=none", limit, task=task)
    assert {(trial.state, count_steps(trial)) for trial in study.trials} == {(TrialState.COMPLETE, 9)}
    assert len(study.trials) == 9
    assert len(task.steps) == len(set(task.steps)) == 81


def test_the_line_of_a_promoted_trial_says_that_it_starts_again(sweep, caplog):
    with caplog.at_level(logging.INFO, "sentiment.search.progress"):
        study = sweep(*OPTIONS, "hydra.sweeper.n_trials=9", "hydra.sweeper.progress=lines", task=Climbing())
    steps = [count_steps(trial) for trial in study.trials]
    found = [re.search(r" (started.*) \(here\)", record.message) for record in caplog.records]
    starts = Counter(match[1] for match in found if match)
    again = {
        f"started again after {rung} report{s}": sum(count > rung for count in steps) for rung, s in ((1, ""), (3, "s"))
    }
    assert starts == {"started": 9, **again}


def test_the_same_command_has_nothing_left_and_more_trials_join_the_ladder(sweep):
    task = Climbing()
    sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=task)
    first = len(task.steps)
    sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=task)
    assert len(task.steps) == first
    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=18", task=task)
    assert len(study.trials) == 18
    assert not any(is_paused(trial) for trial in study.trials)
    assert len(task.steps) == len(set(task.steps))


@pytest.mark.parametrize("later", [["x=interval(2,5)"], ["x=interval(-1,5)", "hydra.sweeper.constraints=['x >= 2']"]])
@pytest.mark.parametrize("ends", [("n_trials=9", "n_trials=18"), ("full_trials=3", "full_trials=4.3")])
def test_after_a_change_of_the_space_trials_are_ranked_among_those_of_the_new_one(sweep, later, ends):
    """The history is better than anything that the new space has."""
    before, now = (f"hydra.sweeper.{end}" for end in ends)
    count = len(sweep(*OPTIONS[1:], "x=interval(-1,1)", before, task=Climbing()).trials)
    study = sweep(*OPTIONS[1:], *later, now, task=Climbing())
    assert {count_steps(trial) for trial in study.trials[count:]} >= {1, 9}


def test_a_paused_trial_that_a_change_of_the_space_leaves_behind_ends_at_once(sweep):
    with pytest.raises(KeyboardInterrupt):
        sweep(*OPTIONS[1:], "x=interval(2,5)", "hydra.sweeper.n_trials=9", task=Climbing(stop_after=2))
    task = Climbing()
    study = sweep(*OPTIONS[1:], "x=interval(-1,1)", "hydra.sweeper.n_trials=9", task=task)
    reason = "the space has changed, and its point is none of it any more"
    left = [trial for trial in study.trials if find_pruned_reason(trial) == reason]
    assert [(trial.number, count_steps(trial)) for trial in left] == [(0, 1), (1, 1), (2, 0)]
    assert {number for number, _ in task.steps} == {3, 4, 5, 6, 7, 8}
    assert max(trial.datetime_complete for trial in left) <= study.trials[3].datetime_start


def test_what_stays_paused_for_another_command_is_said(sweep, caplog, monkeypatch):
    """Of a machine that has just died nobody knows yet that it has."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(TrialStore, "is_last", lambda self: False)
    for _ in range(2):
        study = sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=Climbing())
        paused = [trial for trial in study.trials if trial.state == TrialState.WAITING]
        assert any(line.startswith(f"Left paused: {len(paused)} trials, for another") for line in caplog.messages)
        assert len(paused) == 7
        caplog.clear()
    none = ("hydra/sweeper/pruner=none", *OPTIONS[:2])
    with monkeypatch.context() as patch:
        patch.setattr(Agenda, "leave_to_others", lambda self, trials: [])  # a wider space than this command's
        sweep(*none, "hydra.sweeper.n_trials=9", task=Climbing())
    assert "Left paused: 7 trials, for a later command that has changed the space." in caplog.messages
    monkeypatch.undo()
    sweep(*none, "hydra.sweeper.n_trials=9", "hydra.sweeper.full_trials=1", task=Climbing())
    assert any("budget has no room for them: trials that are paused (7)." in line for line in caplog.messages)
    caplog.clear()
    sweep(*OPTIONS, "hydra.sweeper.n_trials=9", task=Climbing())
    assert not any(line.startswith("Left paused") for line in caplog.messages)


@pytest.mark.parametrize("pruner", ["promotion", "none"])
def test_trials_of_a_later_command_with_a_wider_space_are_left_to_it(sweep, study_dir, caplog, pruner):
    """They pause, are interrupted or wait to be tried first, while a command goes on that knows nothing of the rest."""
    caplog.set_level(logging.INFO)

    def join(config):
        study = optuna.load_study(study_name=None, storage=open_storage(None, study_dir))
        if len(study.trials) == 1:
            attributes = study._storage.get_study_system_attrs(study._study_id)
            wider = {**attributes[DEFINITION_KEY], "space": {"x": "interval(-5,5)"}}
            study._storage.set_study_system_attr(study._study_id, DEFINITION_KEY, wider)
            paused, interrupted = trial_at(1, [0.0]), trial_at(2, [0.0], state="running")
            for trial in (paused, interrupted):
                trial.state, trial.params, trial.distributions = TrialState.WAITING, {"x": 4.0}, {"x": wide}
                trial.datetime_start = datetime.now()
                study.add_trial(trial)
            study.enqueue_trial({"x": 3.0})
        return task(config)

    task, wide = Climbing(), FloatDistribution(-5, 5)
    options = (OPTIONS[1], f"hydra/sweeper/pruner={pruner}", "x=interval(-1,1)", "hydra.sweeper.n_trials=7")
    study = sweep(*options, task=join)
    assert [trial.number for trial in study.trials if trial.state == TrialState.WAITING] == [1, 2, 3]
    assert {number for number, _ in task.steps} == {0, 4, 5, 6}
    assert "Left out" not in caplog.text
    study = sweep(*options, task=task)
    assert [study.trials[number].state for number in (1, 2)] == [TrialState.PRUNED] * 2, "its space is the present one"


def test_paused_trials_below_a_first_rung_that_was_raised_go_on_to_it():
    raised = PromotionPruner(min_resource=2, reduction_factor=3, max_paused=2)
    trials = [trial_at(0, [0.5]), trial_at(1, [0.9]), trial_at(2, [0.6, 0.7]), trial_at(3, [0.1], state="running")]
    assert promotable(trials, ladder=raised) == [0, 1], "without a comparison: they have come to no rung"
    assert [trial.number for trial in raised.list_excess(trials, maximize=[True])] == [1]


@pytest.mark.parametrize("steps", [6, 7, 9])
@pytest.mark.parametrize("work", [1, 2])
def test_what_takes_one_trial_to_its_end_is_not_lost_to_rounding(sweep, steps, work):
    study = sweep(*OPTIONS, f"hydra.sweeper.full_trials={work}", task=Climbing(steps))
    assert any(trial.state == TrialState.COMPLETE for trial in study.trials)


def test_work_is_counted_by_reports_where_a_job_tells_no_progress(sweep, study_dir):
    task = Climbing(tells=False)
    sweep(*OPTIONS, "hydra.sweeper.full_trials=4", task=task)
    whole = next(count for count in range(len(task.steps)) if task.steps[count][1] == 8)  # then its length is known
    assert len(task.steps) <= whole + 4 * 9
    budget = read_study(None, study_dir).budget
    assert budget == f"{round(len(task.steps) / 9, 1):g} of 4 full trials used"


def test_a_waiting_trial_without_room_keeps_nobody_from_his_promotion(sweep, caplog):
    caplog.set_level(logging.INFO)
    points = ", ".join(f"{{x: {number / 8}}}" for number in range(20))
    study = sweep(*OPTIONS, "hydra.sweeper.full_trials=3", f"hydra.sweeper.start=[{points}]", task=Climbing())
    states = Counter(trial.state for trial in study.trials)
    assert states[TrialState.COMPLETE] >= 2, "the first of all, and the best of those that paused"
    assert states[TrialState.WAITING] > 0
    assert f"were to be tried first ({states[TrialState.WAITING]})" in caplog.text


def test_a_budget_of_work_is_kept_and_spent_on_one_that_comes_to_its_end(sweep):
    task = Climbing()
    study = sweep(*OPTIONS, "hydra.sweeper.full_trials=4", task=task)
    used = sum(trial.system_attrs[PROGRESS_KEY][0] for trial in study.trials)
    assert 3 < used <= 4 + 1e-9
    assert len(task.steps) == round(9 * used)
    assert sum(trial.state == TrialState.COMPLETE for trial in study.trials) >= 1
    assert len(study.trials) > 9


def test_a_small_budget_keeps_back_what_takes_one_trial_to_its_end(sweep):
    study = sweep(*OPTIONS, "hydra.sweeper.epochs=10", "+trainer.max_epochs=9", task=Climbing())
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 1
    assert sum(count_steps(trial) for trial in study.trials) <= 10


def test_reserves_are_counted_in_whole_jobs():
    waiting = {"steps_per_job": 9, "first_jobs": 1 / 9, "furthest_jobs": 1 / 3, "is_any_promoted": False}
    spent = Spending(0, 2, 18, 2, 18, 0, 9, **waiting)
    assert Budget(full_trials=3).count_starts(spent, 1) == 3, "a third of a job is free beside the two thirds kept back"
    assert Budget(full_trials=2.5).count_starts(spent, 1) == 0


def test_checkpoints_on_the_disk_are_bounded(sweep):
    most = 0

    class Counting(Climbing):
        def __call__(self, config):
            nonlocal most
            most = max(most, len(list(current_trial().folder.parent.glob("*/checkpoint.json"))) - len(given_up))
            return super().__call__(config)

    given_up = []
    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=12", "hydra.sweeper.pruner.max_paused=3", task=Counting())
    waiting = [trial for trial in study.trials if trial.state == TrialState.PRUNED and count_steps(trial) == 1]
    assert len(waiting) >= 8
    assert max(trial.number for trial in waiting) == 11
    ended_before = [trial for trial in waiting if trial.datetime_complete < study.trials[-1].datetime_start]
    assert ended_before, "not at the end of the study only"


def test_a_task_without_checkpoints_runs_to_its_end(sweep):
    def evaluate(config):
        for step in range(4):
            current_trial().report(abs(config.x), step=step)
        return abs(config.x)

    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=3", task=evaluate)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_a_task_that_saves_and_never_reports_runs_to_its_end(sweep):
    """It would wait at no rung."""

    def task(config):
        current_trial().saved(5)
        return abs(config.x)

    study = sweep(*OPTIONS, "hydra.sweeper.n_trials=3", task=task)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_several_objectives_are_refused(sweep):
    with pytest.raises(StudyEndedError):
        sweep(*OPTIONS, "hydra.sweeper.direction=[minimize,minimize]", task=Climbing())


def test_a_result_that_was_taken_over_is_not_the_one_that_comes_to_its_end(sweep):
    """The first point does not report; later trials at it take its value over, and climb no ladder."""

    class Mixed(Climbing):
        def __call__(self, config):
            return 9.0 if config.x == 5 else super().__call__(config)

    study = sweep(
        "x=0,1,2,3,4,5", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=9",
        "hydra/sweeper/pruner=promotion", "hydra.sweeper.pruner.growing=true", "hydra.sweeper.start=[{x: 5}]",
        task=Mixed(),
    )  # fmt: skip
    assert any("reused_from" in trial.user_attrs for trial in study.trials)
    assert study.best_params == {"x": 0}


def test_what_is_tried_first_spends_nothing_of_what_is_kept_back(sweep):
    study = sweep(*OPTIONS, "hydra.sweeper.start=[{x: 4}]", "hydra.sweeper.full_trials=2.5", task=Climbing())
    assert [trial.state for trial in study.trials].count(TrialState.COMPLETE) == 2
    assert sum(count_steps(trial) for trial in study.trials) <= 2.5 * 9


def test_who_comes_to_the_end_is_repeated_within_the_budget():
    search = SimpleNamespace(
        options=SimpleNamespace(limit=Budget(full_trials=12), direction=["maximize"]), pruner=LADDER,
        repeats=RepeatPlan(3, maximize=(True,)), grid=None, total=UNLIMITED, reader=None,
    )  # fmt: skip
    trials = [trial_at(0, [0.5, 0.6, 0.7]), trial_at(1, [0.5, 0.5, 0.5]), trial_at(2, [0.4, 0.4, 0.4])]
    for committed, step in ((9.3, "promote"), (9.5, None)):
        spent = Spending(0, committed, 0, committed, 0, 0, 0, steps_per_job=9, first_jobs=12)  # no new trial fits
        chosen = Agenda(search, (), lambda trials, spent=spent: spent).choose(trials)
        assert (None if chosen is None else chosen.kind) == step
