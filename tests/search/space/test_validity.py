"""Which points of a search satisfy its constraints, whatever the named keys are: searched, fixed, chosen, derived."""

from __future__ import annotations

from enum import Enum, IntEnum

import pytest
from omegaconf import OmegaConf
from optuna.distributions import IntDistribution

from sentiment.config.command_line import check_command_line
from sentiment.config.home import PROJECT_DIR
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, StudyEndedError, list_search_points
from sentiment.search.space.constraints import make_validity
from sentiment.search.space.parameters import Parameter, Space

GRID = "hydra/sweeper/sampler=grid"

CONF = """
defaults:
  - _self_
  - shape: flat
x: 1
y: ${x}
z: ${shape.size}
w: null
seed: 0
"""


@pytest.fixture
def list_tried(sweep, tmp_path):
    """Lists the values of x that a grid over a small configuration tries."""
    (tmp_path / "conf" / "shape").mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text(CONF)
    for name, size in (("flat", 2), ("round", 5)):
        (tmp_path / "conf" / "shape" / f"{name}.yaml").write_text(f"size: {size}\nhalf: ${{.size}}\nof_x: ${{x}}")

    def run(constraint, *overrides):
        study = sweep(
            "x=1,2,3", GRID, f'hydra.sweeper.constraints=["{constraint}"]', *overrides, config_dir=tmp_path / "conf",
            task=lambda config: float(config.x),
        )  # fmt: skip
        return sorted({trial.params["x"] for trial in study.trials})

    return run


@pytest.mark.parametrize(
    ("constraint", "overrides", "tried"),
    [
        ("x != 2", [], [1, 3]),
        ("y < 3", [], [1, 2]),  # what is made of what is searched
        ("shape.of_x > 1", [], [2, 3]),
        ("w == 1 or x == 1", [], [1]),  # null is a value
        ("w is None and x > 1", [], [2, 3]),
        ("w != 2", ["w=${x}"], [1, 3]),  # what the command makes of others
        ("w == 2 or w == 5", ["w=${x},7"], [2]),
        ("shape == 'round' or x == 3", [], [3]),  # a group has its option
        ("shape == 'round' or x == 3", ["shape=round"], [1, 2, 3]),
        ("x < shape.size", ["shape=flat"], [1]),
        ("z == 5 and x == 1", ["shape=round"], [1]),
        ("x < shape.size", ["shape=flat,round"], [1, 2, 3]),  # flat goes with 1 alone, round with all
        ("shape.half == 2 and x == 2", ["shape=flat,round"], [2]),
        ("x < z", ["+hydra.sweeper.params={shape: round}"], [1, 2, 3]),
        ("x < 3 and shape.heads == 2", [], [1, 2, 3]),  # what is not there excludes nothing
    ],
)
def test_a_constraint_holds_of_the_configuration_that_the_point_composes(list_tried, constraint, overrides, tried):
    if "heads" in constraint:
        with pytest.raises(StudyEndedError, match=r"there is no key shape\.heads"):
            list_tried(constraint, *overrides)
    else:
        assert list_tried(constraint, *overrides) == tried


def test_a_member_of_an_enum_that_is_not_searched_is_its_name():
    class Kind(Enum):
        cnn = 1
        rnn = 2

    space = Space((Parameter("depth", "depth", IntDistribution(1, 5)),))
    for kind, valid in ((Kind.cnn, [1, 2, 3]), (Kind.rnn, [1, 2])):
        config = OmegaConf.create({"kind": kind, "depth": 1})
        is_valid = make_validity(["kind != 'rnn' or depth < 3"], space, config, lambda _, config=config: config)
        assert [depth for depth in (1, 2, 3) if is_valid({"depth": depth})] == valid


def test_a_member_of_an_enum_of_numbers_or_texts_is_its_value_too():
    class Level(IntEnum):
        low = 1

    class Kind(str, Enum):
        rnn = "recurrent"

    space = Space((Parameter("depth", "depth", IntDistribution(1, 5)),))
    for constraint, member in (("x < 3 or depth < 3", Level.low), ("x == 'recurrent' or depth < 3", Kind.rnn)):
        config = OmegaConf.create({"x": member, "depth": 1})
        is_valid = make_validity([constraint], space, config, lambda _, config=config: config)
        assert is_valid({"depth": 5})


@pytest.mark.parametrize(
    ("constraint", "remedy"), [("x != true", "write True"), ("shape == round", "a text stands in quotes: 'round'")]
)
def test_a_word_without_quotes_is_no_key(list_tried, constraint, remedy):
    with pytest.raises(StudyEndedError, match=remedy):
        list_tried(constraint)


def test_a_searched_option_goes_with_what_it_says(list_tried, sweep, tmp_path):
    study = sweep(
        "x=1,2,3", "shape=flat,round", GRID, "hydra.sweeper.constraints=['x < shape.size']",
        config_dir=tmp_path / "conf", task=lambda config: float(config.x),
    )  # fmt: skip
    points = {(trial.params["shape"], trial.params["x"]) for trial in study.trials}
    assert points == {("flat", 1), ("round", 1), ("round", 2), ("round", 3)}


def test_the_check_of_a_command_line_leaves_out_the_same_points():
    lines = ["-m", "search=rnn", "model.embedding_size=32,64", 'hydra.sweeper.constraints=["model.hidden_size > 32"]']
    points = []

    def list_points(*arguments):
        points.extend(list_search_points(*arguments))
        return points

    check_command_line(lines, PROJECT_DIR / "conf", "config", searches={STUDY_SWEEPER: list_points})
    assert points
    assert all("model.embedding_size=64" in point for point in points)
