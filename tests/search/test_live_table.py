"""The table on a terminal: what it shows of a study, what stays above it, what it leaves behind."""

from __future__ import annotations

import io
import logging
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from sentiment.search.live_table import LiveTable, render
from sentiment.search.progress import RunningJob, StudyState
from sentiment.search.study.trial import PROGRESS_KEY

DISTRIBUTIONS = {"optimizer.lr": FloatDistribution(0.0, 1.0), "model.depth": IntDistribution(1, 9)}


def make_trial(number, state, *, value=None, seconds=10, progress=None, reason=None, reused_from=None):
    trial = create_trial(
        state=state,
        value=value,
        params={"optimizer.lr": 0.012345, "model.depth": 3},
        distributions=DISTRIBUTIONS,
        user_attrs={k: v for k, v in (("failure.reason", reason), ("reused_from", reused_from)) if v is not None},
        system_attrs={} if progress is None else {PROGRESS_KEY: progress},
    )
    trial.number = number
    trial.datetime_start = datetime(2026, 1, 1)
    if state.is_finished():
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=seconds)
    return trial


def make_state(trials, running=(), best=(), *, total=10):
    return StudyState("lr-study", Path("/studies/lr"), ["maximize"], total, trials, best, running, 61.0)


def run_job(trial, seconds=5.0, slot="GPU 0"):
    return RunningJob(trial, slot, seconds, {"optimizer.lr": 0.012345, "model.depth": 3})


DONE = make_trial(0, TrialState.COMPLETE, value=0.91, seconds=10)
PRUNED = make_trial(1, TrialState.PRUNED, seconds=2)
FAILED = make_trial(2, TrialState.FAIL, reason="RuntimeError: boom [red]")
HERE = make_trial(3, TrialState.RUNNING, progress=[0.5, "epoch 2/4, 0.8800"])
THERE = make_trial(4, TrialState.RUNNING, progress=[0.25, ""])
STATE = make_state([DONE, PRUNED, FAILED, HERE, THERE], [run_job(3)], [DONE])


def make_console(width=120, height=25):
    return Console(record=True, force_terminal=True, width=width, height=height, file=io.StringIO(), highlight=False)


def draw(state, *, slots=1, max_rows=20, width=120):
    console = make_console(width)
    console.print(render(state, slots, max_rows=max_rows))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_running_trial_has_its_progress_slot_time_and_parameters():
    line = next(line for line in draw(STATE) if line.startswith("#3"))
    for content in ("50%", "epoch 2/4, 0.8800", "GPU 0", "5.0 s", "lr=0.01235", "depth=3"):
        assert content in line
    assert "optimizer.lr" not in line


def test_parameters_that_share_their_last_word_keep_the_whole_key():
    job = replace(run_job(3), values={"a.size": 1, "b.size": 2, "b.depth": 3})
    line = next(line for line in draw(make_state([HERE], [job])) if line.startswith("#3"))
    assert "a.size=1 b.size=2 depth=3" in line


def test_a_trial_that_another_command_runs_is_shown_too():
    line = next(line for line in draw(STATE) if line.startswith("#4"))
    assert "elsewhere" in line
    assert "25%" in line


def test_the_last_line_counts_and_names_the_best():
    last = draw(STATE)[-1]
    assert last.startswith("2 running, 1 done, 1 pruned, 1 failed of 10; best 0.91 (#0); about ")
    assert last.endswith(" left")


def test_an_objective_with_a_name_is_written_as_people_read_it():
    last = draw(replace(STATE, metric_names=["val/accuracy"]))[-1]
    assert "; best 91.00 % (#0); " in last


def test_without_a_result_there_is_no_best_and_no_time_left():
    assert draw(make_state([make_trial(0, TrialState.RUNNING)], [run_job(0)]))[-1] == "1 running, 0 done of 10"


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_line_is_longer_than_the_screen_is_wide(width):
    lines = draw(STATE, width=width)
    assert len(lines) == 4
    assert all(len(line) <= width for line in lines)


def test_more_jobs_than_the_screen_has_room_for_are_counted():
    trials = [make_trial(number, TrialState.RUNNING) for number in range(9)]
    lines = draw(make_state(trials, [run_job(number) for number in range(9)]), max_rows=5)
    assert [line.split()[0] for line in lines[1:6]] == ["#0", "#1", "#2", "#3", "#4"]
    assert lines[6] == "... and 4 more"
    assert "9 running" in lines[7]


def test_a_failure_stays_above_the_table_and_the_end_is_a_summary():
    console = make_console(height=8)
    table = LiveTable(console)
    table.study_started(STATE)
    table.trial_ended(DONE, STATE)
    table.trial_ended(FAILED, STATE)
    table.waited(STATE)
    table.study_ended(make_state([DONE, PRUNED, FAILED], best=[DONE]))
    raw = console.file.getvalue()
    assert raw.count("#2 failed: RuntimeError: boom [red]") == 1
    ending = raw[raw.rindex("\x1b[?25h") :]  # the cursor is back
    assert "Study lr-study: 1 done, 1 pruned, 1 failed of 10; best 0.91 (#0), in 1 min 1 s" in ending
    assert "optimizer.lr=0.012345" in ending
    assert "trial  " not in ending


def test_a_pareto_front_is_listed_at_the_end():
    front = [
        create_trial(values=[0.9, 5.0], params={}, distributions={}),
        create_trial(values=[0.8, 2.0], params={}, distributions={}),
    ]
    console = make_console()
    LiveTable(console).study_ended(make_state(front, best=front))
    text = console.export_text()
    assert "2 trials on the Pareto front" in text
    assert "0.8, 2" in text


def test_the_log_is_written_above_the_table_and_its_handlers_are_given_back(monkeypatch):
    console, stdout = make_console(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)
    handler = logging.StreamHandler(sys.stdout)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    table = LiveTable(console)
    table.waited(STATE)
    logging.getLogger("any").warning("word from [a] job")
    table.study_ended(STATE)
    assert stdout.getvalue() == ""
    assert "word from [a] job\n" in console.export_text()
    assert sys.stdout is stdout
    logging.getLogger("any").warning("afterwards")
    assert stdout.getvalue() == "afterwards\n"


def test_where_there_is_no_terminal_failures_and_summary_are_all():
    file = io.StringIO()
    table = LiveTable(Console(file=file, width=80))
    table.study_started(STATE)
    table.trial_ended(FAILED, STATE)
    table.waited(STATE)
    table.study_ended(make_state([DONE, FAILED], best=[DONE]))
    lines = file.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines[1:3]] == ["#2 failed", "Study lr-study"]
    assert "\x1b" not in file.getvalue()
