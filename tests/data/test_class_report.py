from __future__ import annotations

import logging
import re
import shlex

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from sentiment.config.schema import HubDataSettings
from sentiment.data.class_report import find_slips, report_classes, write_label_map

TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1)
"""Labels as they are: without blanks around them, on one line."""


def test_every_class_is_logged_with_its_counts(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        report_classes(["bad", "good"], {"train": np.array([0] * 1200 + [1] * 40), "test": np.array([1] * 10)}, {})
    assert caplog.messages == ["2 classes (train + test): bad 1,200 + 0; good 40 + 10."]


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ({"Good": 20, "good": 30, "bad": 20}, r"'Good', 'good' differ only in case, .*\{Good: good\}"),
        ({"so so": 20, "soso": 30}, r"\{so so: soso\}"),
        ({"bad": 20, "good": 3}, r"Fewer than 10 reviews of 'good' \(3\)"),
        ({"-1": 50, "0": 20, "1": 20}, r"'-1' \(50 reviews\) looks like 'no label'.*\{-1: null\}"),
        ({"-1": 50, "neg": 20, "pos": 20}, r"'-1' \(50 reviews\) looks like 'no label'.*\{-1: null\}"),
        ({"Ne\u0301gatif": 50, "N\u00e9gatif": 60, "Positif": 99}, "form in Unicode; .*data.label_map="),
        ({"pos": 50, "\ufeffpos": 20, "neg": 99}, "form in Unicode"),
        ({"\uff50\uff4f\uff53": 50, "pos\u200b": 20, "neg": 99}, "form in Unicode"),
        ({"nan": 50, "bad": 20, "good": 20}, "'nan'"),
    ],
)
def test_classes_that_may_be_slips_are_told_with_the_key(totals: dict[str, int], expected: str):
    (warning,) = find_slips(totals, {})
    assert re.search(expected, warning)


def test_one_remedy_puts_all_slips_right_and_keeps_what_is_set():
    totals = {"gut": 20, "GUT": 30, "Schlecht": 20, "schlecht": 30, "n/a": 10}
    warnings = find_slips(totals, {"x": "gut", -5: None})
    assert len(warnings) == 3
    for warning in warnings:
        found = read_label_map(warning[warning.index("'data.label_map") :])
        assert found == {"x": "GUT", "-5": None, "n/a": None, "gut": "GUT", "Schlecht": "schlecht"}


@pytest.mark.parametrize(
    "totals",
    [{"bad": 10, "good": 10}, {"-1": 50, "1": 50}, {"-2": 20, "-1": 20, "0": 20}, {"-1": 20, "1": 20, "good": 20}],
)
def test_ordinary_classes_are_no_slips(totals: dict[str, int]):
    assert find_slips(totals, {}) == []


@pytest.mark.parametrize(
    "names",
    [
        {"GOOD": "good"}, {"Très bon!": "très bon"}, {"don't": "dont"}, {'say "x", y': None}, {"a: b": "null"},
        {"null": "x", "v1.0": "1"}, {"no": "yes", "#1": "[a]"}, {"TRUE": "true"}, {"Nan": None}, {"NULL": None},
        {"?": None}, {"%x": "y"}, {"1e3": "x"}, {"1_000": "x"}, {"Inf": "inf"}, {"007": "7"}, {"-1": None}, {"~": "x"},
        {"a\\": "\\'b"}, {"so so": "soso"}, {"İyi": "ıyi"}, {"ſo": "K"},
    ],
)  # fmt: skip
def test_a_suggested_label_map_is_read_as_it_is_meant(names: dict[str, str | None]):
    """Pasted into a shell it gives the labels, whatever signs they hold."""
    check_label_map(names)


@given(st.dictionaries(TEXT, st.none() | TEXT, min_size=1, max_size=3))
def test_any_labels_are_read_as_they_are_meant(names: dict[str, str | None]):
    check_label_map(names)


def check_label_map(names: dict[str, str | None]):
    assert read_label_map(write_label_map(names)) == names


def read_label_map(written: str) -> dict[str, str | None]:
    (override,) = shlex.split(written)
    value = OverridesParser.create().parse_override(override).value()
    settings = HubDataSettings.model_construct()
    found = HubDataSettings.__pydantic_validator__.validate_assignment(settings, "label_map", value).label_map
    assert all(type(label) in (str, int) for label in found), "a truth value is no label that says true"
    return {str(label): target if target is None else str(target) for label, target in found.items()}
