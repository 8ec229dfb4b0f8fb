"""The search space: what wins, what is conditional, what a point becomes."""

from __future__ import annotations

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, IntDistribution

from sentiment.errors import ConfigError
from sentiment.search.space.reading import read_space

BRANCHES = {
    "model=transformer": {"model.heads": "choice(1,2,4)", "model.depth": "range(1,5)"},
    "model=rnn": {"model.cell": "lstm,gru", "model.depth": "range(1,3)"},
}


def read_faults(lines=(), params=None, branches=None, **options):
    with pytest.raises(ConfigError) as caught:
        read_space(lines, params or {}, branches or {}, None, **options)
    return caught.value.faults


def draw_points(space, count=60):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(count)]


@pytest.fixture
def config_loader(tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("gru", "lstm", "transformer"):
        (tmp_path / "model" / f"{name}.yaml").write_text(f"name: {name}\n", encoding="utf-8")
    with initialize_config_dir(str(tmp_path)):
        yield GlobalHydra.instance().config_loader()


def test_the_command_line_wins_over_params():
    space = read_space(["a=choice(1,2)", "b=7"], {"a": "interval(0,1)", "b": "range(1,9)", "c": 3}, {}, None)
    assert [parameter.name for parameter in space.parameters] == ["a"]
    assert space.parameters[0].distribution == CategoricalDistribution([1, 2])
    assert space.fixed == {"b": "7", "c": "3"}


def test_a_sweep_on_the_command_line_replaces_a_fixed_param():
    space = read_space(["a=1,2"], {"a": 5}, {}, None)
    assert [parameter.name for parameter in space.parameters] == ["a"]
    assert space.fixed == {}


def test_an_added_key_is_the_same_key():
    space = read_space(["++a=3"], {"+a": "1,2"}, {}, None)
    assert space.parameters == ()
    assert space.to_overrides({}) == ("++a=3",)


@pytest.mark.parametrize(
    ("lines", "params"),
    [
        (["kind=two", "kind={t: 1}"], {}),
        (["kind={t: 1}", "kind=one,two"], {}),
        (["++d={p: 1}"], {"d": "{q: 1},{q: 2}"}),
        (["d={p: 1, q: 2},{p: 1}", "d={p: 3}"], {}),
    ],
)
def test_of_two_words_for_a_key_none_is_lost(lines, params):
    [fault] = read_faults(lines, params)
    assert fault.key == lines[0].lstrip("+").partition("=")[0]
    assert "keeps the later alone" in fault.problem


def test_a_mapping_takes_the_place_of_one_with_no_other_keys():
    space = read_space(["d={p: 1}", "~d", "d={p: 3, q: 4}", "hydra.job={}", "hydra.job={name: x}"], {}, {}, None)
    assert space.fixed["d"] == "{p:3,q:4}"


def test_a_point_is_written_in_the_order_of_the_stock_plugin():
    space = read_space(["~tracking", "b=x", "a=1,2", "c=interval(0,1)", "~d=1", "e=[1,2]"], {"f": None}, {}, None)
    assert space.to_overrides({"a": 2, "c": 0.5}) == ("a=2", "c=0.5", "f=null", "b=x", "e=[1,2]", "~tracking", "~d=1")


def test_list_extensions_are_passed_on():
    with pytest.warns(UserWarning, match="extend_list"):
        space = read_space(["tags=extend_list(a,b)"], {}, {}, None)
    assert space.to_overrides({}) == ("tags=extend_list(a,b)",)


def test_glob_lists_the_options_of_a_group(config_loader):
    space = read_space(["model=glob(*,exclude=tr*)"], {}, {}, config_loader)
    assert space.parameters[0].distribution == CategoricalDistribution(["gru", "lstm"])


def test_glob_without_a_match_is_a_fault(config_loader):
    with pytest.raises(ConfigError, match="no option of model matches"):
        read_space(["model=glob(x*)"], {}, {}, config_loader)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b.c", "+d", "group/sub", "g@pkg"]),
        st.sampled_from(["1", "x", "1,2", "choice(a,b)", "range(1,4)", "interval(0,1)", "tag(log,interval(1,9))"]),
    )
)
def test_a_space_without_branches_is_the_stock_space(written):
    lines = [f"{key}={text}" for key, text in written.items()]
    distributions, fixed, _ = create_params_from_overrides(lines)
    space = read_space(lines, {}, {}, None)
    assert {parameter.name: parameter.distribution for parameter in space.parameters} == distributions
    assert dict(space.fixed) == fixed


