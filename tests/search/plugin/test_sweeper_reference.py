"""The sweeper's part of the reference: every key, pruner and sampler."""

from __future__ import annotations

import dataclasses

from sentiment.search.options import StudyOptions
from sentiment.search.plugin.registration import (
    MACHINERY,
    PRUNERS,
    SAMPLERS,
    StudySweeperConf,
    list_pruners,
    list_samplers,
)


def test_the_keys_that_hydra_knows_are_those_that_are_checked_and_described():
    known = {field.name for field in dataclasses.fields(StudySweeperConf)} - set(MACHINERY)
    assert known == set(StudyOptions.model_fields)
    assert [name for name, field in StudyOptions.model_fields.items() if not field.description] == []


def test_pruners_and_samplers_are_listed_without_those_that_are_gone():
    assert [one.name for one in list_pruners()] == list(PRUNERS)
    samplers = {one.name: one for one in list_samplers()}
    assert {*SAMPLERS, "tpe", "random", "grid", "qmc"} <= set(samplers)
    assert "motpe" not in samplers
    assert samplers["tpe"].made_by == "TPESampler"
    assert [name for name, one in samplers.items() if one.doc] == list(SAMPLERS)
    assert all(one.doc for one in list_pruners())
