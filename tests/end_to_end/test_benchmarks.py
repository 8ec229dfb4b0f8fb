"""The benchmarks that need an idle machine, or a GPU, work: each once, at sizes that say nothing of speed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from hub_server import parquet_bytes

from sentiment.config.home import PROJECT_DIR
from sentiment.search.workers import slots

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


def test_trials_at_once_on_the_card_are_all_on_one_card(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT_DIR / "experiments" / "gpu"))
    import measure

    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\n[ "$3" = --id=2 ] && echo 5\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0,1,3")
    measure.keep_to_one_card()
    monkeypatch.setattr(slots, "make_own_folder", lambda prefix: tmp_path)
    options = SimpleNamespace(trials_per_device=4, threads_per_job=1, devices_per_trial=1, devices="auto")
    assert {slot.device for slot in slots.take_slots(options, slots.list_devices("auto"), 4)} == {"2"}
    assert measure._read_memory() == 5 * 2**20


def test_a_step_is_timed_beside_the_peers_on_the_same_batches(tmp_path):
    shown = call("speed/step.py", "--rounds", "1", "--steps", "1", "--results", str(tmp_path))
    seconds = json.loads((tmp_path / "step.json").read_text())["seconds"]
    products = "ours, matrix products alone"
    assert list(seconds["Transformer"]) == ["ours", "ours again", "plain attention", "nn.TransformerEncoder", products]
    assert list(seconds["LSTM"]) == ["ours", "ours again", "nn.LSTM, padded", "nn.LSTM, packed", products]
    assert all(network[products][0] > 0 for network in seconds.values())
    assert "| LSTM, nn.LSTM, packed |" in shown


def test_matrix_products_take_no_more_than_the_work_that_they_are_a_part_of(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT_DIR / "experiments" / "speed"))
    from steps import ProductClock

    layer, batch = torch.nn.Linear(300, 300), torch.ones(300, 300)
    clock, began = ProductClock(), time.process_time()
    with clock:
        layer(batch).relu().sum().backward()
    assert 0 < clock.seconds <= time.process_time() - began


def test_a_run_on_a_shared_machine_is_timed(tmp_path):
    tiny = ["--reviews", "40", "--epochs", "1", "--cases", "alone again", "beside busy processes"]
    shown = call("speed/shared_machine.py", "--repeats", "1", *tiny, "--results", str(tmp_path))
    seconds = json.loads((tmp_path / "shared_machine.json").read_text())["seconds"]
    assert list(seconds) == ["alone", "alone again", "beside busy processes"]
    assert "| alone | 1.00 |" in shown


def test_starts_are_timed_beside_their_libraries(tmp_path):
    shown = call("speed/start_up.py", "--rounds", "1", "--results", str(tmp_path))
    seconds = json.loads((tmp_path / "start_up.json").read_text())["seconds"]
    assert all(0 < processor < 600 for ((_, processor),) in seconds.values())
    assert seconds["run.py --cfg job"][0][1] > seconds["import hydra"][0][1]
    assert "| run.py, first step |" in shown


def test_the_growth_of_work_is_measured(tmp_path):
    shown = call("speed/growth.py", "--tiny", "--results", str(tmp_path))
    curves = json.loads((tmp_path / "growth.json").read_text())["curves"]
    assert [(name, len(rows)) for name, rows in curves.items()] == [
        ("transformer, length", 2), ("rnn, length", 2), ("reviews", 2),
    ]  # fmt: skip
    assert all(0 < row["before"] < row["memory"] for row in curves["transformer, length"])
    assert "| reviews: whole command | 100, 200 |" in shown


def test_the_engine_is_timed_beside_the_stock_plugin():
    assert call("sweep_engine/overhead.py", "--trials", "3").count("\n| ") == 3
    assert "The stock plugin takes" in call("sweep_engine/idle_time.py", "--trials", "3")


def test_the_growth_of_a_study_is_measured(tmp_path):
    file = tmp_path / "some.json"
    shown = call("sweep_engine/growth.py", "--only", "random", "--sizes", "30", "--results", str(file))
    [record] = json.loads(file.read_text())
    [(size, milliseconds, _)] = record["results"]["random"]["curve"]
    assert (size, milliseconds > 0) == (30, True)
    assert "one size has no slope" in shown


@pytest.mark.parametrize(
    ("policy", "end"), [("stock", "hydra.sweeper.n_trials=1"), ("default", "hydra.sweeper.full_trials=1")]
)
def test_a_real_study_tells_when_it_had_found_what(policy, end, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT_DIR / "experiments" / "search_efficiency"))
    import real

    tiny = ["data.train_size=40", "data.test_size=10", "model.embedding_size=64", "trainer.max_epochs=1", end]
    began = time.time()
    command = [sys.executable, "run.py", *real.list_commands(0, tmp_path, tiny)[policy]]
    subprocess.run(command, cwd=PROJECT_DIR, check=True, capture_output=True)
    [(seconds, validation, test)] = real._read_trials(tmp_path, began)
    assert 0 < seconds < time.time() - began
    assert all(0 <= accuracy <= 1 for accuracy in (validation, test))


def test_a_real_study_that_ends_by_itself_is_no_result(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as caught:
        call("search_efficiency/real.py", "--seeds", "1", "--results", str(tmp_path), "data.train_size=three")
    assert "ended by itself with 1" in caught.value.stderr
    assert not (tmp_path / "real.jsonl").exists()


@pytest.fixture
def reviews(tmp_path):
    folder = tmp_path / "imdb"
    folder.mkdir()
    for split in ("train", "test", "unsupervised"):
        texts = [f"{split} {number} {'good' if number % 2 else 'bad'}" for number in range(60)]
        labels = [-1 if split == "unsupervised" else number % 2 for number in range(60)]
        (folder / f"{split}-00000-of-00001.parquet").write_bytes(parquet_bytes(texts, labels))
    return folder


def test_runs_are_averaged_and_settings_collected(reviews, tmp_path):
    data = ["model=ngram", "data=imdb", f"data.path={reviews}", "tracking=none", "trainer.test=false"]
    data.append(f"data.cache_dir={tmp_path / 'cache'}")
    sweep = tmp_path / "sweep"
    command = [sys.executable, "run.py", "-m", *data, "model.max_n=1,2", f"hydra.sweep.dir={sweep}"]
    subprocess.run(command, cwd=PROJECT_DIR, check=True, capture_output=True)
    shown = call("imdb/average.py", str(reviews), str(sweep / "0"), str(sweep / "1"))
    assert f"| {sweep / '0'}, {sweep / '1'} | 100.00 % |" in shown
    call("ngram/collect.py", str(sweep), "--results", str(tmp_path / "results.csv"))
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 3
