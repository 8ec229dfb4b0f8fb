"""The benchmarks that need an idle machine, or a GPU, work: each once, at sizes that say nothing of speed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sentiment.config.home import PROJECT_DIR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def call(script, *arguments):
    command = [sys.executable, str(PROJECT_DIR / "experiments" / script), *arguments]
    return subprocess.run(command, cwd=PROJECT_DIR, check=True, capture_output=True, text=True).stdout


def test_the_gpu_script_measures_every_part(tmp_path):
    shown = call("gpu/measure.py", "--device", "cpu", "--tiny", "--results", str(tmp_path))
    record = json.loads((tmp_path / "cpu.json").read_text())
    assert {(row["network"], row["precision"]) for row in record["steps"]} == {
        (network, precision) for network in ("transformer", "rnn") for precision in ("float32", "bfloat16")
    }
    assert all(row["reviews_per_second"] > 0 and row["share_of_peak"] > 0 for row in record["steps"])
    assert all(0 <= row["test"] <= 1 for row in record["trainings"])
    assert [(row["at_once"], row["trials"]) for row in record["studies"]] == [(1, 2), (2, 4)]
    assert "| trials at once | trials an hour |" in shown


def test_a_step_is_timed_beside_the_peers_on_the_same_batches(tmp_path):
    shown = call("speed/step.py", "--rounds", "1", "--steps", "1", "--results", str(tmp_path))
    seconds = json.loads((tmp_path / "step.json").read_text())["seconds"]
    assert list(seconds["Transformer"]) == ["ours", "ours again", "plain attention", "nn.TransformerEncoder"]
    assert list(seconds["LSTM"]) == ["ours", "ours again", "nn.LSTM, padded", "nn.LSTM, packed"]
    assert "| LSTM, nn.LSTM, packed |" in shown
