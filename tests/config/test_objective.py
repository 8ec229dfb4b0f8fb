"""One key, `objective`: what selects the checkpoint, what a run returns to a sweeper, and which way is better."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentiment.config.home import PROJECT_DIR
from sentiment.config.identity import identify, is_incidental, keep_determining
from sentiment.config.objective import find_direction, find_directions, read_objectives, translate_retired
from sentiment.config.reading import check_settings, read_settings
from sentiment.errors import SentimentError


def test_one_objective_unless_told_otherwise(compose_config, tmp_path):
    settings = read_settings(compose_config("objective=val/loss"), tmp_path)
    assert settings.objective == "val/loss"
    assert (settings.objectives, settings.directions, settings.selection) == (("val/loss",), ("minimize",), "val/loss")


def test_all_else_follows_from_several_objectives(compose_config, tmp_path):
    config = compose_config("objective=[model/parameters,val/f1,time/fit_seconds,val/accuracy]")
    settings = read_settings(config, tmp_path)
    assert settings.objectives == ("model/parameters", "val/f1", "time/fit_seconds", "val/accuracy")
    assert settings.directions == ("minimize", "maximize", "minimize", "maximize")
    assert settings.selection == "val/f1"


@pytest.mark.parametrize(
    ("override", "key", "told"),
    [
        ("objective=[val/accuracy,test/accuracy]", "objective.1", "one of val/accuracy"),
        ("objective=[val/loss,val/loss]", "objective", "once"),
        ("objective=[]", "objective", "length at least 1"),
        ("objective=null", "objective", "one of val/accuracy"),
        ("objective=x", "objective", "one of val/accuracy"),
        ("objective=model/parameters", "objective", "objective=[val/accuracy,model/parameters]"),
        ("objective=[time/fit_seconds]", "objective", "objective=[val/accuracy,time/fit_seconds]"),
        ("+objectives=[val/f1]", "objectives", "write objective=[...]"),
        ("+direction=maximize", "direction", "it follows from objective"),
        ("+directions=[maximize]", "directions", "it follows from objective"),
    ],
)
def test_faults(compose_config, tmp_path, override, key, told):
    _, faults = check_settings(compose_config(override), tmp_path)
    assert [fault.key for fault in faults] == [key]
    assert told in faults[0].remedy


@pytest.mark.parametrize(
    ("override", "is_same"),
    [
        ("trainer.threads=3", True),
        ("tracking=none", True),
        ("trainer.progress_bar=off", True),
        ("objective=[model/parameters,val/accuracy,val/loss]", True),
        ("seed=1", False),
        ("objective=val/loss", False),
        ("objective=[val/loss,val/accuracy]", False),
        ("data.batch_size=7", False),
    ],
)
def test_which_settings_make_another_run(compose_config, tmp_path, override, is_same):
    first, second = (read_settings(compose_config(*o), tmp_path) for o in ([], [override]))
    assert (identify(first, "data") == identify(second, "data")) is is_same


def test_other_data_under_the_same_settings_make_another_run(compose_config, tmp_path):
    settings = read_settings(compose_config(), tmp_path)
    assert identify(settings, "data") != identify(settings, "other data")


@pytest.mark.parametrize(
    ("override", "before"),
    [
        # as the version that had four keys hashed it, from objective=val/f1
        ("objective=val/f1", "d15c73d2c66dcbd5c0f7d926f184178062dbd9d8dba5fecb6f2827f7b9eb6bd8"),
        # and from objectives=[val/f1,model/parameters], where the default selected
        (
            "objective=[val/accuracy,val/f1,model/parameters]",
            "9a6736b3e2a91326c5ff59553f83c729e76cb2d11e201456f74bc2c9e229516f",
        ),
    ],
)
def test_checkpoints_of_earlier_versions_are_of_the_same_run(compose_config, tmp_path, override, before):
    assert identify(read_settings(compose_config("model=rnn", "seed=3", override), tmp_path), "data") == before


@pytest.mark.parametrize(
    ("params", "objectives", "translated"),
    [
        ({"objective": "val/loss"}, (("val/loss",), ("minimize",)), "val/loss"),
        (
            {"objective": '["val/f1","model/parameters"]'},
            (("val/f1", "model/parameters"), ("maximize", "minimize")),
            '["val/f1","model/parameters"]',
        ),
        (
            {
                "objective": "val/loss", "direction": "minimize",
                "objectives": '["val/loss"]', "directions": '["minimize"]',
            },
            (("val/loss",), ("minimize",)),
            "val/loss",
        ),
        (
            {
                "objective": "val/accuracy", "direction": "maximize",
                "objectives": '["model/parameters","val/f1"]', "directions": '["minimize","maximize"]',
            },
            (("model/parameters", "val/f1"), ("minimize", "maximize")),
            '["val/accuracy","model/parameters","val/f1"]',  # what selected still selects
        ),
    ],
)  # fmt: skip
def test_recorded_settings_of_every_version_can_be_read(params, objectives, translated):
    assert read_objectives(params) == objectives
    assert translate_retired({**params, "seed": "1"}) == {"objective": translated, "seed": "1"}
    assert keep_determining(translate_retired(params)) == keep_determining(params)


@pytest.mark.parametrize("key", ["objectives", "direction", "directions"])
def test_retired_keys_make_no_other_run(key):
    assert is_incidental(key)


RECORDS = [folder.parent for folder in sorted((PROJECT_DIR / "experiments").glob("*/tables"))]
"""Experiments on record; the others are benchmarks, whose results are of no sweep."""


@pytest.mark.parametrize(
    "file", [file for folder in RECORDS for file in sorted((folder / "results").glob("*.json"))], ids=lambda f: f.stem
)
def test_objectives_of_the_results_on_record(file: Path):
    """Those that were written when there were four keys, and those since."""
    params = json.loads(file.read_text(encoding="utf-8"))["shared_params"]
    assert read_objectives(params) == (("val/accuracy",), ("maximize",))


@pytest.mark.parametrize(
    ("metric", "direction"),
    [
        ("val/accuracy", "maximize"), ("test/auroc", "maximize"), ("test/mcc", "maximize"), ("val/loss", "minimize"),
        ("val/brier", "minimize"), ("test/ece", "minimize"), ("model/parameters", "minimize"),
        ("time/latency_ms", "minimize"),
    ],
)  # fmt: skip
def test_every_metric_has_a_direction(metric, direction):
    assert find_direction(metric) == direction


def test_a_metric_whose_file_is_gone_has_no_direction():
    """Taken for one of which more is better, it would rank the worst run first."""
    with pytest.raises(SentimentError, match="val/mine is no metric of this project"):
        find_direction("val/mine")
    assert find_directions(["val/loss", "val/mine"]) == ["minimize", "maximize"]
