"""A small corpus, and settings that train on it in about a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sentiment.config.reading import read_settings
from sentiment.config.schema import Settings
from sentiment.data.build import build_corpus
from sentiment.data.corpus import Corpus
from sentiment.training.result import Reporter
from tests.composing import compose_project

SMALL = (
    "data.train_size=600", "data.test_size=100", "data.max_sentences=3", "data.difficulty=0", "data.label_noise=0",
    "model.embedding_size=16", "model.depth=1", "trainer.max_epochs=2", "trainer.accelerator=cpu", "trainer.threads=1",
    "trainer.log_every_n_steps=1", "trainer.progress_bar=off", "tracking=none", "data.batch_size=32",
)  # fmt: skip


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture
def small_settings(cache_dir: Path) -> Callable[..., Settings]:
    def compose_settings(*overrides: str) -> Settings:
        config = compose_project(*overrides[:1], *SMALL, f"data.cache_dir={cache_dir}", *overrides[1:])
        return read_settings(config, Path.cwd())

    return compose_settings


@pytest.fixture
def small_corpus(small_settings: Callable[..., Settings]) -> Corpus:
    return build_corpus(small_settings("model=rnn").data)


class RecordingReporter(Reporter):
    """Keeps every report."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, int, float, dict[str, float]]] = []

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        self.reports.append(("trained", step, epoch, dict(metrics)))

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        self.reports.append(("validated", step, epoch, dict(metrics)))

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        self.reports.append(("tested", step, epoch, dict(metrics)))

    def of_kind(self, kind: str) -> list[tuple[int, float, dict[str, float]]]:
        return [report[1:] for report in self.reports if report[0] == kind]


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()


@pytest.fixture
def recording_reporter() -> type[RecordingReporter]:
    return RecordingReporter
