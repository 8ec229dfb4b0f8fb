"""What a space, its constraints and its first points say is what jobs get."""

from __future__ import annotations

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from sentiment.errors import ConfigError
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space.distributions import build_distribution, parse_line
from sentiment.search.space.parameters import read_value, write_value
from sentiment.search.space.reading import read_space, write_param


class Noting:
    def __init__(self):
        self.runs = []

    def __call__(self, config):
        self.runs.append(config)
        return float(config.x)


def test_a_constraint_on_a_key_of_a_chosen_mapping_is_kept(sweep):
    task = Noting()
    space = ["+opts={a:1,b:2},{a:9,b:2}", "x=choice(1,2,3)", "hydra.sweeper.constraints=['opts.a < 6']"]
    sweep(*space, "hydra.sweeper.n_trials=6", "hydra.sweeper.reuse=none", task=task)
    assert {config.opts.a for config in task.runs} == {1}


def test_a_constraint_knows_what_is_fixed_within_a_chosen_mapping(sweep):
    task = Noting()
    space = ["+opts={a:1,b:2},{a:9,b:2}", "++opts.a=3", "x=choice(1,2,3)", "hydra.sweeper.constraints=['opts.a == 3']"]
    sweep(*space, "hydra.sweeper.n_trials=3", "hydra.sweeper.reuse=none", task=task)
    assert [config.opts.a for config in task.runs] == [3, 3, 3]


def test_a_constraint_that_no_corner_keeps_is_asked_all_the_same(sweep):
    task = Noting()
    sweep("x=interval(0,10)", "hydra.sweeper.constraints=['x > 2 and x < 8']", "hydra.sweeper.n_trials=5", task=task)
    assert len(task.runs) == 5
    assert all(2 < config.x < 8 for config in task.runs)
    with pytest.raises(StudyEndedError, match="there is no key z"):
        sweep("x=interval(0,10)", "hydra.sweeper.constraints=['z > 2 and x > 11']", "hydra.sweeper.n_trials=5")


def test_a_constraint_on_a_step_means_what_was_written(sweep):
    task = Noting()
    space = ["x=range(0,1,0.1)", "hydra.sweeper.constraints=['x == 0.3 or x == 0.7 or x == 0']"]
    sweep(*space, "hydra.sweeper.n_trials=12", "hydra.sweeper.reuse=none", "hydra/sweeper/sampler=random", task=task)
    assert {config.x for config in task.runs} == {0.0, 0.3, 0.7}


@pytest.mark.filterwarnings("ignore:extend_list")
@pytest.mark.parametrize(
    "lines",
    [
        ["d={p:9}", "d.p=choice(1,2)"],
        ["l=extend_list(3)", "l=[9]"],
        ["l=[9]", "l=extend_list(3)"],
        ["~d", "+d=choice(1,2)"],
    ],
)
def test_overrides_are_written_in_the_order_of_the_command_line(lines):
    space = read_space(lines, {}, {}, None)
    point = {item.name: 1 for item in space.parameters}
    assert space.to_overrides(point) == tuple(line.replace("choice(1,2)", "1") for line in lines)


def test_the_command_line_comes_after_params():
    space = read_space(["x={a:3}", "a=1"], {"b": "choice(1,2)", "x.a": 4}, {}, None)
    assert space.to_overrides({"b": 2}) == ("b=2", "x.a=4", "x={a:3}", "a=1")


@pytest.mark.parametrize("later", ["d={p:9}", "d=choice({p:9},{p:8})", "+d={p:9,q:1}"])
def test_what_a_later_mapping_sets_is_not_searched(later):
    with pytest.raises(ConfigError, match=r"is searched, and \+?d, which is written after it, sets it"):
        read_space(["d.p=choice(1,2)", later], {}, {}, None)
    read_space(["d.p=choice(1,2)", later.replace("p:", "r:")], {}, {}, None)


@pytest.mark.parametrize("later", ["d=5", "d=null,{q:1}", "d=[7]", "d[p]=5", "~d.p", "~d"])
def test_what_is_set_or_deleted_as_a_whole_later_is_not_searched(later):
    with pytest.raises(ConfigError, match=r"d\.p: is searched, and .*, which is written after it, (sets|deletes) it"):
        read_space([later], {"d.p": "choice(1,2)"}, {}, None)
    read_space([later], {"e.p": "choice(1,2)"}, {}, None)
    read_space([later, "+d.p=choice(1,2)"], {}, {}, None)


def test_a_key_is_searched_where_no_value_of_another_branch_stands_above_it():
    branches = {"x=1": {"d.p": "interval(0,1)"}, "x=2": {"d": None}}
    assert read_space(["x=1,2"], {}, branches, None).keys == ["x", "d.p", "d"]


