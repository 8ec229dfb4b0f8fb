"""A study whose project is moved, whose folder has a date, or whose code has changed; with real commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from sentiment.config.home import PROJECT_DIR
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.history import read_study
from tests.search.conftest import TOY_DIR

GRID = ("hydra/sweeper=study", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=100", "hydra.sweeper.n_jobs=1")


class Project:
    """A folder with an application of its own."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(TOY_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, *overrides):
        done = subprocess.run(
            [sys.executable, "app.py", "-m", *GRID, *overrides], cwd=self.folder, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)}, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def move(self, folder):
        self.folder.rename(folder)
        self.folder = folder

    def git(self, *words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *identity, *words], cwd=self.folder, capture_output=True, check=True)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "first")


@pytest.fixture
def points(project):
    """Tells which points have run since it was last asked."""
    mark = project.folder.parent / "mark"

    def take():
        lines = mark.read_text().splitlines() if mark.exists() else []
        mark.unlink(missing_ok=True)
        return sorted(tuple(map(float, line.split()[-2:])) for line in lines)

    take.override = f"mark={mark}"
    return take


@pytest.mark.parametrize("storage", [[], ["hydra.sweeper.storage=sqlite:///studies.db"]], ids=["journal", "sqlite"])
def test_a_moved_project_goes_on_with_its_study(project, points, storage):
    config = project.folder / "conf/config.yaml"
    config.write_text(config.read_text() + "data: ${hydra:runtime.cwd}/data\n")
    command = ("hydra.sweep.dir=multirun/s", "hydra.sweeper.study_name=s", points.override, *storage)
    project.run("x=1,2", *command)
    assert points() == [(1.0, 0.0), (2.0, 0.0)]
    project.move(project.folder.with_name("second"))
    project.run("x=1,2", *command)
    assert points() == []
    project.run("x=1,2,3", *command)
    assert points() == [(3.0, 0.0)]
    assert not project.folder.with_name("first").exists()
    study = read_study(None, project.folder / "multirun/s")
    assert sorted(trial.values for trial in study.trials) == [(2.0,), (5.0,), (10.0,)]


def test_a_named_study_is_found_again_in_its_dated_folder(project, points):
    first = project.run("x=1,2", "hydra.sweeper.study_name=named", points.override)
    assert points() == [(1.0, 0.0), (2.0, 0.0)]
    assert "goes on" not in first
    second = project.run("x=1,2,3", "hydra.sweeper.study_name=named", points.override)
    assert points() == [(3.0, 0.0)]
    assert "has the date in it" in second
    assert len(list(project.folder.glob("multirun/*/*/journal.log"))) == 1
    [folder] = {path.parent.parent for path in project.folder.glob("multirun/*/*/*/.hydra")}
    assert (folder / "2/.hydra").is_dir(), "the jobs' folders are there too"
    project.run("x=1,2", "hydra.sweeper.study_name=other", points.override)
    assert points() == [(1.0, 0.0), (2.0, 0.0)]
    project.run("x=1,2", points.override)
    assert points() == [(1.0, 0.0), (2.0, 0.0)], "a study without a name is a new one, as with the stock plugin"


def test_trials_of_another_commit_are_told(project):
    project.git("init", "-q")
    project.git("add", ".")
    project.git("commit", "-qm", "one")
    (project.folder / ".git/info/exclude").write_text("multirun\n__pycache__\n")
    command = ("hydra.sweep.dir=multirun/s", "hydra.sweeper.study_name=s")
    assert "of other code" not in project.run("x=1,2", *command)
    assert "of other code" not in project.run("x=1,2,3", *command)
    project.git("commit", "--allow-empty", "-qm", "two")
    assert "Trials of other code: 3 at " in project.run("x=1,2,3,4", *command)
    storage = open_storage(None, project.folder / "multirun/s")
    commits = [trial.system_attrs["study:commit"] for trial in storage.get_all_trials(0)]
    assert len(set(commits[:3])) == 1
    assert commits[3] not in commits[:3]
