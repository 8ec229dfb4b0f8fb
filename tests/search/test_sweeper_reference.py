"""The sweeper's part of the reference: every key, pruner and sampler."""

from __future__ import annotations

import dataclasses

from sentiment.search.plugin.options import StudyOptions
from sentiment.search.plugin.reference import MACHINERY, read_sweeper_defaults, render_sweeper
from sentiment.search.plugin.registration import PRUNERS, SAMPLERS, StudySweeperConf


def test_the_keys_that_hydra_knows_are_those_that_are_checked_and_described():
    known = {field.name for field in dataclasses.fields(StudySweeperConf)} - set(MACHINERY)
    assert known == set(StudyOptions.model_fields)
    assert [name for name, field in StudyOptions.model_fields.items() if not field.description] == []


def test_every_key_has_a_row_with_its_default():
    text, _ = render_sweeper().split("## Pruners")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == list(StudyOptions.model_fields)
    defaults = {row[0].strip("| `"): row[1] for row in rows}
    assert defaults["sampler"] == "`multivariate_tpe`"
    assert defaults["direction"] == "`minimize`"
    assert defaults["storage"] == "`null`"
    assert defaults["reuse"] == "`true`"
    assert defaults["constraints"] == "`[]`"
    assert "| `max_failure_rate` | `0.0` | number, 0 to 1 |" in text


def test_checked_defaults_are_the_registered_ones():
    """Two places hold defaults, for callers without Hydra and for Hydra: they must agree."""
    registered = read_sweeper_defaults()
    for name, field in StudyOptions.model_fields.items():
        if not field.is_required() and name not in ("pruner", "limits"):
            assert field.default == registered[name], name


def test_pruners_and_samplers_are_listed_without_those_that_are_gone():
    _, text = render_sweeper().split("## Pruners")
    for name in [*PRUNERS, *SAMPLERS, "tpe", "random", "grid", "qmc"]:
        assert text.count(f"| `{name}` | ") == 1, name
    assert "motpe" not in text