values = (
    st.integers(-9, 9).map(str)
    | st.floats(-9, 9).filter(lambda number: not number.is_integer()).map(str)
    | st.sampled_from(
        ["true", "null", "'a, b'", '"c=d"', r"e\,f", r"g\ h", "i j", "[1,2]", "{k:v}", "a/b", r"\(x\)", "''"]
    )
)


@settings(max_examples=50)
@given(st.lists(values, min_size=2, max_size=4, unique=True))
def test_every_choice_round_trips_to_the_value_that_was_written(texts):
    space = read_space([f"x={','.join(texts)}"], {}, {}, None)
    parser = OverridesParser.create()
    wanted = [parser.parse_override(f"x={text}").value() for text in texts]
    choices = space.parameters[0].distribution.choices
    got = [parser.parse_override(space.to_overrides({"x": choice})[0]).value() for choice in choices]
    assert got == wanted
    assert [space.settings({"x": choice})["x"] for choice in choices] == wanted


def test_drawn_points_compose(tmp_path):
    (tmp_path / "config.yaml").write_text("a: 1\nb: {c: 0.5, d: x, gone: 1}\n", encoding="utf-8")
    lines = ["a=range(1,5)", "b.c=tag(log,interval(1e-5,1e-1))", "b.d='q,r',s", "+e=[1,2],null", "~b.gone"]
    space = read_space(lines, {}, {}, None)
    with initialize_config_dir(str(tmp_path)):
        for point in draw_points(space, 10):
            config = OmegaConf.to_container(compose("config", overrides=list(space.to_overrides(point))))
            flat = space.settings(point)
            assert config == {
                "a": flat["a"],
                "b": {"c": flat["b.c"], "d": flat["b.d"]},
                "e": flat["e"],
            }


def test_only_the_active_branch_is_drawn():
    space = read_space([], {"model": "transformer,rnn", "lr": "interval(0.1,1)"}, BRANCHES, None)
    points = draw_points(space)
    keys = {frozenset(point) for point in points}
    assert keys == {
        frozenset({"model", "lr", "model.heads", "model.depth[model=transformer]"}),
        frozenset({"model", "lr", "model.cell", "model.depth[model=rnn]"}),
    }
    for point in points:
        assert [parameter.name for parameter in space.active(point)] == list(point)


def test_a_qualified_name_is_written_as_its_key():
    space = read_space([], {"model": "transformer,rnn"}, BRANCHES, None)
    point = {"model": "rnn", "model.cell": "gru", "model.depth[model=rnn]": 2}
    assert space.to_overrides(point) == ("model=rnn", "model.cell=gru", "model.depth=2")
    assert space.settings(point) == {"model": "rnn", "model.cell": "gru", "model.depth": 2}


def test_branches_with_one_distribution_share_the_name():
    branches = {"m=a": {"x": "1,2"}, "m=b": {"x": "1,2"}}
    space = read_space([], {"m": "a,b,c"}, branches, None)
    assert {parameter.name for parameter in space.parameters} == {"m", "x"}
    assert space.describe()["x"] == "choice(1, 2) if m=a or m=b"
    assert space.count_points() == 2 + 2 + 1


def test_points_are_counted_branch_by_branch():
    space = read_space([], {"model": "transformer,rnn", "seed": "range(0,3)"}, BRANCHES, None)
    assert space.count_points() == 3 * (3 * 4 + 2 * 2)
    assert read_space(["lr=interval(0.0,1.0)"], {}, {}, None).count_points() is None
    inner = read_space([], {"m": "a,b"}, {"m=a": {"x": "interval(0.0,1.0)"}}, None)
    assert inner.count_points() is None
    assert read_space([], {}, {}, None).count_points() == 1


@pytest.mark.parametrize("options", [{"lines": ["model=rnn"]}, {"lines": [], "chosen": {"model": "rnn"}}])
def test_a_fixed_condition_keeps_its_branch_and_drops_the_others(options):
    space = read_space(options["lines"], {}, BRANCHES, None, chosen=options.get("chosen"))
    assert [(parameter.name, parameter.condition) for parameter in space.parameters] == [
        ("model.cell", None),
        ("model.depth", None),
    ]


