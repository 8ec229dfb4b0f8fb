"""Damaged files of a sweep, given to the commands that read sweeps, and to the command that goes on with one."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import sentiment.tracking.runs
from sentiment.__main__ import main
from sentiment.config import home
from sentiment.config.reading import read_settings
from sentiment.search.study.address_file import STUDY_FILE
from sentiment.tracking.outbox import DELIVERY_FILE
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.parent_file import PARENT_FILE
from sentiment.tracking.result_file import RESULT_FILE, ResultRecord, write_result
from tests.hostile.outcomes import observe

DEEP = b'{"metrics": ' + b"[" * 100_000
DAMAGES: dict[str, Any] = {
    "empty": b"", "null bytes": b"\0" * 4096, "no utf-8": b"\xff\xfe{", "a list": b"[]", "a number": b"7",
    "deep": DEEP, "cut": lambda text: text[: len(text) // 2],
    "a new key": {"novelty": 1}, "a text for metrics": {"metrics": "good"}, "a list of metrics": {"metrics": [1]},
    "a text for a number": {"metrics": {"val/accuracy": "high"}}, "no params": {"params": None},
    "numbers for params": {"params": {"seed": 1}}, "a flat history": {"history": [1, 2]},
    "a validation without an epoch": {"history": [{"step": 1, "val/loss": 0.5}]}, "no time": {"started": "yesterday"},
    "unknown status": {"status": "FINE"}, "a text for a job": {"job_number": "first"},
    "a list for a name": {"name": []},
}  # fmt: skip
"""Bytes, what to make of the right bytes, or values that are put into the right file."""


def damage(file: Path, how: str) -> None:
    change = DAMAGES[how]
    if isinstance(change, dict):
        change = json.dumps({**json.loads(file.read_text(encoding="utf-8")), **change}).encode()
    file.write_bytes(change(file.read_bytes()) if callable(change) else change)


@pytest.fixture
def sweep_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's folder with two runs."""
    folder = tmp_path / "multirun" / "sweep"
    with initialize_config_dir(str(home.PROJECT_DIR / "conf")):
        settings = flatten_settings(read_settings(compose("config", ["model=rnn"]), tmp_path))
    for number in (0, 1):
        own = {**settings, "seed": str(number)}
        record = ResultRecord(
            f"rnn {number}", "rnn", "FINISHED", "2026-01-01T00:00:00+00:00", ("model=rnn", f"seed={number}"), own,
            job_number=number, metrics={"val/accuracy": 0.7 + number / 10}, seconds=1.0,
            history=({"step": 1, "epoch": 1.0, "val/accuracy": 0.7},),
        )  # fmt: skip
        write_result(folder / str(number), record)
    monkeypatch.setattr(sentiment.tracking.runs, "MULTIRUN_DIR", tmp_path / "multirun")
    shutil.copytree(home.PROJECT_DIR / "conf", tmp_path / "conf")
    monkeypatch.setattr(home, "PROJECT_DIR", tmp_path)
    monkeypatch.setattr("sentiment.report.sweep.page.write_png", lambda chart, file: file.touch())  # takes a second
    monkeypatch.chdir(tmp_path)
    return folder


COMMANDS = {
    "report": ["report", "sweep"],
    "best": ["best", "sweep", "--no-register", "--name", "hostile"],
    "compare": ["compare", "sweep", "--by", "seed"],
    "compare two": ["compare", "sweep/0", "sweep/1"],
}


@pytest.mark.parametrize(
    "command", ["best", *(pytest.param(one, marks=pytest.mark.slow) for one in COMMANDS if one != "best")]
)
def test_a_damaged_result_is_named(command: str, sweep_dir: Path, capsys: pytest.CaptureFixture[str], caplog):
    file = sweep_dir / "0" / RESULT_FILE
    right = file.read_bytes()
    for how in DAMAGES:
        file.write_bytes(right)
        damage(file, how)
        caplog.clear()
        outcome = observe(f"{RESULT_FILE}, {command}", lambda: main(COMMANDS[command]))
        said = outcome.text + capsys.readouterr().out + caplog.text
        assert outcome.is_sound, (how, outcome)
        assert str(file) in said.replace("\n", ""), (how, said)


@pytest.mark.slow
@pytest.mark.parametrize("name", [STUDY_FILE, PARENT_FILE])
@pytest.mark.parametrize("command", ["report", "best", "compare"])
def test_a_damaged_file_of_the_sweep_is_named(name: str, command: str, sweep_dir: Path):
    for how, change in DAMAGES.items():
        if not isinstance(change, dict) or how == "a new key":
            (sweep_dir / name).write_text("{}" if isinstance(change, dict) else '{"study_name": "a"}', encoding="utf-8")
            damage(sweep_dir / name, how)
            outcome = observe(f"{name}, {command}", lambda: main(COMMANDS[command]))
            assert outcome.is_sound, (how, outcome)


def test_a_study_goes_on_or_says_which_file_is_damaged(sweep, study_dir: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    space = ["x=choice(1,2,3)", "hydra.sweeper.n_trials=1", "hydra.sweeper.study_name=mine"]
    sweep(*space)
    file = study_dir / STUDY_FILE
    right = file.read_bytes()
    for how in [name for name, change in DAMAGES.items() if not isinstance(change, dict)]:
        damage(file, how)
        outcome = observe(f"{STUDY_FILE}, resumed", lambda: sweep(*space))
        assert outcome.kind == "refused in one screen", (how, outcome)
        assert str(file) in outcome.text
        file.write_bytes(right)
    sweep(*space)
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_run_that_goes_on_in_its_folder_is_recorded_anew(how: str, sweep_dir: Path, caplog: pytest.LogCaptureFixture):
    from sentiment.tracking.result_file import read_ended, read_left

    damage(sweep_dir / "0" / RESULT_FILE, how)
    for read in (read_ended, lambda *given: read_left(*given).record):
        found: list[Any] = []
        outcome = observe(f"{RESULT_FILE}, resumed", lambda: found.append(read(sweep_dir / "0", {})))  # noqa: B023
        assert (outcome.kind, found) == ("accepted", [None]), outcome
    assert "recorded anew" in caplog.text


def test_a_damaged_delivery_starts_anew(sweep_dir: Path):
    from sentiment.tracking.outbox import Delivery, read_delivery

    for how, change in DAMAGES.items():
        if not isinstance(change, dict):
            (sweep_dir / DELIVERY_FILE).write_text("{}", encoding="utf-8")
            damage(sweep_dir / DELIVERY_FILE, how)
            outcome = observe(f"{DELIVERY_FILE}, read", lambda: read_delivery(sweep_dir))
            assert outcome.kind == "accepted", (how, outcome)
            assert how == "cut" or read_delivery(sweep_dir) == Delivery()
