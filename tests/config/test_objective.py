"""What a run returns to a sweeper, and which way is better."""

from __future__ import annotations

import pytest

from sentiment.config.identity import identify
from sentiment.config.reading import check_settings, read_settings


def test_one_objective_unless_told_otherwise(compose_config, tmp_path):
    settings = read_settings(compose_config("objective=val/loss"), tmp_path)
    assert (settings.objectives, settings.directions) == (["val/loss"], ["minimize"])


def test_directions_follow_from_several_objectives(compose_config, tmp_path):
    config = compose_config("objectives=[val/f1,model/parameters,time/fit_seconds,time/latency_ms]")
    settings = read_settings(config, tmp_path)
    assert settings.directions == ["maximize", "minimize", "minimize", "minimize"]
    assert settings.objective == "val/accuracy"  # selects the checkpoint still


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["objectives=[val/accuracy,test/accuracy]"], "objectives.1"),
        (["objectives=[val/loss,val/loss]"], "objectives"),
        (["objectives=[]"], "objectives"),
        (["objectives=val/loss"], "objectives"),
        (["objectives=null"], "objectives"),
        (["directions=[minimize]"], "directions"),
        (["objectives=[val/loss,val/f1]", "directions=[minimize]"], "directions"),
        (["objective=x"], "objective"),
        (["objective=model/parameters"], "objective"),
    ],
)
def test_faults(compose_config, tmp_path, overrides, key):
    _, faults = check_settings(compose_config(*overrides), tmp_path)
    assert [fault.key for fault in faults] == [key]


@pytest.mark.parametrize(
    ("override", "is_same"),
    [
        ("trainer.threads=3", True),
        ("tracking=none", True),
        ("trainer.progress_bar=off", True),
        ("objectives=[val/f1,val/loss]", True),
        ("seed=1", False),
        ("objective=val/loss", False),
        ("data.batch_size=7", False),
    ],
)
def test_which_settings_make_another_run(compose_config, tmp_path, override, is_same):
    first, second = (read_settings(compose_config(*o), tmp_path) for o in ([], [override]))
    assert (identify(first, "data") == identify(second, "data")) is is_same


def test_other_data_under_the_same_settings_make_another_run(compose_config, tmp_path):
    settings = read_settings(compose_config(), tmp_path)
    assert identify(settings, "data") != identify(settings, "other data")