def test_the_command_line_may_narrow_the_condition():
    space = read_space(["model=choice(rnn)"], {"model": "transformer,rnn"}, BRANCHES, None)
    assert {parameter.condition for parameter in space.parameters} == {None, ("model", "rnn")}


def test_the_command_line_sets_a_conditional_parameter_inside_its_branch_alone():
    space = read_space(["model.heads=4"], {"model": "transformer,rnn"}, BRANCHES, None)
    overrides = {space.to_overrides(point) for point in draw_points(space)}
    assert all(("model.heads=4" in lines) == ("model=transformer" in lines) for lines in overrides)
    assert space.fixed == {}


@pytest.mark.parametrize(
    ("typed", "models"),
    [
        ("model.heads=4", {"transformer"}), ("model.size=128", {"transformer", "rnn"}),
        ("model.size=64,128", {"transformer", "rnn"}), ("++model.size=range(1,9)", {"transformer", "rnn"}),
        ("seed=7", {"transformer", "rnn", "bag"}),
    ],
)  # fmt: skip
def test_what_the_command_line_says_of_a_key_of_a_branch_counts_at_every_choice_that_has_it(tmp_path, typed, models):
    (tmp_path / "model").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: [{model: bag}]\nseed: 0\n", encoding="utf-8")
    for name, content in (("transformer", "{heads: 1, size: 32}"), ("rnn", "{size: 32}"), ("bag", "{}")):
        (tmp_path / "model" / f"{name}.yaml").write_text(content, encoding="utf-8")
    branches = {"model=transformer": {"model.heads": "1,2", "model.size": "24,64", "seed": "1,2"}}
    with initialize_config_dir(str(tmp_path)):
        lines = [typed, "model.heads=2"] if "heads" not in typed else [typed]
        params = {"model": "transformer,rnn,bag"}
        space = read_space(lines, params, branches, None, compose=lambda point: compose("config", list(point)))
        for point in draw_points(space, 20):
            overrides = space.to_overrides(point)
            key = typed.partition("=")[0]
            assert any(line.startswith(f"{key}=") for line in overrides) == (point["model"] in models)
            compose("config", list(overrides))


def test_the_command_line_sets_a_parameter_of_a_branch_that_is_always_there():
    space = read_space(["model=rnn", "model.cell=gru"], {}, BRANCHES, None)
    assert space.fixed == {"model": "rnn", "model.cell": "gru"}
    assert [parameter.name for parameter in space.parameters] == ["model.depth"]


def test_a_value_in_a_branch_is_set_where_the_branch_is_active():
    space = read_space([], {"m": "a,b"}, {"m=a": {"x": 5}}, None)
    assert {space.to_overrides(point) for point in draw_points(space)} == {("m=a", "x=5"), ("m=b",)}


def test_two_spaces_are_compared_by_their_description():
    space = read_space([], {"model": "transformer,rnn", "lr": "tag(log,interval(1e-4,1e-1))"}, BRANCHES, None)
    assert space.describe() == {
        "model": "choice('transformer', 'rnn')",
        "lr": "numbers from 0.0001 to 0.1, log scale",
        "model.heads": "choice(1, 2, 4) if model=transformer",
        "model.depth[model=transformer]": "whole numbers from 1 to 4 if model=transformer",
        "model.cell": "choice('lstm', 'gru') if model=rnn",
        "model.depth[model=rnn]": "whole numbers from 1 to 2 if model=rnn",
    }


def test_every_fault_is_told_at_once():
    faults = read_faults(
        ["a=range(1,5,0)", "b=choice("],
        {"c": "interval(2,1)", "d": "tag(log,interval(0,1))", "m": "x,y", "n": "interval(0,1)"},
        {"m=z": {"e": "1,2"}, "n=1": {"f": "1,2"}, "o=1": {"g": "range(3,1)"}, "m=x": {"h": "range(3,1)", "c": "1,2"}},
    )
    assert {fault.key for fault in faults} == {"a", "b", "c", "d", "m=z", "n=1", "o=1", "h"}


