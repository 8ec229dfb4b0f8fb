"""The whole search is composed and validated before its first trial."""

from __future__ import annotations

import json
import shutil

import hydra
import pytest

from sentiment.errors import ConfigError, Fault
from sentiment.search.application import Application, application_of, searchable
from sentiment.search.plugin.sweeper import StudyEndedError
from tests.search.conftest import TOY_DIR


def find_far(config):
    return [Fault("x", f"{config.x} is too far out", "stay within 3")] if abs(config.x) > 3 else []


@searchable(find_faults=find_far)
def task(config):
    return float(config.x)


def test_the_faults_of_all_corners_are_listed_each_once(sweep, study_dir):
    with pytest.raises(StudyEndedError) as caught:
        sweep("x=interval(-5,4)", "y=choice(1,2)", task=task)
    faults = caught.value.__cause__.faults
    assert [fault.problem for fault in faults] == ["-5.0 is too far out", "4.0 is too far out"]
    assert not study_dir.exists()


def test_points_that_an_application_has_checked_itself_are_not_checked_again(sweep):
    asked = []
    told = searchable(find_faults=lambda config: asked.append(config.x) or [])(lambda config: float(config.x))
    application_of(told).checked.update([("x=-5.0",), ("x=9.0",)])
    assert len(sweep("x=interval(-5,4)", "hydra.sweeper.n_trials=1", task=told).trials) == 1
    assert asked == [4.0]


def test_a_choice_that_does_not_compose_is_named(sweep, study_dir):
    with pytest.raises(StudyEndedError) as caught:
        sweep("x=interval(-5,5)", "+hydra.sweeper.params={no_such_key:1}")
    assert "no_such_key" in str(caught.value)
    with pytest.raises(StudyEndedError, match="shape: cannot be composed with shape=triangle"):
        sweep("shape=flat,triangle")
    assert not study_dir.exists()


def test_a_search_without_faults_is_checked_at_every_corner_and_runs(sweep):
    asked = []
    told = searchable(find_faults=lambda config: asked.append((config.x, config.y)) or [])(lambda config: 1.0)
    sweep("x=choice(1,2)", "y=interval(0,1)", "hydra.sweeper.n_trials=1", task=told)
    assert asked == [(1, 0.0), (1, 1.0), (2, 0.0), (2, 1.0)]


def test_faults_of_composing_and_of_validating_come_together(sweep):
    with pytest.raises(StudyEndedError) as caught:
        sweep("shape=flat,triangle", "x=4", task=task)
    cause = caught.value.__cause__
    assert isinstance(cause, ConfigError)
    assert {fault.key for fault in cause.faults} == {"shape", "x"}


def test_what_an_application_tells_is_found_under_hydras_own_decorator_too():
    assert application_of(hydra.main(config_path=None)(task)).find_faults is find_far
    assert application_of(lambda config: 1.0) == Application()


@pytest.fixture
def sweep_with(sweep, tmp_path):
    """Runs a sweep over shapes whose primary config sets options of the study."""

    def run(options, *overrides):
        config_dir = shutil.copytree(TOY_DIR / "conf", tmp_path / "conf")
        with (config_dir / "config.yaml").open("a") as config:
            config.write(json.dumps({"hydra": {"sweeper": options}})[1:-1] + "\n")
        return sweep("shape=flat,round", "hydra.sweeper.n_trials=1", *overrides, config_dir=config_dir)

    return run


@pytest.mark.parametrize("seed", ["null", "1.5", "many"])
def test_repeats_need_a_seed_to_count_up_from(sweep_with, study_dir, seed):
    with pytest.raises(StudyEndedError) as caught:
        sweep_with({}, "hydra.sweeper.repeats=3", f"seed={seed}")
    [fault] = caught.value.__cause__.faults
    assert (fault.key, fault.remedy) == ("seed", "set seed=0")
    assert "3 repeats count up from a whole number, and it is " in fault.problem
    assert not (study_dir / "journal.log").exists()


@pytest.mark.parametrize(
    ("options", "place", "problem", "remedy"),
    [
        ({"constraints": ["shape.radus > 1"]}, "shape.radus > 1", "no key shape.radus", "did you mean shape.radius?"),
        ({"constraints": ["x > 0 and z < 1"]}, "x > 0 and z < 1", "no key z", "name a key that some point"),
        ({"seed_key": "sed"}, "hydra.sweeper.seed_key", "no key sed", "did you mean seed?"),
        (
            {"branches": {"shape=rund": {"shape.sides": "range(3,5)"}}},
            "shape=rund",
            "shape has no option 'rund'",
            "did you mean shape=round? options: flat, round",
        ),
    ],
)
def test_a_name_that_no_configuration_has_is_a_fault(sweep_with, study_dir, options, place, problem, remedy):
    with pytest.raises(StudyEndedError) as caught:
        sweep_with(options)
    [fault] = caught.value.__cause__.faults
    assert fault.key == place
    assert problem in fault.problem
    assert remedy in fault.remedy
    assert not study_dir.exists()


@pytest.mark.parametrize("shape", ["flat", "round"])
def test_a_constraint_may_name_a_key_of_an_option_that_the_command_line_leaves_out(sweep_with, shape):
    options = {"params": {"shape": "flat,round"}, "constraints": ["shape.radius > 0", "shape != 'none'"]}
    assert len(sweep_with(options, f"shape={shape}").trials) == 1
