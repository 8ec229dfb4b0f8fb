"""Storages to test against: a journal file, SQLite, and PostgreSQL where a server is at hand (tests/postgresql.sh)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import TaskFunction
from omegaconf import DictConfig
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage

from sentiment.config.home import PROJECT_DIR
from sentiment.search.options import StudyOptions, read_options
from sentiment.search.plugin.registration import read_sweeper_defaults
from sentiment.search.space.parameters import Space
from sentiment.search.space.points import PointReader
from sentiment.search.storage.address import read_address
from sentiment.search.storage.opening import close_storage, open_storage
from sentiment.search.study.outcome import Outcome, RepeatPlan
from sentiment.search.study.stored.study import StoredStudy

POSTGRESQL = "SENTIMENT_TEST_POSTGRESQL"

TOY_DIR = Path(__file__).parent / "toy"

StartPython = Callable[..., "subprocess.Popen[str]"]

StartToy = Callable[..., "subprocess.Popen[str]"]

Sweep = Callable[..., optuna.Study]

MakeSearch = Callable[..., "SmallSearch"]


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    return tmp_path / "study"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A fresh database on the server that tests/postgresql.sh started."""
    server_url = os.environ.get(POSTGRESQL)
    if server_url is None:
        pytest.skip(f"{POSTGRESQL} is not set: run `bash tests/postgresql.sh python -m pytest`")
    with make_database(server_url) as url:
        yield url


@contextmanager
def make_database(server_url: str) -> Iterator[str]:
    """Make a database on a PostgreSQL server, and remove it afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(
        read_address(server_url, Path()).connection_url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield sqlalchemy.make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=["journal", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The storage setting of a new, empty storage: each kind in turn."""
    if request.param == "journal":
        return None
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def storage(storage_url: str | None, study_dir: Path) -> Iterator[BaseStorage]:
    opened = open_storage(storage_url, study_dir)
    yield opened
    close_storage(opened)


@pytest.fixture
def start_python() -> Iterator[StartPython]:
    """Starts Python on a piece of code with arguments; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=PROJECT_DIR,
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def unprivileged_dir() -> Iterator[Path]:
    """A folder in which permissions count, for the tests' user; root becomes another user meanwhile."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            if not os.access(optuna.__file__, os.R_OK, effective_ids=True):
                pytest.skip("run as root, from an environment that other users may not read")
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o700)


@dataclass
class SmallSearch:
    """What a stored study has to know of a search, without a configuration behind it."""

    options: StudyOptions
    study_dir: Path
    suggest: Callable[[optuna.Trial], Mapping[str, Any]]
    sampler: BaseSampler
    pruner: BasePruner = field(default_factory=NopPruner)

    @property
    def total(self) -> int:
        return self.options.n_trials

    @property
    def reader(self) -> PointReader:
        return PointReader(Space())

    @property
    def grid(self) -> None:
        return None

    @property
    def repeats(self) -> RepeatPlan:
        options = self.options
        return RepeatPlan(options.repeats, options.repeat_value, options.maximize)


@pytest.fixture
def make_search(study_dir: Path) -> MakeSearch:
    """Makes a search over one number, from options of a study."""

    def draw_x(trial: optuna.Trial) -> Mapping[str, Any]:
        return {"x": trial.suggest_float("x", 0, 1)}

    def make(
        suggest: Callable[[optuna.Trial], Mapping[str, Any]] = draw_x,
        sampler: BaseSampler | None = None,
        **options: Any,
    ) -> SmallSearch:
        least = {**read_sweeper_defaults(), "sampler": {}, "pruner": None, "n_trials": 4, "n_jobs": 1}
        return SmallSearch(read_options({**least, **options}), study_dir, suggest, sampler or RandomSampler(seed=0))

    return make


def evaluate_sphere(config: DictConfig) -> float:
    """What the toy application computes, less its accidents."""
    return float(config.x) ** 2 + float(config.y) ** 2


def _seed_sampler(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with a seed for the sampler, if they have none: no test passes or fails by what is drawn."""
    key = "hydra.sweeper.sampler.seed"
    seeded = any(line.lstrip("+~").startswith(key) for line in overrides)
    return [*overrides, *([] if seeded else [f"++{key}=0"])]


@pytest.fixture
def sweep(study_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sweep]:
    """Runs a study on the toy configuration in this process and gives it back, one job at a time unless told.

    Hydra notes nothing in its jobs' folders, which takes as long as the rest of a job, unless told `noting`.
    """
    monkeypatch.chdir(tmp_path)

    def run(
        *overrides: str,
        task: TaskFunction = evaluate_sphere,
        storage: str | None = None,
        config_dir: Path = TOY_DIR / "conf",
        study_dir: Path = study_dir,
        noting: bool = False,
    ) -> optuna.Study:
        GlobalHydra.instance().clear()
        hydra = Hydra.create_main_hydra2("toy", create_config_search_path(str(config_dir)))
        quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.sweeper.n_jobs=1"]
        quiet += [] if noting else ["hydra.output_subdir=null"]
        options = ["hydra/sweeper=study", f"hydra.sweep.dir={study_dir}", *quiet, *_seed_sampler(overrides)]
        options += [] if storage is None else [f"hydra.sweeper.storage={storage}"]
        hydra.multirun("config", task, options, with_log_configuration=False)
        opened.append(open_storage(storage, study_dir))
        return optuna.load_study(study_name=None, storage=opened[-1])

    opened: list[BaseStorage] = []
    yield run
    for storage in opened:
        close_storage(storage)
    GlobalHydra.instance().clear()


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[object]]:
    """Lets a command be gone when the jobs of a trial have ended, as where a launcher's jobs outlive it."""

    @contextmanager
    def lose(number: int) -> Iterator[None]:
        settle = StoredStudy.settle

        def end(study: StoredStudy, trial_id: int, outcome: Outcome) -> bool:
            if study.store.read(trial_id).number == number:
                raise EOFError
            return settle(study, trial_id, outcome)

        with monkeypatch.context() as patch, suppress(EOFError):
            patch.setattr(StoredStudy, "settle", end)
            patch.setattr(StoredStudy, "release", lambda study, trial_id: None)
            yield

    return lose


@pytest.fixture
def start_toy(study_dir: Path, tmp_path: Path) -> Iterator[StartToy]:
    """Starts the toy application as a command on a study; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*overrides: str) -> subprocess.Popen[str]:
        options = ["hydra/sweeper=study", f"hydra.sweep.dir={study_dir}", *_seed_sampler(overrides)]
        process = subprocess.Popen(
            [sys.executable, str(TOY_DIR / "app.py"), "-m", *options],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT_DIR),
                "TMPDIR": str(tmp_path),
            },  # the locks of devices are there
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