def test_what_is_within_an_option_of_a_group_is_searched(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/other.yaml").write_text("p: 1\n", encoding="utf-8")
    with initialize_config_dir(str(tmp_path)):
        loader = GlobalHydra.instance().config_loader()
        for later in ("d=other", "+d=other", "d=other,null", "~d"):
            assert "d.p" in read_space(["+d.p=choice(1,2)", later], {}, {}, loader).keys


NESTED = {"d": {"p": "choice(1,2)", "q": "one text"}}


@pytest.mark.parametrize(
    ("params", "branches", "key"), [(NESTED, {}, "params.d"), ({"x": "1,2"}, {"x=1": NESTED}, "branches.x=1.d")]
)
def test_a_search_that_is_written_within_a_mapping_is_refused_as_it_would_be_a_text(params, branches, key):
    with pytest.raises(ConfigError) as caught:
        read_space([], params, branches, None)
    (fault,) = caught.value.faults
    assert fault.key == f"hydra.sweeper.{key}"
    assert fault.remedy == "write one key: d.p: choice(1,2); or, for the text, d.p: \"'choice(1,2)'\""


@pytest.mark.parametrize("text", ["it's", "#x", "~", 'a"b', "ü ñ", "a, b", "x=1", "1", "a:b", "\\", "a\\'b"])
def test_a_text_that_hydra_takes_in_quotes_alone_is_written_in_them(text):
    assert read_value(write_value(text)) == text


def test_a_setting_that_follows_from_the_number_of_the_job_makes_every_job_another(sweep):
    seeds = []

    def task(config):
        seeds.append(config.seed)
        return float(config.x)

    sweep("x=choice(1,2)", "seed=${hydra:job.num}", "hydra.sweeper.n_trials=5", task=task)
    assert seeds == [0, 1, 2, 3, 4]


def test_a_range_on_a_logarithmic_scale_is_refused():
    with pytest.raises(ConfigError, match=r"tag\(log,int\(interval\(LOW,HIGH\)\)\)"):
        build_distribution(parse_line("x=tag(log,range(1,1001))", None))


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 0.5, [None, 1], [True, None], [[1, None], "a, b"], {"a": 1, "b": [None, "true"]}, ["1", 1, "null"]],
)
def test_a_value_of_a_file_is_read_as_it_is(value):
    assert parse_line(f"key={write_param(value)}", None).value() == value


def test_a_text_of_a_file_is_an_override():
    assert write_param("interval(0,1)") == "interval(0,1)"


def make_source(sweep, study_dir, count, space):
    """Make a study, beside the one of the test, whose best points are its largest x."""
    options = [f"hydra.sweeper.n_trials={count}", "hydra.sweeper.direction=maximize", "hydra.sweeper.sampler.seed=1"]
    sweep(space, *options, study_dir=study_dir.with_name("source"))


def test_equal_points_are_one_of_the_best(sweep, study_dir):
    make_source(sweep, study_dir, 12, "x=choice(1,2,3,4)")
    task = Noting()
    sweep("x=choice(1,2,3,4)", "hydra.sweeper.extend=source:3", "hydra.sweeper.direction=maximize", task=task)
    assert sorted(config.x for config in task.runs) == [2, 3, 4]


def test_more_points_than_a_study_has_trials_by_default_are_extended(sweep, study_dir):
    space = ["x=range(1,25)", "hydra/sweeper/sampler=grid"]
    sweep(
        *space, "hydra.sweeper.n_trials=24", "hydra.sweeper.direction=maximize", study_dir=study_dir.with_name("source")
    )
    task = Noting()
    sweep("x=range(1,25)", "hydra.sweeper.extend=source:22", "hydra.sweeper.direction=maximize", task=task)
    assert sorted(config.x for config in task.runs) == list(range(3, 25))


def test_a_study_of_fewer_points_than_are_to_be_extended_says_so(sweep, study_dir, caplog):
    make_source(sweep, study_dir, 8, "x=choice(1,2)")
    sweep("x=choice(1,2)", "hydra.sweeper.extend=source:3", "hydra.sweeper.direction=maximize")
    assert "source has 2 different points with a result, fewer than 3." in caplog.text


def test_first_points_that_do_not_fit_are_named(sweep, caplog):
    task = Noting()
    sweep("x=choice(1,2,3)", "hydra.sweeper.start=[{x: 3},{x: 2}]", "hydra.sweeper.n_trials=1", task=task)
    assert [config.x for config in task.runs] == [3]
    assert "Not tried: a given point; hydra.sweeper.n_trials=1 is less" in caplog.text
