"""A job that fails costs its trial, with its reason kept; too many end the study in a message, never in a traceback."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

ACCIDENTS = {
    "error": ("exception", "cfg.error is True"),
    "memory": ("out_of_memory", "no memory left"),
    "not_a_number": ("non_finite_loss", "nan"),
    "teach": ("exception", "a lesson"),
    "kill": ("worker_died", "SIGKILL"),
}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_accident_beside_good_trials(study, n_jobs: int):
    """One of six fails in each way; the job that ends its own process needs a process of its own."""
    accidents = [name for name in ACCIDENTS if n_jobs > 1 or name != "kill"]
    code, output = study.run(
        f"accident=none,{','.join(accidents)}",
        *("x=1", "y=1", "hydra/sweeper/sampler=grid", "hydra.sweeper.max_failure_rate=0.9", "hydra.sweeper.retry=none"),
        n_trials=20,
        n_jobs=n_jobs,
    )
    assert code == 0, output
    trials = {trial.params["accident"]: trial for trial in study.trials()}
    assert trials.pop("none").state.name == "COMPLETE"
    assert trials.keys() == set(accidents)
    for accident, trial in trials.items():
        kind, reason = ACCIDENTS[accident]
        assert trial.state.name == "FAIL"
        assert trial.user_attrs["failure.kind"] == kind
        assert reason in trial.user_attrs["failure.reason"]
        assert "\n" not in trial.user_attrs["failure.reason"]
    assert "RuntimeError: cfg.error is True" in trials["error"].user_attrs["failure.traceback"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_too_many_failures_end_the_study_with_their_reasons(study, n_jobs: int, is_one_screen):
    code, output = study.run("accident=error", "hydra.sweeper.max_failure_rate=0.2", n_trials=10, n_jobs=n_jobs)
    assert code == 1
    message = output.rpartition("[HYDRA]")[2]
    assert "3 trials of the study 'study' failed in this command, 2 may" in message
    assert message.count("cfg.error is True") == 3
    assert is_one_screen(message)


def test_one_failure_too_many_is_one_trial(study):
    _, output = study.run("accident=error", "hydra.sweeper.max_failure_rate=0", n_trials=2, n_jobs=1)
    assert "1 trial of the study 'study' failed in this command, 0 may" in output


def test_a_study_of_which_no_trial_finishes_fails(study, is_one_screen):
    code, output = study.run("accident=not_a_number", "hydra.sweeper.max_failure_rate=1", n_trials=3)
    assert code == 1
    assert "No trial of the study 'study' finished: 3 failed" in output
    assert is_one_screen(output)
    again, repeated = study.run("accident=not_a_number", "hydra.sweeper.max_failure_rate=1", n_trials=3)
    assert again == 1
    assert "No trial of the study 'study' finished: 3 failed" in repeated
    assert study.states() == {"FAIL": 6}, "each was tried again, under another number"
