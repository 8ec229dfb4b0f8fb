"""Overrides that commands print for people to type, and give to other commands."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from sentiment.composing import write_override


@pytest.mark.parametrize(
    "text",
    ["reviews.csv", "/data/my (1).csv", "a,b.csv", "a=b.csv", "it's.csv", "Ä.csv", "x[0].csv", "12", "null", "1e5",
     "~/x", "/data/imdb", "C:/data", "a b", "", "true", "/home/jürg/x", "s3://bucket/x", "\\a\\", "nan", "#1"],
)  # fmt: skip
def test_a_text_comes_back_as_it_was(text):
    [override] = OverridesParser.create().parse_overrides([write_override("data.path", text)])
    assert (override.key_or_group, override.value()) == ("data.path", text)


@pytest.mark.parametrize("text", ["reviews.csv", "/data/imdb/train.csv", "../data", "/my data/a b.csv"])
def test_what_needs_no_quotes_has_none(text):
    assert write_override("data.path", text) == f"data.path={text}"
