from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from sentiment.report.sweep.collect import collect_records
from sentiment.report.sweep.console import choose_columns, print_table
from sentiment.search.study.history import StudyHistory, TrialHistory


def printed(records, width=None, objectives=("val/accuracy",), history=None, **options):
    stream = io.StringIO()
    console = Console(file=stream, highlight=False, width=width, **options)
    print_table(collect_records(records, "sweep", objectives, history=history), console)
    return stream.getvalue()


@pytest.fixture
def records(make_record):
    return [
        make_record(0, "transformer", "seed=0", "optimizer.lr=3e-4", accuracy=0.81234),
        make_record(1, "rnn", "seed=1", "optimizer.lr=3e-4", accuracy=0.9),
        make_record(
            2, "rnn", "seed=2", "optimizer.lr=1", status="FAILED", reason="NonFiniteLossError: " + "long " * 60
        ),
    ]


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_table_fits_and_cuts_nothing(records, width):
    lines = printed(records, width).splitlines()
    table = lines[2:5]
    assert max(map(len, table)) <= width
    assert table[1].split()[:5] == ["1", "1", "rnn", "1", "0.0003"]
    assert table[2].split()[:5] == ["2", "0", "transformer", "0", "0.0003"]
    assert "90.00 %" in table[1]
    assert "81.23 %" in table[2]
    assert "test/accuracy" in table[0]
    assert "1 min 15 s" in table[1]


def test_a_wide_line_has_every_metric(records):
    heading = printed(records, 160).splitlines()[2].split()
    metrics = ["val/accuracy", "val/loss", "val/f1", "test/accuracy", "test/auroc"]
    assert heading == ["job", "model", "seed", "lr", *metrics, "parameters", "time"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_value_is_broken_and_a_setting_that_does_not_fit_is_named(make_record, width):
    settings = [f"model.quite_long_name_{number}" for number in range(12)]
    rows = [
        make_record(job, "rnn", *(f"{key}=0.00{job + 1}234" for key in settings), accuracy=0.8 + job / 10)
        for job in range(2)
    ]
    text = printed(rows, width)
    shown = text.count("0.001234")
    table = [line for line in text.splitlines() if "%" in line]
    assert len(table) == 2, "a trial is a line"
    assert max(map(len, table)) <= width
    missing = [f"quite_long_name_{number}" for number in range(shown, 12)]
    assert f"The line is too short for {', '.join(missing)}: ranking.csv" in text


def test_what_a_trial_breaks_a_limit_on_is_shown_before_other_figures(records):
    table = collect_records(records[:2], "sweep")
    rows = tuple(dataclasses.replace(row, excess={"model/parameters": 5.0}) for row in table.rows)
    for width in range(60, 130):
        shown = [column.heading for column in choose_columns(table, rows, width)]
        assert "parameters" in shown or not {"time", "test/accuracy"} & {*shown}


def test_plain_text_where_the_output_is_no_terminal(records):
    text = printed(records, 120)
    assert text.isascii()
    assert "\x1b" not in text


def test_colours_on_a_terminal(records):
    assert "\x1b[32m" in printed(records, 120, force_terminal=True, color_system="standard")


def test_failed_jobs_stand_beneath_with_their_whole_reason(records):
    *_, last = printed(records, 80).splitlines()
    assert last.startswith("  job 2: rnn seed=2 lr=1: FAILED: NonFiniteLossError: long")
    assert last.count("long") == 60


def test_nothing_finished(records):
    assert printed(records[2:]).splitlines()[1] == "1 not finished"


def test_settings_of_the_same_last_name_keep_their_group(make_record):
    records = [make_record(n, "rnn", f"model.depth={n}", f"other.depth={n}", f"seed={n}") for n in range(2)]
    heading = printed(records, 160).splitlines()[2].split()
    assert heading[:5] == ["job", "model", "model.depth", "other.depth", "seed"]


def test_markup_in_a_setting_is_printed_as_it_is(make_record):
    records = [make_record(n, "rnn", f"data.labels=[red,{n}]") for n in range(2)]
    assert "[red,1]" in printed(records, 160)


def test_standard_output_is_wide_enough_for_the_metrics_that_matter(records, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(collect_records(records, "sweep"))
    assert "test/auroc" in capsys.readouterr().out


def test_a_trial_that_runs_has_no_reason(make_record):
    table = collect_records([make_record(0)], "sweep", ("val/accuracy",))
    row = dataclasses.replace(table.rows[0], state="running", rank=None)
    stream = io.StringIO()
    print_table(dataclasses.replace(table, rows=(row,)), Console(file=stream))
    assert stream.getvalue().rstrip().endswith(f"job 0: {row.label}: RUNNING")


@pytest.fixture
def pruned(make_record):
    changes = {"status": "PRUNED", "reason": "below the median", "metrics": {"val/accuracy": 0.3}, "parameters": None}
    return make_record(3, "rnn", "seed=3", "optimizer.lr=2", **changes)


def test_pruned_jobs_stand_in_the_table_marked_and_dimmed(records, pruned):
    lines = printed([*records, pruned], 120).splitlines()
    assert lines[1] == "2 finished, ranked by val/accuracy (higher is better); 1 pruned"
    assert lines[5].split()[:7] == ["pruned", "3", "rnn", "3", "2", "30.00", "%"]
    assert "1 not finished" in lines
    in_colour = printed([*records, pruned], 120, force_terminal=True, color_system="standard").splitlines()
    assert [line.startswith("\x1b[2m") for line in in_colour[3:6]] == [False, False, True]


def test_where_bounds_rank_the_table_has_them_and_its_heading_says_so():
    trials = [
        TrialHistory(n, "complete", {"x": n + 1.5}, (bound,), means=(mean,), started=1.0, ended=2.0)
        for n, bound, mean in ((0, 0.895, 0.90), (1, 0.88, 0.91))
    ]
    study = StudyHistory(
        "mine", ("val/accuracy",), ("maximize",), tuple(trials), (0,), frozenset(), conditions={}, repeats=3
    )
    heading, above, names, first, second, *_ = printed([], 80, history=study).splitlines()[1:]
    assert heading == "2 finished, ranked by the bound of val/accuracy (higher is better)"
    assert "bound of" in above
    assert names.split()[3:5] == ["val/accuracy", "val/accuracy"]
    assert "90.00 % 89.50 %" in " ".join(first.split())
    assert "91.00 % 88.00 %" in " ".join(second.split())


def test_only_pruned_jobs(pruned):
    lines = printed([pruned]).splitlines()
    assert lines[1] == "0 finished, ranked by val/accuracy (higher is better); 1 pruned"


def test_the_front_of_several_objectives_is_marked(make_record):
    sizes = [(0.9, 300), (0.8, 200), (0.7, 250)]
    records = [
        make_record(number, "rnn", f"seed={number}", metrics={"val/accuracy": accuracy}, parameters=size)
        for number, (accuracy, size) in enumerate(sizes)
    ]
    lines = printed(records, 120, ("val/accuracy", "model/parameters")).splitlines()
    assert lines[1].endswith("; 2 on the front with model/parameters")
    assert lines[2].split()[:2] == ["front", "job"]
    assert [line.split()[:2] for line in lines[3:]] == [["1", "yes"], ["2", "yes"], ["3", "2"]]
