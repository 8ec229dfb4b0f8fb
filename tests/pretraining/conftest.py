"""Settings that learn words in a second, and the runs that start from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sentiment.config.reading import read_settings
from sentiment.config.run_context import RunContext
from sentiment.config.schema import Settings
from sentiment.data.build import build_corpus
from sentiment.data.corpus import Corpus
from sentiment.pretraining.artifact import Words
from sentiment.pretraining.run import find_words
from tests.composing import compose_project

OPTIONS = {"rnn": "lm", "transformer": "mlm"}

SMALL = (
    "data.train_size=80", "data.test_size=20", "data.unlabelled_size=60", "model.embedding_size=16", "model.depth=1",
    "trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.threads=1", "trainer.progress_bar=off", "tracking=none",
    "pretrain.max_epochs=2", "pretrain.batch_size=16", "pretrain.cutoffs=[20,100]", "pretrain.held_out_fraction=0.1",
)  # fmt: skip


@pytest.fixture(scope="session")
def tokens_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture
def compose_settings(tokens_dir: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Compose the settings of a run that learns words first; its words are kept in the test's own folder."""

    def compose(model: str, *overrides: str) -> Settings:
        places = f"data.cache_dir={tokens_dir}", f"pretrain.cache_dir={tmp_path}/pretrained"
        config = compose_project(f"model={model}", f"pretrain={OPTIONS[model]}", *SMALL, *places, *overrides)
        return read_settings(config, Path.cwd())

    return compose


@pytest.fixture
def small_corpus(compose_settings: Callable[..., Settings]) -> Corpus:
    return build_corpus(compose_settings("rnn").data)


@pytest.fixture
def find(small_corpus: Corpus, tmp_path: Path) -> Callable[..., Words]:
    """Find the words of settings, as a run does."""

    def find_for(settings: Settings, tell: Callable[[str], None] = lambda note: None, code: str = "code") -> Words:
        run = RunContext(settings, (), tmp_path / "run", tmp_path, None, None, "")
        return find_words(run, small_corpus, code, tell)

    return find_for
