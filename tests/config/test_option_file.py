"""What a YAML file of conf/ tells of itself."""

from __future__ import annotations

from pathlib import Path

from sentiment.config.option_file import Overlay, read_header, read_overlay

SEARCH = """\
# @package _global_
# python run.py -m search=mine
# python run.py -m search=mine seed=1        another seed
# First sentence.
# Second one.

defaults:
  - study
  - override /model: rnn
  - _self_

# not of the header
trainer:
  test: false
hydra:
  sweeper:
    n_trials: 7
    study_name: ${hydra.job.name}
    params:
      model: transformer,rnn
    branches:
      model=rnn:
        model.cell: lstm,gru
    constraints:
      - model.depth < 3
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(text)
    return file


def test_the_header_is_commands_and_sentences(tmp_path):
    header = read_header(write(tmp_path, SEARCH))
    assert header.commands == ("python run.py -m search=mine", "python run.py -m search=mine seed=1  # another seed")
    assert header.remark == "First sentence. Second one."


def test_an_overlay_is_told_apart_into_its_parts(tmp_path):
    assert read_overlay(write(tmp_path, SEARCH)) == Overlay(
        bases=("study",),
        choices=("model=rnn",),
        varied=(("", "model", "transformer,rnn"), ("model=rnn", "model.cell", "lstm,gru")),
        constraints=("model.depth < 3",),
        settings={
            "trainer.test": False,
            "hydra.sweeper.n_trials": 7,
            "hydra.sweeper.study_name": "${hydra.job.name}",
        },
    )


def test_a_file_of_settings_alone_is_an_overlay_too(tmp_path):
    assert read_overlay(write(tmp_path, "seed: 3\n")) == Overlay(settings={"seed": 3})
