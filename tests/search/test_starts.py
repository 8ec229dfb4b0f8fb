"""Points that a new study tries first, and entries that name none."""

from __future__ import annotations

import json

import pytest
from optuna.trial import TrialState

from sentiment.errors import ConfigError
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.constraints import any_point
from sentiment.search.space.reading import read_space
from sentiment.search.starts import StartFinder

SPACE = ("x=interval(-5,5)", "y=choice(1.0,2.0)", "hydra.sweeper.sampler.seed=1")


class Noting:
    def __init__(self):
        self.runs = []

    def __call__(self, config):
        self.runs.append((config.x, config.y))
        return abs(float(config.x))


def test_the_configurations_own_values_come_first(sweep):
    task = Noting()
    study = sweep(*SPACE, "hydra.sweeper.start=[defaults]", "hydra.sweeper.n_trials=3", task=task)
    assert task.runs[0] == (1.0, 1.0)
    assert len(study.trials) == 3
    assert study.trials[0].user_attrs["start"] == "the configuration's own values"
    assert "start" not in study.trials[1].user_attrs
    sweep(*SPACE, "hydra.sweeper.start=[defaults]", "hydra.sweeper.n_trials=4", task=task)
    assert len(task.runs) == 4, "a study that goes on has begun already"


def test_a_new_study_does_not_go_on(sweep, caplog):
    with caplog.at_level("INFO"):
        sweep(*SPACE, "hydra.sweeper.start=[defaults]", "hydra.sweeper.n_trials=2", "hydra.sweeper.progress=lines")
    assert "Study study, 2 trials" in caplog.text


def test_without_the_key_nothing_is_tried_first(sweep):
    task = Noting()
    sweep(*SPACE, "hydra.sweeper.n_trials=2", task=task)
    assert (1.0, 1.0) not in task.runs


def test_values_outside_the_space_are_left_out_and_said(sweep, caplog):
    task = Noting()
    with caplog.at_level("INFO"):
        study = sweep(
            "x=interval(2,5)", "y=choice(1.0,2.0)", "hydra.sweeper.start=[defaults]", "hydra.sweeper.n_trials=2",
            task=task,
        )  # fmt: skip
    assert len(study.trials) == 2
    assert caplog.text.count("Not tried first: the configuration's own values are no point of the space") == 1


def test_given_points_and_their_order(sweep):
    task = Noting()
    points = "[{x: 3, y: 2.0}, {x: -1.5}, defaults, {x: 3.0, y: 2.0}]"
    study = sweep(*SPACE, f"hydra.sweeper.start={points}", "hydra.sweeper.n_trials=4", task=task)
    assert task.runs[:3] == [(3.0, 2.0), (-1.5, 1.0), (1.0, 1.0)], "what is missing is the configuration's own"
    assert len(study.trials) == 4


def test_more_points_than_trials_are_cut(sweep):
    study = sweep(*SPACE, "hydra.sweeper.start=[{x: 1}, {x: 2}, {x: 3}]", "hydra.sweeper.n_trials=2")
    assert [trial.params["x"] for trial in study.trials] == [1.0, 2.0]
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


@pytest.mark.parametrize(
    ("suffix", "encoding"), [("csv", "utf-8"), ("csv", "utf-8-sig"), ("json", "utf-8"), ("yaml", "utf-8")]
)
def test_points_of_a_file(sweep, tmp_path, suffix, encoding):
    rows = [{"x": 0.5, "y": 2.0}, {"x": -0.5, "y": 1.0}]
    file = tmp_path / f"points.{suffix}"
    file.write_text("x,y\n0.5,2.0\n-0.5,1.0\n" if suffix == "csv" else json.dumps(rows), encoding=encoding)
    task = Noting()
    sweep(*SPACE, f"hydra.sweeper.start=[points.{suffix}]", "hydra.sweeper.n_trials=2", task=task)
    assert task.runs == [(0.5, 2.0), (-0.5, 1.0)]


