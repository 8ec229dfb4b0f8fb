"""What makes two points one: the values that they give a configuration, types and all."""

from __future__ import annotations

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from sentiment.search.space.points import PointReader, make_key
from sentiment.search.space.reading import read_space

plain = (
    st.integers(-3, 3).map(str) | st.integers(-3, 3).map("{}.0".format) | st.floats(-2, 2).map(repr)
    | st.sampled_from(["true", "false", "null", "True", "None", "a", "1e0", "0x1", "[1]", "{a: 1}", "nan", "inf"])
)  # fmt: skip
texts = plain | plain.map("'{}'".format) | plain.map('"{}"'.format)


def meaning(text):
    """What a value is in a configuration; a whole number and its float are one, as Optuna holds them too."""
    value = OverridesParser.create().parse_override(f"x={text}").value()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return ("number", repr(float(value))) if is_number else (type(value).__name__, repr(value))


def equality(text):
    """What equal values have in common: 0 and -0.0 are two meanings, and as equal as 1 and 1.0."""
    kind, written = meaning(text)
    return kind, repr(float(written) + 0.0) if kind == "number" else written


@settings(max_examples=300, deadline=None)
@given(texts, texts)
def test_two_points_are_one_exactly_if_their_values_mean_the_same(one, other):
    first, second = (OverridesParser.create().parse_override(f"x={text}").value() for text in (one, other))
    assume(first != second or isinstance(first, bool) or type(first) is type(second))  # 1 and 1.0: refused
    space = read_space([f"x={one},{other},'a third'"], {}, {}, None)
    [parameter] = space.parameters
    first, second = parameter.distribution.choices[:2]
    are_one = make_key({"x": first}) == make_key({"x": second})
    assert are_one == (meaning(one) == meaning(other))


@settings(max_examples=100, deadline=None)
@given(st.lists(texts, min_size=2, max_size=5, unique_by=equality))
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
    assert reader.read_keys(trials) == {
        make_key({"x": choice}): number for number, choice in enumerate(parameter.distribution.choices)
    }
    assert len(reader.read_keys(trials)) == len(written)
