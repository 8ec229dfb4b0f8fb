"""A project folder to record in: its settings, its contexts, and what MLflow says afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sentiment.config.reading import read_settings
from sentiment.config.run_context import RunContext
from sentiment.config.schema import Settings
from sentiment.training.result import RunResult, TestPredictions
from tests.composing import compose_project


@dataclass(frozen=True)
class Project:
    """A project folder with an empty MLflow store, as after the first command."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    @property
    def sweep_dir(self) -> Path:
        return self.folder / "multirun/sweep"

    def settings(self, *overrides: str) -> Settings:
        places = [
            f"tracking.uri={self.uri}",
            f"tracking.artifact_dir={self.folder}/mlartifacts",
            f"tracking.tensorboard_dir={self.folder}/multirun/tensorboard",
            "tracking.log_model=false",
        ]
        return read_settings(compose_project(*places, *overrides), self.folder)

    def output_dir(self, job_number: int | None = None) -> Path:
        return self.folder / "multirun/single" if job_number is None else self.sweep_dir / str(job_number)

    def context(self, settings: Settings, *overrides: str, job_number: int | None = None) -> RunContext:
        is_job = job_number is not None
        return RunContext(
            settings=settings,
            overrides=overrides,
            output_dir=self.output_dir(job_number),
            project_dir=self.folder,
            sweep_dir=self.sweep_dir if is_job else None,
            job_number=job_number,
            resolved_yaml="model:\n  name: transformer\n",
        )

    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def deliver(self) -> None:
        """Give MLflow what the runs noted, as the command of a sweep does."""
        from sentiment.tracking.mlflow.delivery import Deliverer

        assert Deliverer(self.folder, [self.uri]).deliver()

    def runs(self) -> list:
        """All runs, oldest first."""
        self.deliver()
        experiment = self.client().get_experiment_by_name("sentiment")
        return list(self.client().search_runs([experiment.experiment_id], order_by=["start_time ASC"]))

    def run(self):
        (run,) = self.runs()
        return run

    def artifacts(self, run_id: str, folder: str | None = None) -> set[str]:
        return {file.path for file in self.client().list_artifacts(run_id, folder)}

    def artifact(self, run_id: str, path: str) -> Path:
        return Path(self.client().download_artifacts(run_id, path))


@pytest.fixture(scope="session")
def make_project(empty_store: Path) -> Callable[[Path], Project]:
    """Make a project in a folder."""

    def make(folder: Path) -> Project:
        shutil.copy(empty_store, folder / "mlflow.db")
        return Project(folder)

    return make


@pytest.fixture
def project(tmp_path: Path, make_project: Callable[[Path], Project]) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return make_project(folder)


@pytest.fixture(scope="session")
def result() -> RunResult:
    """The result of a run with four test reviews, three of them right."""
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], dtype=np.float32)
    return RunResult(
        metrics={"val/accuracy": 0.8, "val/loss": 0.5, "test/accuracy": 0.75, "test/loss": 0.6},
        parameters=1234,
        seconds=5.5,
        epochs=2.0,
        best_epoch=1.0,
        checkpoint=Path("best.ckpt"),
        bundle=Path("bundle"),
        class_names=("negative", "positive"),
        test=TestPredictions(labels=np.array([0, 1, 1, 1], dtype=np.int64), probabilities=probabilities),
    )