def test_the_best_points_of_another_study(sweep, tmp_path):
    first = sweep(*SPACE, "hydra.sweeper.n_trials=6", task=Noting(), study_dir=tmp_path / "multirun/first")
    ranked = sorted(first.trials, key=lambda trial: trial.value)
    task = Noting()
    sweep(
        *SPACE, "hydra.sweeper.start=[first:2]", "hydra.sweeper.n_trials=3", task=task,
        study_dir=tmp_path / "multirun/second",
    )  # fmt: skip
    assert task.runs[:2] == [(trial.params["x"], trial.params["y"]) for trial in ranked[:2]]


def test_a_point_of_another_space_is_left_out(sweep, tmp_path, caplog):
    sweep("x=interval(-5,-4)", "hydra.sweeper.n_trials=1", study_dir=tmp_path / "multirun/first")
    with caplog.at_level("INFO"):
        study = sweep(
            "x=interval(0,5)", "hydra.sweeper.start=[first]", "hydra.sweeper.n_trials=2",
            study_dir=tmp_path / "multirun/second",
        )  # fmt: skip
    assert len(study.trials) == 2
    assert "Not tried first: trial 0 of first" in caplog.text


def test_constraints_hold_for_points_too(sweep):
    with pytest.raises(StudyEndedError, match="breaks a constraint"):
        sweep(*SPACE, "hydra.sweeper.start=[{x: 3, y: 1.0}]", 'hydra.sweeper.constraints=["x < y"]')


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{z: 1}", "z is not searched"),
        ("{x: 9}", "x has no value 9"),
        ("{y: 1.5}", "y has no value 1.5"),
        ("nowhere", "'nowhere' is no study"),
        ("firsd", "did you mean first"),
        ("first:0", "is no study"),
        ("points.csv", "cannot be read"),
        ("'~no-such-person/points.csv'", "~no-such-person/points.csv cannot be read"),
    ],
)
def test_an_entry_that_names_no_point_is_a_fault_before_anything_starts(sweep, tmp_path, entry, told):
    sweep(*SPACE, "hydra.sweeper.n_trials=1", study_dir=tmp_path / "multirun/first")
    new = tmp_path / "multirun/second"
    with pytest.raises(StudyEndedError) as caught:
        sweep(*SPACE, f"hydra.sweeper.start=[{entry}]", study_dir=new)
    assert isinstance(caught.value.__cause__, ConfigError)
    assert told in str(caught.value)
    assert not new.exists()


def test_a_row_with_more_fields_than_the_heading_is_a_fault(sweep, tmp_path):
    (tmp_path / "points.csv").write_text("x,y\n0.5,2.0\n0.5,2.0,9\n")
    with pytest.raises(StudyEndedError, match="line 3 has more fields than the heading"):
        sweep(*SPACE, f"hydra.sweeper.start=[{tmp_path / 'points.csv'}]")


def test_a_grid_keeps_its_order(sweep):
    study = sweep("x=1,2", "hydra/sweeper/sampler=grid", "hydra.sweeper.start=[defaults]", "hydra.sweeper.n_trials=9")
    assert len(study.trials) == 2


