"""One override, one distribution: the one the stock Optuna sweeper builds."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution

from sentiment.errors import ConfigError
from sentiment.search.space.distributions import build_distribution, count_values, describe_distribution, parse_line

SWEEPS = [
    "choice(1,2,4)",
    "choice(true,false)",
    "choice(0.1,1e-3)",
    "null,a",
    "choice('a b',\"c,d\")",
    "choice([1,2],{a:1})",
    "1,2,3",
    "adam,sgd",
    "range(1,5)",
    "range(5)",
    "range(1,10,3)",
    "range(10,1,-2)",
    "range(0,1,0.1)",
    "range(1,0,-0.25)",
    "range(0.1,0.4,0.1)",
    "range(9007199254740992.0,9007199254740996.0,0.5)",
    "interval(1,10)",
    "interval(0,1)",
    "interval(0.1,0.5)",
    "interval(1,2.5)",
    "int(interval(1.2,9.9))",
    "float(interval(1,9))",
    "tag(log,interval(1e-5,1e-1))",
    "tag(log,interval(1,100))",
    "int(tag(log,interval(1,100)))",
    "tag(other,choice(1,2))",
    "int(choice(1.5,2.5))",
    "str(choice(1,2))",
    "float(range(1,4))",
    "sort(choice(3,1,2))",
    "sort(3,1,2,reverse=true)",
    "sort(range(5,1,-1))",
]

numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 4))


def read_stock(line: str):
    return create_optuna_distribution_from_override(OverridesParser.create().parse_override(line))


@pytest.mark.parametrize("text", SWEEPS)
def test_a_sweep_means_what_it_means_to_the_stock_plugin(text):
    ours = build_distribution(parse_line(f"x={text}", None))
    assert ours == read_stock(f"x={text}")


@given(
    text=st.one_of(
        st.lists(numbers | st.booleans() | st.sampled_from(["a", "'b c'"]), min_size=1, max_size=5).map(
            lambda items: f"choice({','.join(str(item) for item in items)})"
        ),
        st.tuples(numbers, numbers).map(lambda ends: f"interval({ends[0]},{ends[1]})"),
        st.tuples(numbers, numbers).map(lambda ends: f"tag(log,interval({ends[0]},{ends[1]}))"),
        st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(-3, 3)).map(lambda r: f"range{r}"),
        st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([0.25, 0.1, -0.3])).map(
            lambda r: f"range{r}"
        ),
    )
)
def test_any_sweep_is_the_stock_distribution_or_a_fault_where_the_stock_plugin_fails(text):
    try:
        stock = read_stock(f"x={text}")
    except (ValueError, ArithmeticError):
        with pytest.raises(ConfigError):
            build_distribution(parse_line(f"x={text}", None))
    else:
        ours = build_distribution(parse_line(f"x={text}", None))
        if isinstance(ours, CategoricalDistribution) and any("(" in str(choice) for choice in ours.choices):
            # Optuna takes 0 and false for one value: here the second is a cast, which means the same.
            assert [repr(eval(choice) if "(" in str(choice) else choice) for choice in ours.choices] == [
                repr(choice) for choice in stock.choices
            ]
            assert len({ours.to_internal_repr(choice) for choice in ours.choices}) == len(
                {repr(c if isinstance(c, bool | str) else float(c)) for c in stock.choices}
            )
        else:
            assert ours == stock


@pytest.mark.parametrize("text", ["shuffle(choice(1,2,3))", "shuffle(1,2,3)", "shuffle(range(1,4))"])
def test_shuffled_choices_keep_one_order_so_that_processes_agree(text):
    drawn = {build_distribution(parse_line(f"x={text}", None)) for _ in range(20)}
    assert drawn == {CategoricalDistribution([1, 2, 3])}


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("range(1,5,0)", "STEP is not 0"),
        ("shuffle(range(1,5,0))", "STEP is not 0"),
        ("range(5,1)", "at least one value"),
        ("interval(5,1)", "LOW <= HIGH"),
        ("tag(log,interval(0,1.0))", "LOW must be above 0"),
        ("tag(logs,interval(1e-5,1e-1))", "with tag(log,...) LOW"),
        ("interval(0,inf)", "finite"),
        ("interval(nan,1)", "finite"),
        ("glob(*)", "config group"),
    ],
)
def test_a_sweep_that_cannot_be_drawn_is_a_fault_with_a_remedy(text, remedy):
    with pytest.raises(ConfigError) as caught:
        build_distribution(parse_line(f"+x.y={text}", None))
    (fault,) = caught.value.faults
    assert fault.key == "x.y"
    assert text in fault.problem
    assert remedy in fault.remedy


@pytest.mark.parametrize("line", ["x=choice(", "x=choice()", "x"])
def test_a_line_that_breaks_the_grammar_is_a_fault(line):
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_line(line, None)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("choice(a,b,c)", 3),
        ("range(1,10,3)", 3),
        ("int(interval(1,10))", 10),
        ("range(0,1,0.1)", 10),
        ("interval(0.0,1.0)", None),
        ("interval(0.5,0.5)", 1),
    ],
)
def test_values_are_counted_unless_they_are_continuous(text, count):
    assert count_values(build_distribution(parse_line(f"x={text}", None))) == count


def test_descriptions_differ_where_distributions_do():
    distributions = [build_distribution(parse_line(f"x={text}", None)) for text in SWEEPS]
    for one in distributions:
        for other in distributions:
            assert one == other or describe_distribution(one) != describe_distribution(other)
    assert describe_distribution(IntDistribution(1, 64, log=True)) == "whole numbers from 1 to 64, log scale"


@pytest.mark.parametrize(
    "text", ["range(0,1e308)", "shuffle(range(0,{}))", "float(range(0,{}))", "range(-1,1e308,0.1)"]
)
def test_a_range_that_fills_the_memory_is_refused(text):
    with pytest.raises(ConfigError, match="more than 1,000,000 values"):
        build_distribution(parse_line("x=" + text.format("9" * 30), None))


def test_whole_numbers_are_counted_and_not_written_down():
    assert count_values(build_distribution(parse_line(f"x=range(0,{10**12})", None))) == 10**12