@pytest.mark.parametrize(
    ("params", "branches", "problem"),
    [
        ({"m": "a,b"}, {"m=c": {"x": "1,2"}}, "c is no choice of m"),
        ({"m": "interval(1,3)"}, {"m=1": {"x": "1,2"}}, "m is not a choice"),
        ({}, {"m=1": {"x": "1,2"}}, "m is neither swept nor set"),
        ({"m": "a,b"}, {"m=a": {"x": "1,2"}, "x=1": {"y": "1,2"}}, "x is itself a parameter of a branch"),
        ({"m": "a,b", "x": "3,4"}, {"m=a": {"x": "1,2"}}, "set more than once"),
        ({"m": "a,b", "n": "a,b"}, {"m=a": {"x": "1,2"}, "n=a": {"x": "1,2"}}, "set more than once"),
        ({"m": "a,b"}, {"m=a,b": {"x": "1,2"}}, "one KEY=VALUE"),
        ({"m": "a,b"}, {"m=a": {"~x": "1"}}, "cannot stand in a branch"),
        ({"m": "a,b"}, {"m": {"x": "1,2"}}, "cannot be read"),
    ],
)
def test_a_branch_that_makes_no_sense_is_a_fault(params, branches, problem):
    (fault,) = read_faults((), params, branches)
    assert problem in fault.problem
    assert fault.remedy


@pytest.mark.parametrize(
    ("lines", "params", "branches"),
    [
        (["sizes[0]=16,32", "sizes.1=16,32"], {}, {}),
        ([], {"+sizes[0]": "interval(0,1)"}, {}),
        ([], {"m": "a,b"}, {"m=a": {"sizes[0]": 5}}),
    ],
)
def test_a_searched_key_in_brackets_is_refused_as_names_of_parameters_end_in_them(lines, params, branches):
    (fault,) = read_faults(lines, params, branches)
    assert fault.problem == "is searched, and its name ends in a bracket"
    assert "sizes.0=..." in fault.remedy


def test_a_key_in_brackets_may_be_fixed_or_go_on():
    space = read_space(["sizes[0]=16", "layers[0].size=1,2"], {}, {}, None)
    assert (space.fixed, space.keys) == ({"sizes[0]": "16"}, ["layers[0].size"])


def test_what_is_set_in_brackets_and_with_dots_is_written_in_the_order_of_the_command_line():
    space = read_space(["sizes[0]=16", "sizes=choice([1,2],[3,4])"], {}, {}, None)
    assert space.to_overrides({"sizes": "[1,2]"}) == ("sizes[0]=16", "sizes=[1,2]")


def test_a_faulty_condition_is_told_once():
    (fault,) = read_faults((), {"m": "choice("}, {"m=a": {"x": "1,2"}, "m=b": {"y": "1,2"}})
    assert fault.key == "m"


def test_a_null_in_a_branch_is_set_where_the_branch_is_active():
    space = read_space([], {"m": "a,b"}, {"m=a": {"x": None}}, None)
    assert {space.to_overrides(point) for point in draw_points(space)} == {("m=a", "x=null"), ("m=b",)}


def test_branches_of_an_integer_choice():
    space = read_space([], {"n": "1,2"}, {"n=2": {"x": "range(1,3)"}}, None)
    assert space.parameters[1].distribution == IntDistribution(1, 2)
    assert len(space.active({"n": 2})) == 2
    assert len(space.active({"n": 1})) == 1


@pytest.mark.parametrize(
    ("written", "condition", "opens"),
    [
        ("'a','b'", "a", "'a'"), ("a,b", "'a'", "a"), ("1.0,2.0", "1", "1.0"), ("true,false", "true", "True"),
        ("1e-3,0.01", "0.001", "0.001"), ("null,5", "null", "null"), ("'1','2'", "'1'", "'1'"), ("1,2", "'1'", None),
    ],
)  # fmt: skip
def test_a_branch_opens_by_what_its_condition_means_however_that_is_written(written, condition, opens):
    branch = {f"flag={condition}": {"y": "choice(1,2)"}}
    [*_, last] = read_space([f"flag={written}"], {}, branch, None).parameters
    assert last.condition == (None if opens is None else ("flag", opens))
    first = written.split(",")[0]
    fixed = read_space([f"flag={first}"], {}, branch, None).parameters
    assert [parameter.name for parameter in fixed] == ([] if opens is None else ["y"])
