"""How a job ended: what counts as a value, what as a failure, and what several repeats make."""

from __future__ import annotations

import json
import math

import pytest
from optuna.trial import create_trial

from sentiment.errors import NonFiniteLossError, OutOfMemoryError
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, RepeatPlan, complete, failed, finish, list_jobs


@pytest.mark.parametrize(
    ("returned", "values"), [(1, (1.0,)), ("2.5", (2.5,)), (True, (1.0,)), (math.inf, (math.inf,))]
)
def test_what_is_castable_to_a_number_is_a_value(returned, values):
    assert complete(returned, 1) == Outcome("complete", values)


@pytest.mark.parametrize(("returned", "objectives"), [(None, 1), ("word", 1), ([1.0], 1), (1.0, 2), (["a", 1], 2)])
def test_what_is_not_castable_fails(returned, objectives):
    outcome = complete(returned, objectives)
    assert (outcome.state, outcome.kind) == ("failed", "exception")
    assert f"Got '{returned}'" in outcome.reason


@pytest.mark.parametrize("returned", [[1], [1, 2, 3]])
def test_the_number_of_values_has_to_fit(returned):
    assert complete(returned, 2).reason.endswith(f"Expect 2, but actually {len(returned)}.")


def test_several_values_may_be_a_tuple_or_a_list():
    assert complete((1, 2), 2) == complete([1.0, 2.0], 2) == Outcome("complete", (1.0, 2.0))


def test_a_value_that_is_no_number_is_a_failure_of_its_own_kind():
    assert complete(math.nan, 1).kind == complete([1, math.nan], 2).kind == "non_finite_loss"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no"), "exception"),
        (MemoryError("no"), "out_of_memory"),
        (OutOfMemoryError("no"), "out_of_memory"),
        (NonFiniteLossError("no"), "non_finite_loss"),
    ],
)
def test_an_exception_is_a_failure_with_kind_and_reason(error, kind):
    outcome = failed(error)
    assert (outcome.state, outcome.kind) == ("failed", kind)
    assert "no" in outcome.reason


def test_the_end_of_a_long_traceback_is_kept():
    try:
        raise ValueError("x" * 50_000 + "the end")
    except ValueError as error:
        outcome = failed(error)
    assert len(outcome.traceback) <= 20_000
    assert outcome.traceback.rstrip().endswith("the end")


@pytest.mark.parametrize("outcome", [Outcome("complete", (1.0, 2.0), reused_from=3), failed(ValueError("no"))])
def test_an_outcome_survives_its_storage(outcome):
    assert Outcome.from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


RUNS = [Outcome("complete", (value, -value)) for value in (1.0, 2.0, 6.0)]
ERROR = math.sqrt(7 / 3)
"""Standard error of 1, 2 and 6: their variance is 7."""


def test_repeats_are_averaged_objective_by_objective():
    assert RepeatPlan(3, maximize=(False, True)).combine(RUNS) == (3.0, -3.0)


def test_the_bound_is_the_worse_end_of_one_standard_error():
    combined = RepeatPlan(3, "bound", maximize=(False, True)).combine(RUNS)
    assert combined == pytest.approx((3 + ERROR, -3 - ERROR))


def test_one_repeat_has_no_error():
    assert RepeatPlan(1, "bound").combine([Outcome("complete", (4.0,))]) == (4.0,)
    diverged = [Outcome("complete", (4.0,)), Outcome("complete", (float("inf"),))]
    assert RepeatPlan(2, "bound").combine(diverged) == RepeatPlan(2).combine(diverged) == (float("inf"),)


def test_a_trial_ends_with_its_last_repeat_or_with_the_first_that_does_not_complete():
    plan = RepeatPlan(2)
    assert finish({0: Outcome("complete", (1.0,))}, plan) is None
    assert finish({1: Outcome("complete", (3.0,)), 0: Outcome("complete", (1.0,))}, plan).values == (2.0,)
    pruned = Outcome("pruned", reason="pruned")
    assert finish({0: pruned}, plan) == pruned


def test_a_trial_has_the_results_of_its_own_jobs_and_of_equal_ones():
    known, new = Outcome("complete", (1.0,), reused_from=4), Outcome("complete", (3.0,))
    kept = {OUTCOME_KEY.format(repeat=repeat): one.to_json() for repeat, one in {0: known, 1: new}.items()}
    trial = create_trial(value=2.0, system_attrs=kept)
    trial.number = 5
    assert list_jobs(trial, 3) == (4, 16, 17)
    trial = create_trial(value=2.0, user_attrs={"reused_from": 2})  # all that an earlier version noted
    assert list_jobs(trial, 3) == (6, 7, 8)
