"""What the tables say of a key is what the schema enforces."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, ValidationInfo, create_model, field_validator

from sentiment.config.key_table import KeyRow, describe_values, list_keys_of, list_rules
from sentiment.config.schema import Group
from sentiment.search.options import StudyOptions


class Inner(Group):
    size: int = Field(ge=1, description="How much.")

    @field_validator("size")
    @classmethod
    def is_even(cls, size: int) -> int:
        """Sizes are even."""
        return size


class Outer(Group):
    name: Literal["outer"]
    share: float = Field(ge=0, lt=1, description="Share of a|b.")
    inner: Inner = Field(description="What is inside.")

    @field_validator("share")
    @classmethod
    def fits(cls, share: float, info: ValidationInfo) -> float:
        """Share and ``size`` fit."""
        return share

    @field_validator("share", mode="before")
    @classmethod
    def is_read(cls, share: object) -> object:
        """Reading is no rule."""
        return share


DEFAULTS = {"name": "outer", "share": 0.5, "inner": {"size": "${..share}"}}


def describe(annotation: object, **constraints: object) -> str:
    model = create_model("Model", key=(annotation, Field(**constraints)))
    return describe_values(model.model_json_schema()["properties"]["key"])


@pytest.mark.parametrize(
    ("annotation", "constraints", "words"),
    [
        (int, {"ge": 1, "le": 1024}, "whole number, 1 to 1024"),
        (float, {"gt": 0, "le": 0.5}, "number, more than 0, at most 0.5"),
        (float, {"ge": 0, "lt": 1}, "number, at least 0, less than 1"),
        (int | None, {"ge": 2}, "whole number, at least 2; or `null`"),
        (bool, {}, "`true`, `false`"),
        (str, {"min_length": 1}, "text, not empty"),
        (str, {"pattern": "^[0-9]$"}, "text that matches `^[0-9]$`"),
        (Literal["a", "b"], {}, "`a`, `b`"),
        (list[str], {"min_length": 2}, "list of text, at least 2"),
        (list[Literal["a", "b"]], {"min_length": 1}, "list of `a`, `b`, not empty"),
        (list[int | str], {}, "list of (whole number or text)"),
        (Literal["a"] | list[str | dict[str, int]], {}, "`a`; or list of (text or mapping)"),
        (dict[str, int], {}, "mapping"),
        (type(None), {}, "`null`"),
    ],
)
def test_values_in_words(annotation, constraints, words):
    assert describe(annotation, **constraints) == words


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("budget", "time with its unit; or `null`"),
        ("progress_timeout", "time with its unit; or `null`"),
        ("trial_timeout", "time with its unit; or `null`"),
        ("direction", "`minimize`, `maximize`; or list of `minimize`, `maximize`, not empty"),
        ("limits", "mapping; or `null`"),
        ("n_jobs", "whole number, 1 to 10000; or `-1`"),
    ],
)
def test_of_a_value_that_is_read_first_it_is_told_what_is_taken(key, words):
    assert describe_values(StudyOptions.model_json_schema()["properties"][key]) == words


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_the_ends_that_are_told_are_the_ends_that_hold(one: int, other: int):
    low, high = sorted((one, other))
    model = create_model("Model", key=(int, Field(ge=low, le=high)))
    told = describe_values(model.model_json_schema()["properties"]["key"]).removeprefix("whole number, ")
    ends = [int(end) for end in told.split(" to ")]
    assert [model(key=end).key for end in ends] == ends
    for outside in (ends[0] - 1, ends[1] + 1):
        with pytest.raises(ValidationError):
            model(key=outside)


def test_keys_within_keys_are_listed_with_their_defaults():
    assert list(list_keys_of(Outer, DEFAULTS)) == [
        KeyRow("name", "outer", "`outer`", "The option; chosen, never set."),
        KeyRow("share", 0.5, "number, at least 0, less than 1", "Share of a|b."),
        KeyRow("inner.size", "${..share}", "whole number, at least 1", "How much."),
    ]


def test_rules_are_those_that_bind_a_person():
    assert list(list_rules(Outer)) == [("share", "Share and `size` fit."), ("inner.size", "Sizes are even.")]
