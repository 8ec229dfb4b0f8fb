from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from sentiment.config.home import PROJECT_DIR
from sentiment.tracking.places import TRACKING_URI, choose_tracking_uri


def test_the_default_store_is_that_of_the_configuration():
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        assert compose("config").tracking.uri == TRACKING_URI


def test_the_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///env.db")
    assert choose_tracking_uri("sqlite:///option.db") == "sqlite:///option.db"
    assert choose_tracking_uri(None) == "sqlite:///env.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert choose_tracking_uri(None) == TRACKING_URI
