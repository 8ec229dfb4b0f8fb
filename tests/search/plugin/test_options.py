"""The options of a study, and what is said about faulty ones."""

from __future__ import annotations

import math

import pytest

from sentiment.errors import ConfigError
from sentiment.process import count_cores
from sentiment.search.options import read_options
from sentiment.search.plugin.registration import read_sweeper_defaults

LEAST = {**read_sweeper_defaults(), "sampler": {"_target_": "optuna.samplers.RandomSampler"}, "pruner": None}
MEDIAN = {"_target_": "optuna.pruners.MedianPruner"}
WILCOXON = {"_target_": "optuna.pruners.WilcoxonPruner"}


def read_faults(**options):
    with pytest.raises(ConfigError) as caught:
        read_options({**LEAST, **options})
    return caught.value.faults


@pytest.mark.parametrize(
    ("written", "maximize"),
    [("minimize", (False,)), ("maximize", (True,)), (["maximize", "minimize"], (True, False))],
)
def test_a_direction_is_one_or_several(written, maximize):
    assert read_options({**LEAST, "direction": written}).maximize == maximize


@pytest.mark.parametrize(("given", "number"), [("4", 4), (20.0, 20), ("2.0", 2)])
@pytest.mark.parametrize("key", ["n_trials", "n_jobs", "repeats", "full_trials", "threads_per_job"])
def test_a_number_may_be_the_text_of_a_variable(key, given, number):
    assert getattr(read_options({**LEAST, key: given}), key) == number


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_jobs", True), ("n_trials", False), ("margin", True), ("limits", {"size": True}), ("devices", [True])],
)
def test_true_is_no_number(key, value):
    (fault,) = read_faults(**{key: value})
    assert (fault.key, "should be a valid number" in fault.problem) == (f"hydra.sweeper.{key}", True)


@pytest.mark.parametrize("number", [math.inf, math.nan, "inf"])
@pytest.mark.parametrize("key", ["full_trials", "epochs", "margin", "grace_seconds", "probe_seconds", "limits"])
def test_a_number_is_finite(key, number):
    (fault,) = read_faults(**{key: {"size": number} if key == "limits" else number})
    assert fault.key.startswith(f"hydra.sweeper.{key}")
    assert "finite number" in fault.problem


def test_minus_one_is_as_many_jobs_as_cores():
    assert read_options({**LEAST, "n_jobs": -1}).n_jobs == count_cores()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_trials", 0),
        ("n_jobs", 0),
        ("n_jobs", -2),
        ("max_failure_rate", 1.5),
        ("direction", "upwards"),
        ("direction", []),
        ("repeats", 0),
        ("repeat_value", "median"),
        ("study_name", ""),
        ("devices", "all"),
        ("trials_per_device", 0),
        ("devices_per_trial", 0),
        ("threads_per_job", 0),
        ("grace_seconds", 47),
        ("progress", "loud"),
        ("n_trails", 3),
    ],
)
def test_a_faulty_option_is_named_with_its_value(key, value):
    (fault,) = read_faults(**{key: value})
    assert fault.key.startswith(f"hydra.sweeper.{key}")
    assert repr(value) in fault.problem


@pytest.mark.parametrize("key", ["constraints", "devices", "ignore", "metric_names", "probe_overrides", "start"])
def test_a_list_is_shown_where_one_is_missing(key):
    (fault,) = read_faults(**{key: "one"})
    assert "write a list such as [a,b]" in fault.remedy


def test_our_own_sentence_stands_without_the_kind_of_error():
    (fault,) = read_faults(budget=7200)
    assert fault.problem.startswith("should be a time with its unit")


def test_all_faulty_options_are_listed_together():
    assert {fault.key for fault in read_faults(n_trials=0, repeats=0)} == {
        "hydra.sweeper.n_trials",
        "hydra.sweeper.repeats",
    }


def test_several_objectives_cannot_be_pruned():
    (fault,) = read_faults(direction=["minimize", "maximize"], pruner=MEDIAN)
    assert (fault.key, fault.remedy) == ("hydra.sweeper.pruner", "choose hydra/sweeper/pruner=promotion or none")


def test_several_objectives_go_without_a_pruner():
    nop = {"_target_": "optuna.pruners.NopPruner"}
    assert len(read_options({**LEAST, "direction": ["minimize", "maximize"], "pruner": nop}).direction) == 2


def test_wilcoxon_needs_repeats():
    (fault,) = read_faults(pruner=WILCOXON)
    assert "repeats=5" in fault.remedy
    assert read_options({**LEAST, "pruner": WILCOXON, "repeats": 5}).repeats == 5


def test_every_objective_has_a_name_or_none_has():
    (fault,) = read_faults(direction=["minimize", "maximize"], metric_names=["loss"])
    assert fault.problem == "['loss'] names 1 of 2 objectives"
    assert read_options({**LEAST, "metric_names": ["loss"]}).metric_names == ["loss"]
