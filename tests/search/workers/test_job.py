"""What a job is told of itself: its folder, and whether an earlier process has begun it."""

from __future__ import annotations

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
