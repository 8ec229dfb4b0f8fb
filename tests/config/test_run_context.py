"""The words of a command are read as they were typed, though Hydra keeps them where a ${...} is an interpolation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sentiment.composing import without_hydra
from sentiment.config.home import PROJECT_DIR
from sentiment.config.run_context import MULTIRUN_FILE, read_fixed, read_multirun_command, read_run_context

RELATIVE, ABSOLUTE = "model.hidden_size=${.embedding_size}", "model.embedding_size=${data.max_tokens}"


def compose_whole(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        return compose("config", list(overrides), return_hydra_config=True)


def test_a_run_has_the_words_that_were_typed(tmp_path, monkeypatch):
    config = compose_whole("model=rnn", RELATIVE, ABSOLUTE)
    config.hydra.runtime.output_dir = str(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", config)
    context = read_run_context(without_hydra(config))
    assert context.overrides == ("model=rnn", RELATIVE, ABSOLUTE)
    assert context.settings.model.hidden_size == context.settings.data.max_tokens


@pytest.mark.parametrize(
    "word",
    ["model.heads=${.depth}", ABSOLUTE, "data.max_tokens=${model.hidden_size}"],  # no key of the default model
)
def test_a_multirun_has_the_words_that_were_typed(tmp_path: Path, word):
    subdir = "hydra.sweep.subdir=at_${hydra:job.num}"
    (tmp_path / MULTIRUN_FILE).write_text(OmegaConf.to_yaml(compose_whole(word, subdir)))
    assert read_fixed(tmp_path) == {word}
    assert read_multirun_command(tmp_path) == f"python run.py -m '{word}' '{subdir}'"
