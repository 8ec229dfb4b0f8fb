"""A job that hangs: its worker is ended, its trial has failed with the reason, and the others are trained."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_hung_job_costs_its_one_trial(study, n_jobs: int):
    gate = study.folder / "gate"
    gate.touch()
    # Long enough for a worker to start on a busy machine.
    limits = ("hydra.sweeper.progress_timeout=15s", "hydra.sweeper.max_failure_rate=1", "hydra.sweeper.retry=none")
    command = study.start(*limits, f"gate={gate}", n_trials=3, n_jobs=n_jobs, seconds=0.1)
    study.wait_until(lambda: any(trial.state.name == "FAIL" for trial in study.trials()) if study.starts else False)
    gate.unlink()
    assert command.finish() == 0, command.output
    study.require_whole(3)
    failed = [trial for trial in study.trials() if trial.state.name == "FAIL"]
    assert 1 <= len(failed) <= n_jobs
    assert {trial.user_attrs["failure.reason"] for trial in failed} == {"it did not get on for progress_timeout=15.0 s"}
