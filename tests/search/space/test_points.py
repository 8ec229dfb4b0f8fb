"""What makes two points one: the values that they give a configuration, types and all."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from sentiment.errors import ConfigError
from sentiment.search.space.points import PointReader, make_key
from sentiment.search.space.reading import read_space

plain = (
    st.integers(-3, 3).map(str) | st.integers(-3, 3).map("{}.0".format) | st.floats(-2, 2).map(repr)
    | st.sampled_from(["true", "false", "null", "True", "None", "a", "1e0", "0x1", "[1]", "{a: 1}", "nan", "inf"])
)  # fmt: skip
texts = plain | plain.map("'{}'".format) | plain.map('"{}"'.format)


def meaning(text):
    """What a value is in a configuration; numbers that agree in 15 digits, such as 0, 0.0 and -0.0, are one."""
    value = OverridesParser.create().parse_override(f"x={text}").value()
    if isinstance(value, QuotedString):
        value = value.text
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    written = repr(float(f"{value:.15g}") + 0.0) if is_number else repr(value)
    return "number" if is_number else type(value).__name__, written


@settings(max_examples=300)
@given(st.lists(texts, min_size=2, max_size=2, unique_by=meaning))
def test_values_of_two_meanings_are_two_points(written):
    space = read_space([f"x={','.join(written)},'a third'"], {}, {}, None)
    first, second, third = space.parameters[0].distribution.choices
    assert len({make_key({"x": value}) for value in (first, second, third)}) == 3


@pytest.mark.parametrize(
    "written", ["1,1.0", "0,-0.0", "a,'a'", "'a',\"a\"", "1e0,1", "0x1,'0x1'", "-2,-1.9999999999999998"]
)
def test_one_value_that_is_written_twice_is_refused(written):
    first, second = written.split(",")
    assert meaning(first) == meaning(second)
    with pytest.raises(ConfigError, match="would never be tried"):
        read_space([f"x={written}"], {}, {}, None)


@settings(max_examples=100)
@given(st.lists(texts, min_size=2, max_size=5, unique_by=meaning))
def test_a_stored_trial_is_the_point_that_it_was_drawn_as(written):
    space = read_space([f"x={','.join(written)}"], {}, {}, None)
    [parameter] = space.parameters
    trials = [
        create_trial(
            state=TrialState.COMPLETE, value=1.0, params={"x": choice}, distributions={"x": parameter.distribution}
        )
        for choice in parameter.distribution.choices
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    reader = PointReader(space)
    keys = [make_key(reader.read(trial)) for trial in trials]
    assert keys == [make_key({"x": choice}) for choice in parameter.distribution.choices]
    assert len(set(keys)) == len(written)