def test_a_grid_that_is_cut_says_so(sweep, caplog):
    with caplog.at_level("WARNING"):
        study = sweep("x=1,2,3", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=2")
    assert len(study.trials) == 2
    assert "The grid has 3 points, and hydra.sweeper.n_trials=2 lets no more of them be tried." in caplog.text


def test_a_grid_without_a_number_tries_every_point(sweep, caplog):
    grid = ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=null"]
    assert len(sweep("x=range(0,25)", *grid).trials) == 25
    assert len(sweep("x=range(0,27)", *grid).trials) == 27
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_only_a_grid_has_an_end_of_its_own(sweep):
    with pytest.raises(StudyEndedError, match=r"(?s)draws points without end.*hydra.sweeper.n_trials=20"):
        sweep(*SPACE, "hydra.sweeper.n_trials=null")


def test_a_budget_alone_ends_a_search_without_a_number(sweep):
    assert len(sweep(*SPACE, "hydra.sweeper.n_trials=null", "hydra.sweeper.full_trials=3").trials) == 3


def test_a_grid_that_would_not_try_a_point_first_is_refused(sweep):
    with pytest.raises(StudyEndedError, match="a grid has its own order"):
        sweep("x=1,2", "hydra/sweeper/sampler=grid", "hydra.sweeper.start=[{x: 2}]", "hydra.sweeper.n_trials=2")


def test_a_value_that_is_drawn_because_the_configuration_s_own_is_none_is_said(sweep, caplog):
    with caplog.at_level("INFO"):
        study = sweep(
            "x=interval(2,5)", "y=choice(1.0,2.0)", "hydra.sweeper.start=[{y: 2.0}]", "hydra.sweeper.n_trials=1"
        )
    assert study.trials[0].params["y"] == 2.0
    assert "{'y': 2.0}: x is drawn, as its own value 1.0 is none of" in caplog.text


def test_points_for_a_study_that_has_begun_are_not_tried_which_is_said(sweep, tmp_path, caplog):
    """What it began with may be gone by then."""
    sweep(*SPACE, "hydra.sweeper.n_trials=2", study_dir=tmp_path / "other")
    command = [*SPACE, "hydra.sweeper.start=[other]", "hydra.sweeper.n_trials=2"]
    sweep(*command, study_dir=tmp_path / "mine")
    with caplog.at_level("WARNING"):
        sweep(*command, study_dir=tmp_path / "mine")
    assert "not tried first" not in caplog.text, "the same command goes on without a word"
    (tmp_path / "other").rename(tmp_path / "gone")
    with caplog.at_level("WARNING"):
        study = sweep(*command, "hydra.sweeper.n_trials=3", study_dir=tmp_path / "mine")
        assert "not tried first: 'other' is no study" in caplog.text
        sweep(*command, "hydra.sweeper.start=[{x: 4.5, y: 1.0}]", study_dir=tmp_path / "mine")
    assert len(study.trials) == 3
    assert caplog.messages[-1].endswith("counts when a study begins; not tried first: a given point.")


def test_a_better_trial_of_the_extended_study_is_not_passed_over_in_silence(sweep, tmp_path, caplog):
    values = iter((3.0, 1.0, 9.0))
    for count in (1, 2):
        sweep(*SPACE, f"hydra.sweeper.n_trials={count}", task=lambda config: next(values), study_dir=tmp_path / "first")
        with caplog.at_level("WARNING"):
            sweep(*SPACE, "hydra.sweeper.extend=first", task=lambda config: 0.0, study_dir=tmp_path / "longer")
        assert ("Not extended: trial 1 of first." in caplog.text) == (count == 2)
    study = sweep(*SPACE, "hydra.sweeper.extend=first:2", task=lambda config: 0.0, study_dir=tmp_path / "longer")
    assert len(study.trials) == 2


def test_the_best_of_a_study_are_extended_under_other_settings_and_nothing_else_runs(sweep, tmp_path):
    first, task = Noting(), Noting()
    sweep(*SPACE, "hydra.sweeper.n_trials=6", task=first, study_dir=tmp_path / "first")
    study = sweep(
        *SPACE, "hydra.sweeper.extend=first:2", "hydra/sweeper/pruner=median", "+epochs=50", task=task,
        study_dir=tmp_path / "longer",
    )  # fmt: skip
    assert [abs(x) for x, _ in task.runs] == sorted(abs(x) for x, _ in first.runs)[:2]
    assert len(study.trials) == 2, "whatever n_trials says"
    sweep(*SPACE, "hydra.sweeper.extend=first:2", "+epochs=50", task=task, study_dir=tmp_path / "longer")
    assert len(task.runs) == 2


def test_a_study_that_cannot_be_extended_is_a_fault(sweep, tmp_path):
    sweep("x=interval(-5,-4)", "hydra.sweeper.n_trials=2", study_dir=tmp_path / "first")
    with pytest.raises(StudyEndedError) as caught:
        sweep("x=interval(4,5)", "hydra.sweeper.extend=first", study_dir=tmp_path / "longer")
    cause = caught.value.__cause__
    assert isinstance(cause, ConfigError)
    assert [fault.key for fault in cause.faults] == ["hydra.sweeper.extend"]


TYPED = (*SPACE, "mark=true,null", "end_mark='1','2'", "+pair=[1,1],[1,2]")


@pytest.mark.parametrize("key", ["start=[first]", "prior=first", "extend=first"])
def test_truths_lists_and_quoted_numbers_are_the_same_values_in_another_study(sweep, tmp_path, caplog, key):
    first = sweep(*TYPED, "hydra.sweeper.n_trials=3", study_dir=tmp_path / "first")
    with caplog.at_level("INFO"):
        study = sweep(*TYPED, f"hydra.sweeper.{key}", "hydra.sweeper.n_trials=1", study_dir=tmp_path / "second")
    assert ("learns from 3 trials" in caplog.text) == key.startswith("prior")
    assert key.startswith("prior") or study.trials[0].params == first.best_trial.params


@pytest.mark.parametrize(("y", "is_tried"), [(1.0, True), (2.0, False)])
def test_a_trial_with_another_value_of_what_is_fixed_now_is_left_out(sweep, tmp_path, caplog, y, is_tried):
    sweep(*SPACE, "y=choice(1.0)", "hydra.sweeper.n_trials=1", study_dir=tmp_path / "first")
    command = (SPACE[0], f"y={y}", "hydra.sweeper.n_trials=1")
    with caplog.at_level("INFO"):
        sweep(*command, "hydra.sweeper.start=[first]", study_dir=tmp_path / "second")
    assert ("Tried first: trial 0 of first." in caplog.text) == is_tried
    if not is_tried:
        with pytest.raises(StudyEndedError, match="none of the 1 complete trials"):
            sweep(*command, "hydra.sweeper.prior=first", study_dir=tmp_path / "third")


BRANCHES = {
    "shape=flat": {"y": "choice(1.0,2.0,3.0)"},
    "shape=round": {"y": "choice(1.0,2.0)", "shape.sides": "choice(3,4)"},
}


@pytest.fixture
def find(tmp_path):
    """Finds given points in a space with branches."""
    space = read_space(["shape=flat,round"], {}, BRANCHES, None)
    own = {"shape": "flat", "y": "1.0"}
    return lambda *points: StartFinder(space, any_point, lambda keys, chosen: own, tmp_path, tmp_path).find(points)


def test_given_points_are_read_in_their_own_branch(find):
    starts = find({"shape": "flat", "y": 3.0}, {"shape": "round", "y": 2.0}, {"shape": "round"}, {})
    assert [sorted(map(str, start.point.values())) for start in starts] == [
        ["3.0", "flat"], ["2.0", "round"], ["1.0", "round"], ["1.0", "flat"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("point", "told"),
    [({"shape.sides": 3}, r"no shape\.sides at this point"), ({"shape": "round", "y": 3.0}, r"y has no value 3\.0")],
)
def test_what_belongs_to_another_branch_is_a_fault(find, point, told):
    with pytest.raises(ConfigError, match=told):
        find(point)


def test_what_is_missing_is_as_the_given_option_has_it(sweep):
    study = sweep("shape=flat,round", "shape.name=flat,round", "hydra.sweeper.start=[{shape: round}]")
    assert study.trials[0].params == {"shape": "round", "shape.name": "round"}


def test_more_trials_are_extended_by_the_next_best_and_the_sampler_draws_none(sweep, tmp_path):
    first, task = Noting(), Noting()
    sweep(*SPACE, "hydra.sweeper.n_trials=6", task=first, study_dir=tmp_path / "first")
    for count in (1, 3, 3):
        study = sweep(*SPACE, f"hydra.sweeper.extend=first:{count}", task=task, study_dir=tmp_path / "longer")
        assert len(study.trials) == count
    assert task.runs == sorted(first.runs, key=lambda point: abs(point[0]))[:3]
