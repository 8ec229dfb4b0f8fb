"""A study read back as a report needs it, without its noticing."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from optuna.trial import create_trial

from sentiment.credentials import STORAGE_PASSWORD
from sentiment.errors import RunPruned
from sentiment.search.space.parameters import name_key
from sentiment.search.storage.address import StorageError, read_address
from sentiment.search.study.address_file import read_study_address, write_study_address
from sentiment.search.study.current import current_trial
from sentiment.search.study.history import (
    StudyMissingError,
    has_study,
    parse_history,
    read_study,
    read_trial,
    write_history,
)
from sentiment.search.study.trial import JOB_KEY

TOY_DIR = Path(__file__).parents[1] / "toy"

LOG_SPACE = ("x=tag(log,interval(0.01,3))", "y=1,2")


def evaluate_in_steps(config):
    trial = current_trial()
    trial.describe({"size": float(config.y)})
    if config.x > 4:
        raise RuntimeError("too far out")
    for step in range(2):
        trial.report(float(config.x) + step, step=step)
    return float(config.x) + float(config.y)


def snapshot(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_every_trial_is_told(sweep, study_dir, tmp_path):
    study = sweep(
        *LOG_SPACE, "hydra.sweeper.n_trials=6", "hydra.sweeper.metric_names=[distance]", task=evaluate_in_steps
    )
    history = read_study(None, study_dir)
    assert (history.objectives, history.directions, history.repeats) == (("distance",), ("minimize",), 1)
    assert history.log_scaled == {"x"}
    assert history.best == (study.best_trial.number,)
    for trial, stored in zip(history.trials, study.trials, strict=True):
        assert (trial.number, trial.state, trial.parameters) == (stored.number, "complete", stored.params)
        assert trial.values == tuple(stored.values)
        assert trial.intermediate == {0: trial.parameters["x"], 1: trial.parameters["x"] + 1}
        assert trial.attributes == {"size": trial.parameters["y"]}
        assert trial.started == stored.datetime_start.timestamp()
        assert trial.ended == stored.datetime_complete.timestamp() >= trial.started


def test_failures_and_prunings_have_their_reasons(sweep, study_dir):
    sweep(
        "x=1,2,3,5", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=4", "hydra.sweeper.max_failure_rate=1",
        "hydra.sweeper.retry=none",
        "hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.pruner.n_warmup_steps=0", task=evaluate_in_steps,
    )  # fmt: skip
    trials = read_study(None, study_dir).trials
    (failed,) = [trial for trial in trials if trial.state == "failed"]
    assert (failed.parameters["x"], failed.kind, failed.values) == (5, "exception", ())
    assert "too far out" in failed.reason
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert all(trial.reason.startswith("pruned by MedianPruner") and trial.intermediate for trial in pruned)
    assert len(pruned) + sum(trial.state == "complete" for trial in trials) == 3


def test_reused_trials_name_their_source(sweep, study_dir):
    sweep("x=1,2", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=8")
    trials = read_study(None, study_dir).trials
    reused = [trial for trial in trials if trial.reused_from is not None]
    assert len(reused) >= 4
    assert all(trials[trial.reused_from].parameters == trial.parameters for trial in reused)


@pytest.mark.parametrize("value", ["mean", "bound"])
def test_of_repeats_the_plain_mean_is_told_beside_the_bound_that_ranks(sweep, study_dir, value):
    options = ["x=1,2", "hydra/sweeper/sampler=grid", "hydra.sweeper.repeats=2", f"hydra.sweeper.repeat_value={value}"]
    sweep(*options, task=lambda config: float(config.x) * (1 + float(config.seed)))
    history = read_study(None, study_dir)
    means = {trial.parameters["x"]: trial.means or trial.values for trial in history.trials}
    assert means == {1: (1.5,), 2: (3.0,)}
    bounds = {trial.parameters["x"]: trial.values for trial in history.trials if trial.means}
    assert bounds == ({1: (2.0,), 2: (4.0,)} if value == "bound" else {})
    assert parse_history(write_history(history)) == history


BRANCHED = """# @package _global_
hydra:
  sweeper:
    params: {shape: "flat,round"}
    branches:
      shape=round: {x: "interval(0,1)"}
