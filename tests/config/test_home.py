"""The project's folder in what is recorded: written so that a project can be moved."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sentiment.config import home
from sentiment.config.home import read_portable, write_portable


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("/home/me/project", "${project_dir:}"),
        ("/home/me/project/data/reviews.csv", "${project_dir:}/data/reviews.csv"),
        ("sqlite:////home/me/project/mlflow.db", "sqlite:///${project_dir:}/mlflow.db"),
        ('["/home/me/project/a","/b"]', '["${project_dir:}/a","/b"]'),
        ("/home/me/project2/data", "/home/me/project2/data"),
        ("/home/me/project.old", "/home/me/project.old"),
        ("/backup/home/me/project", "/backup/home/me/project"),
        ("a text about /home/me", "a text about /home/me"),
    ],
)
def test_only_the_projects_own_folder_is_written_for_any_place(monkeypatch, text, written):
    monkeypatch.setattr(home, "PROJECT_DIR", Path("/home/me/project"))
    assert write_portable(text) == written
    assert read_portable(written) == text
    monkeypatch.setattr(home, "PROJECT_DIR", Path("/new"))
    assert read_portable(written) == written.replace("${project_dir:}", "/new")


@pytest.mark.parametrize(
    ("overrides", "devices"),
    [
        (["search=rnn"], "auto"),
        (["search=rnn", "trainer=gpu"], "auto"),
        (["search=rnn", "trainer=cpu"], "unused"),
        (["search=both", "trainer.accelerator=cpu"], "unused"),
        (["search=ngram"], "unused"),
        (["search=rnn", "trainer=cpu", "hydra.sweeper.devices=[0]"], [0]),
    ],
)
def test_a_study_shares_out_devices_where_its_trials_use_them(project_dir, overrides, devices):
    with initialize_config_dir(str(project_dir / "conf")):
        assert compose("config", overrides, return_hydra_config=True).hydra.sweeper.devices == devices
