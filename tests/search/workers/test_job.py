"""What a job is told of itself: its folder, and whether an earlier process has begun it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sentiment.search.study.current import current_trial

STUDY = ["x=choice(1)", "hydra.sweeper.n_trials=1", "hydra.sweeper.repeats=2"]


def test_a_job_that_was_stopped_finds_its_checkpoint_in_its_folder(sweep, study_dir):
    attempts = []

    def work(config):
        trial = current_trial()
        checkpoint = trial.folder / "checkpoint"
        attempts.append((trial.repeat, trial.attempt, trial.folder, checkpoint.exists()))
        checkpoint.touch()
        if attempts == [(0, 1, study_dir / "0", False)]:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        sweep(*STUDY, task=work)
    (trial,) = sweep(*STUDY, task=work).trials
    assert attempts[1:] == [(0, 2, study_dir / "0", True), (1, 1, study_dir / "1", False)]
    assert trial.value == 1.0


def test_a_task_that_removes_its_own_folder_has_its_result(sweep):
    def work(config):
        shutil.rmtree(Path.cwd())
        return 1.0

    study = sweep("x=choice(1,2)", "hydra.sweeper.n_trials=2", "hydra.job.chdir=true", task=work)
    assert [trial.value for trial in study.trials] == [1.0, 1.0]


def test_a_task_that_changes_the_working_folder_moves_no_later_job(sweep, tmp_path):
    folders = []

    def work(config):
        folders.append(current_trial().folder)
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        os.chdir(tmp_path / "elsewhere")
        return 1.0

    sweep("x=choice(1,2)", "hydra.sweeper.n_trials=2", task=work, study_dir=Path("study"))
    assert folders == [tmp_path / "study/0", tmp_path / "study/1"]
