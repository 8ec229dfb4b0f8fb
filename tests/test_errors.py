"""What an exception is told as."""

from __future__ import annotations

import pytest

from sentiment.errors import DataError, first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("no reviews\n  -> name another file"), "no reviews"),
        (ValueError("\n  \nno number\n"), "no number"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_the_first_line_of_an_error_is_one_that_says_something(error, line):
    assert first_line(error) == line
