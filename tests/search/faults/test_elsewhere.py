"""A study whose project is moved, whose folder has a date, or whose code has changed."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
from itertools import count

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra

from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.history import read_study
from sentiment.search.study.trial import open_study
from tests.search.conftest import TOY_DIR

GRID = (
    "hydra/sweeper=study", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=100", "hydra.sweeper.n_jobs=1",
    "hydra/job_logging=none", "hydra/hydra_logging=none",
)  # fmt: skip

NAMES = map("elsewhere_{}".format, count())


class Project:
    """A folder with an application of its own, whose commands run in this process."""

    def __init__(self, folder, monkeypatch, caplog):
        self.folder = folder
        self.monkeypatch, self.caplog = monkeypatch, caplog
        shutil.copytree(TOY_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, *overrides):
        self.monkeypatch.chdir(self.folder)
        open_study.cache_clear()  # a process never meets another study at the same place
        GlobalHydra.instance().clear()
        spec = importlib.util.spec_from_file_location(next(NAMES), self.folder / "app.py")
        application = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(application)
        self.caplog.clear()
        with self.caplog.at_level(logging.INFO):
            hydra = Hydra.create_main_hydra2("app", create_config_search_path(str(self.folder / "conf")))
            hydra.multirun("config", application.main.__wrapped__, [*GRID, *overrides], with_log_configuration=False)
        return self.caplog.text

    def move(self, folder):
        self.folder.rename(folder)
        self.folder = folder

    def git(self, *words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *identity, *words], cwd=self.folder, capture_output=True, check=True)


@pytest.fixture
def project(tmp_path, monkeypatch, caplog):
    yield Project(tmp_path / "first", monkeypatch, caplog)
    GlobalHydra.instance().clear()


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
    dated = "hydra.sweep.dir='multirun/${now:%Y-%m-%d}/${now:%H-%M-%S-%f}'"  # Hydra's own has no fraction of a second
    first = project.run("x=1,2", "hydra.sweeper.study_name=named", points.override, dated)
    assert points() == [(1.0, 0.0), (2.0, 0.0)]
    assert "goes on" not in first
    second = project.run("x=1,2,3", "hydra.sweeper.study_name=named", points.override, dated)
    assert points() == [(3.0, 0.0)]
    assert "has the date in it" in second
    assert len(list(project.folder.glob("multirun/*/*/journal.log"))) == 1
    [folder] = {path.parent.parent for path in project.folder.glob("multirun/*/*/*/.hydra")}
    assert (folder / "2/.hydra").is_dir(), "the jobs' folders are there too"
    shutil.copytree(folder, folder.parent / "copy")
    with pytest.raises(StudyEndedError, match=r"(?s)2 folders hold a study 'named': .*->.*hydra.sweep.dir="):
        project.run("x=1,2,3,4", "hydra.sweeper.study_name=named", points.override, dated)
    (folder.parent / "copy/study.json").write_text("{")
    with pytest.raises(StudyEndedError, match=r"study\.json cannot be read"):
        project.run("x=1,2,3,4", "hydra.sweeper.study_name=named", points.override, dated)
    assert points() == []
    shutil.rmtree(folder.parent / "copy")
    project.run("x=1,2", "hydra.sweeper.study_name=other", points.override, dated)
    assert points() == [(1.0, 0.0), (2.0, 0.0)]
    project.run("x=1,2", points.override, dated)
    assert points() == [(1.0, 0.0), (2.0, 0.0)], "a study without a name is a new one, as with the stock plugin"


@pytest.mark.parametrize("storage", ["null", "sqlite:///study.db"])
def test_a_named_study_is_found_whichever_key_has_the_date_and_wherever_it_is_stored(project, points, storage):
    dated = ["+paths.now='logs/${now:%H-%M-%S-%f}'", "hydra.sweep.dir='${paths.now}'", "hydra.sweeper.ignore=[paths]"]
    command = [*dated, points.override, "hydra.sweeper.study_name=named", f"hydra.sweeper.storage={storage}"]
    project.run("x=1,2", *command)
    assert points() == [(1.0, 0.0), (2.0, 0.0)]
    assert "has the date in it" in project.run("x=1,2,3", *command)
    assert points() == [(3.0, 0.0)]
    [folder] = {path.parent.parent for path in project.folder.glob("logs/*/*/.hydra")}
    assert (folder / "2/.hydra").is_dir()


def test_a_dated_study_in_a_database_goes_on_in_its_first_folder_while_there_is_a_database(project, points):
    dated = "hydra.sweep.dir='multirun/${now:%H-%M-%S-%f}'"
    command = [dated, points.override, "hydra.sweeper.study_name=named", "hydra.sweeper.storage=sqlite:///study.db"]
    project.run("x=1", *command)
    [first] = project.folder.glob("multirun/*")
    shutil.copytree(first, first.with_name("later"))  # as of two commands that began at the same time
    assert "2 folders hold jobs of the study named; it goes on in the first" in project.run("x=1,2", *command)
    assert (first / "1").is_dir()
    shutil.rmtree(first.with_name("later"))
    (project.folder / "study.db").unlink()
    points()
    project.run("x=1", *command)
    assert points() == [(1.0, 0.0)]
    assert len(list(project.folder.glob("multirun/*"))) == 2, "a new study overwrites no files of the old one"


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