"""


def test_branches_and_repeats(sweep, study_dir, tmp_path):
    shutil.copytree(TOY_DIR / "conf", tmp_path / "conf")
    (tmp_path / "conf/space").mkdir()
    (tmp_path / "conf/space/branched.yaml").write_text(BRANCHED, encoding="utf-8")
    sweep(
        "+space=branched", "hydra.sweeper.n_trials=6", "hydra.sweeper.repeats=2", "hydra/sweeper/sampler=random",
        config_dir=tmp_path / "conf",
    )  # fmt: skip
    history = read_study(None, study_dir)
    assert history.repeats == 2
    assert history.conditions == {"x": ("shape=round",)}
    assert parse_history(write_history(history)) == history
    assert all(("x" in trial.parameters) == (trial.parameters["shape"] == "round") for trial in history.trials)


@pytest.mark.parametrize(
    ("choices", "opener"), [("flat,round", "round"), ("true,false", "true"), ("null,round", "null")]
)
def test_trials_of_before_a_branch_had_the_configuration_s_own_value_whatever_opens_it(
    sweep, study_dir, tmp_path, choices, opener
):
    """A switch is written as True in conditions, and told as true of trials."""
    shutil.copytree(TOY_DIR / "conf", tmp_path / "conf")
    (tmp_path / "conf/space").mkdir()
    branched = BRANCHED.replace("shape=round", f"mark={opener}").replace('shape: "flat,round"', f'mark: "{choices}"')
    (tmp_path / "conf/space/branched.yaml").write_text(branched, encoding="utf-8")
    before = [f"mark={choices}", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=1"]
    sweep(*before, "hydra.sweeper.n_trials=4")
    options = ["+space=branched", *before[1:], "hydra.sweeper.allow_changes=true", "hydra.sweeper.n_trials=5"]
    sweep(*options, config_dir=tmp_path / "conf")
    trials = read_study(None, study_dir).trials[:4]
    assert {("x" in trial.parameters, trial.parameters["mark"] == opener) for trial in trials} == {
        (True, True),
        (False, False),
    }


def test_the_best_keeps_the_limits(sweep, study_dir):
    sweep(
        "y=1,2,3", "x=0.5", "hydra.sweeper.n_trials=12", "hydra.sweeper.limits={size: 2}",
        "hydra.sweeper.direction=maximize", "hydra.sweeper.reuse=false", task=evaluate_in_steps,
    )  # fmt: skip
    history = read_study(None, study_dir)
    (best,) = history.best
    assert history.trials[best].parameters["y"] == 2
    assert all((trial.excess == {"size": 1}) == (trial.parameters["y"] == 3) for trial in history.trials)
    assert any(trial.excess for trial in history.trials)


def test_reading_leaves_no_trace(sweep, study_dir):
    sweep("x=1,2", "hydra.sweeper.n_trials=2")
    before = snapshot(study_dir)
    read_study(None, study_dir)
    assert snapshot(study_dir) == before


def test_a_database_study_is_found_from_its_folder(sweep, study_dir, tmp_path):
    url = f"sqlite:///{tmp_path / 'all.db'}"
    sweep("x=1,2", "hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=first", storage=url)
    assert has_study(study_dir)
    before = snapshot(tmp_path)
    history = read_study(None, study_dir)
    assert (history.name, len(history.trials)) == ("first", 2)
    assert snapshot(tmp_path) == before
    assert read_study_address(study_dir).command.startswith("python ")


def test_a_running_trial_is_running(sweep, study_dir):
    seen = []

    def look(config):
        seen.append(read_study(None, study_dir).trials[-1])
        return float(config.x)

    sweep("x=1,2", "hydra.sweeper.n_trials=1", task=look)
    assert [(trial.state, trial.ended) for trial in seen] == [("running", None)]


@pytest.mark.parametrize("ending", ["complete", "pruned", "failed"])
def test_what_ended_after_its_command_was_gone_is_told_as_the_next_command_tells_it(sweep, study_dir, gone, ending):
    def run(config):
        trial = current_trial()
        trial.describe({"size": float(config.x)})
        trial.report(float(config.x), step=0)
        if trial.number == 1 and ending == "pruned":
            raise RunPruned("hopeless")
        if trial.number == 1 and ending == "failed":
            raise ValueError("no")
        return float(config.x) - trial.number + float(config.seed) ** 2

    options = [
        "x=1,3", "hydra.sweeper.n_trials=3", "hydra.sweeper.repeats=2", "hydra.sweeper.repeat_value=bound",
        "hydra.sweeper.limits={size: 2}", "hydra.sweeper.retry=none", "hydra.sweeper.max_failure_rate=1",
        "hydra.sweeper.reuse=none", "hydra.sweeper.start=[{x: 3}, {x: 1}]",
    ]  # fmt: skip
    with gone(1):
        sweep(*options, task=run)
    between = read_study(None, study_dir)
    assert [trial.state for trial in between.trials] == ["complete", ending, "waiting"][: len(between.trials)]
    assert between.best == ((1,) if ending == "complete" else ())
    sweep(*options, task=lambda config: current_trial().describe({"size": 1.0}) or 9.0)
    after = read_study(None, study_dir)
    for one, other in zip(between.trials[:2], after.trials, strict=False):
        assert replace(one, ended=None) == replace(other, ended=None)
    assert between.trials[1].ended >= between.trials[1].started


def test_whose_result_a_trial_shares_is_told_before_the_next_command_tells_it(sweep, study_dir, gone):
    options = ["x=choice(1)", "hydra.sweeper.n_trials=2"]
    with gone(1):
        sweep(*options)
    between = read_study(None, study_dir)
    sweep(*options)
    after = read_study(None, study_dir)
    assert [trial.reused_from for trial in between.trials] == [None, 0]
    assert [replace(one, ended=None) for one in between.trials] == [replace(one, ended=None) for one in after.trials]


def test_a_trial_of_the_hour_that_summer_time_ends_with_began_when_its_job_did(monkeypatch):
    begun = datetime(2026, 10, 25, 1, 30, tzinfo=timezone.utc).timestamp()
    trial = create_trial(value=1.0, system_attrs={JOB_KEY: {"repeat": 0, "since": begun + 9, "until": begun + 590}})
    trial.datetime_start, trial.datetime_complete = datetime(2026, 10, 25, 2, 30), datetime(2026, 10, 25, 2, 40)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Zurich")
        time.tzset()
        told = read_trial(trial, 1)
    time.tzset()
    assert (told.started, told.ended, told.worked_until) == (begun, begun + 600, begun + 590)


def test_what_is_not_there_is_named(sweep, study_dir, tmp_path):
    assert not has_study(tmp_path)
    with pytest.raises(StudyMissingError, match=r"no study at journal file .*\n.*name the folder of a study"):
        read_study(None, tmp_path)
    assert list(tmp_path.iterdir()) == []
    sweep("x=1,2", "hydra.sweeper.n_trials=1")
    with pytest.raises(StudyMissingError, match="no study 'other'; it holds study"):
        read_study(None, study_dir, "other")


def test_no_database_is_made_by_looking_for_one(tmp_path):
    with pytest.raises(StudyMissingError, match="does not exist"):
        read_study(f"sqlite:///{tmp_path / 'none.db'}", tmp_path)
    (tmp_path / "empty.db").touch()
    with pytest.raises(StorageError, match=r"empty\.db"):
        read_study(f"sqlite:///{tmp_path / 'empty.db'}", tmp_path)
    assert (tmp_path / "empty.db").read_bytes() == b""


def test_a_password_is_neither_written_nor_lost(tmp_path, monkeypatch):
    url = "postgresql://me:secret@host:5432/studies?password=secret&sslmode=require"
    write_study_address(tmp_path, "mine", url, f"python run.py -m hydra.sweeper.storage='{url}'")
    assert "secret" not in (tmp_path / "study.json").read_text(encoding="utf-8")
    known = read_study_address(tmp_path)
    assert known.storage.startswith("postgresql")
    assert "me@host:5432/studies?sslmode=require" in known.storage
    monkeypatch.setenv(STORAGE_PASSWORD, "secret")
    assert read_address(known.storage, tmp_path).url.password == "secret"
    assert read_address(None, tmp_path).url is None


@pytest.mark.parametrize("storage", ["journal://{}/my%20studies/s.log", "sqlite:///{}/s.db"])
def test_a_storage_is_moved_and_copied_with_the_folder_of_the_command(tmp_path, monkeypatch, storage):
    first, second = tmp_path / "first", tmp_path / "second"
    for name, place in (("within", first), ("outside", tmp_path / "shared")):
        (first / name).mkdir(parents=True)
        monkeypatch.chdir(first)
        write_study_address(first / name, "mine", storage.format(place), None)
    shutil.copytree(first, second)
    for folder in (first, second):
        monkeypatch.chdir(folder)
        for within in (folder / "within", Path("within")):
            assert read_study_address(within).storage == storage.format(folder)
        assert read_study_address(folder / "outside").storage == storage.format(tmp_path / "shared")


def test_the_first_command_is_kept(tmp_path):
    write_study_address(tmp_path, "mine", None, "python run.py -m first")
    write_study_address(tmp_path, "mine", None, "python run.py -m second")
    known = read_study_address(tmp_path)
    assert (known.command, known.last_command) == ("python run.py -m first", "python run.py -m second")
    content = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert content["storage"] is None


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "study.json").write_text("{", encoding="utf-8")
    with pytest.raises(StorageError, match=r"study\.json cannot be read.*\n.*remove it"):
        read_study_address(tmp_path)


@pytest.mark.parametrize(
    ("name", "key"), [("model.depth[model=rnn]", "model.depth"), ("+new", "new"), ("x", "x"), ("a[b=1]", "a")]
)
def test_parameters_go_by_their_keys(name, key):
    assert name_key(name) == key
