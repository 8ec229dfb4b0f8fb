"""How the trials of a study stand, counted on from what changed."""

from __future__ import annotations

from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from sentiment.search.space.points import REPLACES_KEY, Changes
from sentiment.search.storage.opening import open_storage
from sentiment.search.study import agenda
from sentiment.search.study.agenda import Ledger
from sentiment.search.study.limits import choose_best
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, count_states
from sentiment.search.study.population import CONTINUES_KEY

STATES = [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED, None, TrialState.COMPLETE]
"""How trials end, in turn; None: they do not."""


@pytest.fixture(params=[None, "sqlite:///{folder}/study.db"])
def study(request, tmp_path):
    url = None if request.param is None else request.param.format(folder=tmp_path)
    return optuna.create_study(storage=open_storage(url, tmp_path), directions=["minimize", "maximize"])


def list_standing(trials):
    """List the trials whose point no later trial has tried again: one for every point, its latest attempt."""
    replaced = {trial.user_attrs.get(REPLACES_KEY) for trial in trials}
    return [trial for trial in trials if trial.number not in replaced]


def grow(study, number):
    """Begin a trial and end it; every failed one is tried again."""
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    state = STATES[number % len(STATES)]
    if state is not None:
        study.tell(trial, [number % 7, number % 5] if state == TrialState.COMPLETE else None, state=state)
    if state == TrialState.FAIL:
        study.enqueue_trial({"x": 0.5}, user_attrs={REPLACES_KEY: trial.number})


def test_it_says_what_counting_anew_says(study):
    directions = ["minimize", "maximize"]
    ledger = Ledger(directions)
    for number in range(25):
        grow(study, number)
        trials = study.get_trials(deepcopy=False)
        ledger.follow(trials)
        standing = list_standing(trials)
        assert list(ledger.standing) == standing
        assert (ledger.counts, len(ledger)) == (count_states(standing), len(standing))
        assert ledger.best == choose_best(trials, directions)
        for state, kind in (
            ("running", TrialState.RUNNING),
            ("failed", TrialState.FAIL),
            ("waiting", TrialState.WAITING),
        ):
            assert ledger.list_open(state) == [trial for trial in standing if trial.state == kind]


def test_a_look_at_a_large_study_is_at_what_changed(study, monkeypatch):
    looked_at = []
    name_state = agenda.name_state
    monkeypatch.setattr(agenda, "name_state", lambda trial: looked_at.append(trial.number) or name_state(trial))
    ledger = Ledger(["minimize", "maximize"])
    for number in range(20):
        trial = study.ask()
        ledger.follow(study.get_trials(deepcopy=False))
        study.tell(trial, [number, 0])
        looked_at.clear()
        for _ in range(3):
            ledger.follow(study.get_trials(deepcopy=False))
        assert looked_at == [number]


def test_changes_are_new_trials_and_other_objects():
    one, two, three = (optuna.trial.create_trial(state=TrialState.FAIL) for _ in range(3))
    changes = Changes()
    assert changes.take([one, two]) == [one, two]
    assert changes.take([one, two]) == []
    assert [id(trial) for trial in changes.take([one, three, two])] == [id(three), id(two)]


@pytest.mark.parametrize(("reports", "left"), [(1, []), (2, [0])], ids=["before", "after"])
def test_a_trial_of_another_space_waits_until_its_copy_has_taken_its_checkpoint(reports, left):
    """The space was changed between the swap and the first report of the copy."""
    kept = {OUTCOME_KEY.format(repeat=0): Outcome("paused", steps=1).to_json()}
    origin = create_trial(state=TrialState.WAITING, system_attrs=kept)
    copy = create_trial(state=TrialState.RUNNING, system_attrs={CONTINUES_KEY: {"trial": 0, "steps": 1, "place_of": 2}})
    origin.number, copy.number = 0, 1
    origin.intermediate_values, copy.intermediate_values = {0: 0.5}, dict.fromkeys(range(reports), 0.5)
    ledger = Ledger(["maximize"], SimpleNamespace(is_left_behind=lambda trial: True))
    assert [trial.number for trial in ledger.follow([origin, copy]).list_left_behind()] == left
