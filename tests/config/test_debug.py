"""``debug=...``: options that try a run, apart from the runs."""

from __future__ import annotations

import pytest

from sentiment.config.command_line import check_command_line
from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.errors import ConfigError
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, list_search_points


@pytest.mark.parametrize("mode", ["fast", "overfit", "profile", "nans"])
def test_every_mode_is_an_option_apart_from_the_runs(compose_config, tmp_path, mode):
    assert read_settings(compose_config(f"debug={mode}"), tmp_path).trainer.debug == mode


def test_a_model_without_steps_can_only_be_tried(compose_config, tmp_path):
    assert read_settings(compose_config("debug=fast", "model=ngram"), tmp_path).trainer.debug == "fast"
    for mode in ("nans", "overfit"):
        with pytest.raises(ConfigError, match="debug=fast") as caught:
            read_settings(compose_config(f"debug={mode}", "model=ngram"), tmp_path)
        assert [fault.key for fault in caught.value.faults] == ["trainer"]


@pytest.mark.parametrize(
    ("mode", "key", "remedy"),
    [("nans", "trainer.precision=16-mixed", "bf16-mixed"), ("overfit", "trainer.label_smoothing=0.1", "leave it at 0")],
)
def test_a_setting_that_would_make_its_verdict_wrong_is_refused(compose_config, tmp_path, mode, key, remedy):
    with pytest.raises(ConfigError, match=remedy):
        read_settings(compose_config(f"debug={mode}", key), tmp_path)
    read_settings(compose_config("debug=fast", key), tmp_path)


def test_dropout_is_switched_off_where_there_is_any(compose_config, tmp_path, monkeypatch):
    """A model of one's own need not have both kinds; what is set to more than nothing is still a key that it lacks."""
    assert read_settings(compose_config("debug=overfit", "model=rnn"), tmp_path).model.dropout == 0
    lacking = compose_config("debug=overfit", "model=ngram", "model.word_dropout=0.2")
    with pytest.raises(ConfigError, match=r"model\.word_dropout: no such key"):
        read_settings(lacking, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["debug=nan"], "did you mean debug=nans"),
        (
            ["-m", "experiment=heads", "debug=fast", "data=synthetic"],
            "leave -m out to try one run, or put .*dry_run=true in its",
        ),
    ],
)
def test_what_cannot_be_tried_is_explained(arguments, remedy):
    with pytest.raises(ConfigError, match=remedy):
        check_command_line(arguments, PROJECT_DIR / "conf", "config", {STUDY_SWEEPER: list_search_points})
