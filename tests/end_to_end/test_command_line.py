"""What a person meets at the command line: help, completion, faults, and where things are written."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_help_lists_the_groups_and_keys(checkout):
    result = checkout.run("--help")
    assert result.returncode == 0
    for line in ("model: ngram, rnn, transformer", "optimizer: adam, adamw, sgd", "trainer: auto, cpu, gpu", "seed: 0"):
        assert line in result.stdout


def test_cfg_shows_the_composed_job(checkout):
    result = checkout.run("--cfg", "job", "model=rnn", "model.cell=gru")
    assert result.returncode == 0
    assert "cell: gru" in result.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python run.py model=t", "model=transformer"),
        ("python run.py model.hea", "model.heads="),
        ("python run.py data=", "data=files data=hub data=imdb data=synthetic"),
    ],
)
def test_tab_completion(checkout, line, expected):
    result = checkout.run("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert result.returncode == 0
    assert expected in " ".join(result.stdout.split())


@pytest.mark.parametrize("flag", [[], ["-m"], ["--cfg", "job"]])
def test_faults_are_listed_together_without_a_traceback(checkout, flag):
    result = checkout.run(*flag, "model.hed=3", "trainer.max_epochs=0", "optimizer.lr=fast")
    assert result.returncode == 1
    assert "3 faults in the configuration; nothing was started" in result.stderr
    assert "did you mean model.heads?" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_full_error_is_shown_on_demand(checkout):
    result = checkout.run("trainer.max_epochs=0", HYDRA_FULL_ERROR="1")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "must be at least 1" in result.stderr


def test_a_fault_writes_nothing(fresh_checkout):
    before = {path.name for path in fresh_checkout.folder.iterdir()}
    fresh_checkout.run("-m", "model=transformer,rnn", "model.embedding_size=0")
    assert {path.name for path in fresh_checkout.folder.iterdir()} - {"__pycache__"} == before


def test_without_network_and_cache_imdb_is_one_clear_error(fresh_checkout, tmp_path):
    result = fresh_checkout.run(
        "data=imdb", "tracking=none", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "empty")
    )
    assert result.returncode == 1
    assert "data.path=" in result.stderr
    assert "Traceback" not in result.stderr
