"""Several commands on one study share its trials, whatever stores it."""

from __future__ import annotations

import re

import pytest

from tests.search.faults.conftest import PROMOTION

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "commands"),
    [
        ("journal", 2),
        ("journal", 3),
        ("sqlite", 2),
        pytest.param("postgresql", 3, marks=pytest.mark.postgresql),
    ],
)
def test_commands_started_at_once_share_the_trials(study, kind: str, commands: int, request: pytest.FixtureRequest):
    if kind == "sqlite":
        study.storage_url = f"sqlite:///{study.folder / 'study.db'}"
    elif kind == "postgresql":
        study.storage_url = request.getfixturevalue("postgresql_url")
    started = [study.start(n_trials=10, n_jobs=2, seconds=0.3) for _ in range(commands)]
    for command in started:
        assert command.finish() == 0, command.output
    study.require_whole(10)
    assert study.states() == {"COMPLETE": 10}
    assert sorted(number for number, _ in study.starts) == list(range(10)), "each trial runs once"
    best = {re.findall(r"Best parameters: (.*)", command.output)[-1] for command in started}
    assert len(best) == 1
    workers = [set(re.findall(r"#(\d+) started", command.output)) for command in started]
    assert all(workers), "every command did a part"


@pytest.mark.parametrize("kind", ["journal", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def test_commands_at_once_promote_each_trial_once(study, kind: str, request: pytest.FixtureRequest):
    if kind == "postgresql":
        study.storage_url = request.getfixturevalue("postgresql_url")
    started = [study.start(*PROMOTION, n_trials=20, n_jobs=2, seconds=1.5) for _ in range(2)]
    for command in started:
        assert command.finish(200) == 0, command.output
    study.require_promoted(20)
    owners = {trial.system_attrs["study:owner"] for trial in study.trials()}
    assert len(owners) == 2, "every command did a part"
