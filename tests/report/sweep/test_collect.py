"""The table of a sweep: of a grid from its jobs' records, of a study from its trials, of a parent run from MLflow."""

from __future__ import annotations

import shlex
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hydra import compose, initialize_config_dir

from sentiment import api
from sentiment.config.home import PROJECT_DIR
from sentiment.config.run_context import list_config_flags, write_multirun_command
from sentiment.errors import TrackingError
from sentiment.json_file import write_json
from sentiment.report.sweep.best import BestTrial, choose_best
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.charts.trials import make_history as make_history_chart
from sentiment.report.sweep.charts.trials import make_runs
from sentiment.report.sweep.closing import describe_parent
from sentiment.report.sweep.collect import (
    OTHER_MACHINES,
    SweepMissingError,
    collect_records,
    collect_sweep,
    note_machines,
)
from sentiment.report.sweep.importance import add_importances
from sentiment.report.sweep.names import open_sweep
from sentiment.report.sweep.page import link_rows, render_page, write_headline, write_note
from sentiment.report.sweep.rows import LATER
from sentiment.report.sweep.tables import make_learning_curves, make_ranking, make_trials
from sentiment.search.study.history import StudyHistory, TrialHistory
from sentiment.tracking import runs as stored_runs
from sentiment.tracking.anew import VERSIONS_TAG
from sentiment.tracking.parent_file import Parent
from sentiment.tracking.result_file import ADOPTED_TAG, COPIED_TAG, ResultRecord, write_result

AIM = {"objectives": '["val/accuracy"]', "directions": '["maximize"]', "objective": "val/accuracy"}


@pytest.fixture
def make_grid(make_record):
    """Records of a grid: accuracy by heads."""

    def make(*accuracies, **changes):
        return [
            make_record(number, "transformer", f"model.heads={2**number}", accuracy=accuracy, params=AIM, **changes)
            for number, accuracy in enumerate(accuracies)
        ]

    return make


def make_history(*trials, **changes):
    known = {
        "name": "mine", "objectives": ("val/accuracy",), "directions": ("maximize",), "trials": trials, "best": (),
        "log_scaled": frozenset({"optimizer.lr"}), "conditions": {},
    }  # fmt: skip
    return StudyHistory(**{**known, **changes})


def make_trial(number, state="complete", value=None, **changes):
    parameters = {"model.heads": number + 1, "optimizer.lr": 0.001}
    values = () if value is None else (value,)
    return TrialHistory(number, state, parameters, values, started=100.0 + number, ended=110.0 + number, **changes)


def test_a_bound_ranks_and_the_mean_is_what_stands_under_the_name_of_the_metric():
    trials = [make_trial(0, value=0.90, means=(0.95,)), make_trial(1, value=0.92, means=(0.93,))]
    trials.append(make_trial(2, value=0.9))
    table = collect_records([], "mine", history=make_history(*trials, repeats=3))
    assert [row.number for row in table.rows] == [1, 0, 2]
    assert len(table.ties) == 1
    assert table.best.values == {"val/accuracy": 0.93}
    assert write_headline(table).endswith("the best of 3 that finished: bound of val/accuracy 92.00 %.")
    tags, metrics = describe_parent(table)
    assert (tags["best.value"], tags["best.bound"], metrics) == ("93.00 %", "92.00 %", {"best/val/accuracy": 0.93})
    assert "one standard error worse (repeat_value=bound)" in table.notes[0]
    ranking = make_ranking(table)
    columns = {column.name: [row[place] for row in ranking.rows] for place, column in enumerate(ranking.columns)}
    assert columns["val/accuracy"] == [0.93, 0.95, 0.9]
    assert columns["bound of val/accuracy"] == [0.92, 0.9, 0.9]
    best = make_history_chart(table).panels[0].series[-1]
    assert (best.name, best.x, best.y) == ("best so far", (0.0, 1.0, 2.0), (0.95, 0.93, 0.93))
    assert make_runs(table).panels[0].y.categories[0].startswith("1:")


def test_of_several_objectives_the_best_bound_is_told_and_not_a_mean_that_another_trial_beats():
    names, ways = ("val/accuracy", "model/parameters"), ("maximize", "minimize")
    trials = [replace(make_trial(n), values=(bound, 9.0), means=(mean, 9.0)) for n, bound, mean in (
        (0, 0.895, 0.90), (1, 0.88, 0.91),
    )]  # fmt: skip
    table = collect_records([], "mine", history=make_history(*trials, objectives=names, directions=ways, repeats=3))
    assert write_headline(table).startswith("Trial 0 has the best bound of val/accuracy 89.50 %; with model/parameters")


def test_trials_of_equal_bounds_share_these_and_not_the_mean_of_the_first():
    trials = [make_trial(0, value=0.5, means=(0.55,)), make_trial(1, value=0.5)]
    table = collect_records([], "mine", history=make_history(*trials, repeats=2))
    assert "The trials 0, 1 share the best bound of val/accuracy 50.00 %" in "\n".join(table.notes)
    assert write_headline(table).endswith(" and the best of 2 that finished: bound of val/accuracy 50.00 %.")


def test_a_trial_that_did_not_come_to_its_end_has_no_bound(make_record):
    """What was pruned or paused has the value of one repeat, and what the storage lost the mean of its records."""
    trials = [make_trial(0, value=0.90, means=(0.91,)), make_trial(1, value=0.89)]
    trials += [make_trial(2 + place, state, intermediate={1: 0.95}) for place, state in enumerate(("pruned", "paused"))]
    records = [make_record(8 + repeat, accuracy=0.97) for repeat in (0, 1)]
    ranking = make_ranking(collect_records(records, "mine", history=make_history(*trials, repeats=2)))
    columns = {column.name: [row[place] for row in ranking.rows] for place, column in enumerate(ranking.columns)}
    assert columns["trial"] == [0, 1, 4, 2, 3]
    assert columns["val/accuracy"] == [0.91, 0.89, 0.97, 0.95, 0.95]
    assert columns["bound of val/accuracy"] == [0.90, 0.89, None, None, None]


def test_where_a_cost_ranks_curves_are_of_what_selects_and_nothing_is_said_to_be_on_validation(make_record):
    records = [make_record(n, "rnn", f"model.depth={n}", accuracy=0.8, parameters=100 + n) for n in (1, 2)]
    costs, usual = (
        collect_records(records, "mine", names)
        for names in (("model/parameters", "val/accuracy"), ("val/accuracy", "model/parameters"))
    )
    assert [[point.value for point in row.curve] for row in costs.rows] == [[0.8, 0.8]] * 2
    curves = {chart.name: chart for chart in make_charts(costs)}["learning_curves"].panels[0]
    assert curves.y.title == "validation accuracy"
    assert curves.series[-1].hover[0].endswith("epoch 0.5: 80.00 %")
    column = make_learning_curves(costs).columns[-1]
    assert (column.label, column.show(0.8)) == ("val/accuracy", "80.00 %"), "as wherever else the metric stands"
    for table in (costs, usual):
        is_usual = table is usual
        assert ("on validation" in make_runs(table).caption) == is_usual
        assert ("</b> on validation" in render_page(table, [])) == is_usual


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.7, 0.9, 0.9), ["The trials 1, 2 share the best val/accuracy 90.00 %"]),
        ((0.9, 0.8, 0.8), []),
        ((0.9, None), []),
        ((), []),
        ((float("nan"), float("nan")), []),
    ],
)
def test_trials_that_are_as_good_as_the_best_are_told(values, expected):
    states = ["pruned" if value is None else "complete" for value in values]
    trials = [
        make_trial(number, state, value) for number, (state, value) in enumerate(zip(states, values, strict=True))
    ]
    table = collect_records([], "mine", history=make_history(*trials))
    assert [note.partition(":")[0] for note in table.notes] == expected


def test_a_tie_in_every_objective_is_told_everywhere():
    trials = [
        replace(make_trial(number), values=values) for number, values in enumerate([(0.9, 5.0), (0.7, 3.0), (0.9, 5.0)])
    ]
    both = {"objectives": ("val/accuracy", "model/parameters"), "directions": ("maximize", "minimize")}
    table = collect_records([], "mine", history=make_history(*trials, **both))
    tie = "The trials 0, 2 share the best val/accuracy 90.00 %, and model/parameters 5: none of them is shown to be"
    assert [note.partition(" better")[0] for note in table.notes] == [tie]
    front = "ith model/parameters, the front is trials 0, 1, 2."
    assert write_headline(table) == f"Trials 0, 2 share the best val/accuracy 90.00 %, and model/parameters 5; w{front}"
    first = BestTrial(table, table.rows[0], ResultRecord("a", "rnn", "FINISHED", "2026-01-01T00:00:00+00:00"))
    reached = "val/accuracy 90.00 %, model/parameters 5"
    assert first.describe()[:2] == [f"Trial 0 of mine: {reached}, rank 1 of 3.", f"W{front}"]


def test_a_copy_is_known_without_its_record():
    table = collect_records(
        [], "mine", history=make_history(make_trial(0, value=0.7), make_trial(1, value=0.9, continues=0))
    )
    assert {row.number: row.is_copy for row in table.rows} == {0: False, 1: True}
    assert table.notes == ("Copies, which went on from checkpoints that had other settings: 1 (of 0).",)
    told = make_ranking(table)
    assert [row[-1] for row in told.rows] == ["a copy, went on from a checkpoint of trial 0", None]
    assert make_runs(table).panels[0].y.categories[0].startswith("1 (a copy of 0):")


def test_a_trial_that_shares_a_result_is_no_tie():
    """It is the best one itself."""
    trials = [
        make_trial(0, value=0.9),
        make_trial(1, value=0.9, reused_from=0),
        make_trial(2, value=0.9, excess={"time/fit_seconds": 2.0}),
    ]
    assert collect_records([], "mine", history=make_history(*trials)).notes == ()


def test_the_best_is_among_its_ties_though_it_shares_a_result():
    """Of two workers the one with the higher number may have trained it."""
    trials = [make_trial(0, value=0.9, reused_from=2), make_trial(1, value=0.9), make_trial(2, value=0.9)]
    assert [row.number for row in collect_records([], "mine", history=make_history(*trials)).ties] == [0, 1]


def test_jobs_of_a_grid_that_are_equally_good_are_told(make_grid):
    assert any(
        note.startswith("The jobs 0, 2 share the best")
        for note in collect_records(make_grid(0.9, 0.7, 0.9), "mine").notes
    )


def test_a_folder_of_several_sweeps_is_no_sweep(make_grid, tmp_path):
    """Their jobs have the same numbers: one table would rank them as one sweep."""
    for name in ("one", "other"):
        for record in make_grid(0.7, 0.9):
            write_result(tmp_path / name / str(record.job_number), record)
    assert len(collect_sweep(tmp_path / "one").rows) == 2
    with pytest.raises(SweepMissingError, match=r"holds several sweeps.*\n  -> name the folder of one"):
        collect_sweep(tmp_path)


def test_a_grid_is_told_from_its_records(make_grid, tmp_path):
    for record in make_grid(0.7, 0.9, 0.8):
        write_result(tmp_path / "grid" / str(record.job_number), record)
    table = collect_sweep(tmp_path / "grid")
    assert (table.name, table.objectives, table.directions) == ("grid", ("val/accuracy",), ("maximize",))
    assert [(row.rank, row.number, row.parameters) for row in table.rows] == [
        (1, 1, {"model.heads": 2}), (2, 2, {"model.heads": 4}), (3, 0, {"model.heads": 1}),
    ]  # fmt: skip
    assert table.varied == ("model.heads",)
    first = table.rows[0]
    assert first.values == {"val/accuracy": 0.9}
    assert (first.metrics["model/parameters"], first.metrics["time/fit_seconds"]) == (2_612_345, 75.4)
    assert [(point.epoch, point.value) for point in first.curve] == [(0.5, 0.9), (1.0, 0.9)]
    assert (first.started_seconds, first.ended_seconds) == (0.0, 75.4)
    assert "3 trials have a result" in add_importances(table).importance_note


def test_models_are_a_parameter_where_they_differ(make_record):
    records = [make_record(number, model, "seed=1", params=AIM) for number, model in enumerate(["rnn", "transformer"])]
    table = collect_records(records, "models")
    assert table.varied == ("model",)
    assert {row.parameters["model"] for row in table.rows} == {"rnn", "transformer"}


def test_nothing_that_failed_vanishes(make_grid, make_record):
    records = [
        *make_grid(0.7),
        make_record(1, status="FAILED", reason="out of memory", params=AIM),
        make_record(2, status="RUNNING", params=AIM),
        replace(make_grid(0.7)[0], job_number=3, metrics={"val/loss": 0.5}),
    ]
    rows = collect_records(records, "grid").rows
    assert [(row.number, row.state, row.rank) for row in rows] == [
        (0, "complete", 1), (1, "failed", None), (2, "killed", None), (3, "failed", None),
    ]  # fmt: skip
    assert rows[1].reason == "out of memory"
    assert "killed from outside, or still running" in rows[2].reason
    assert rows[3].reason == "it ended without a value of val/accuracy"


def test_a_study_counts_trials_that_left_no_record(make_grid):
    history = make_history(
        make_trial(0, value=0.7),
        make_trial(1, value=0.7, reused_from=0),
        make_trial(2, "failed", reason="worker died", kind="worker_died"),
        make_trial(3, "pruned", reason="pruned by MedianPruner at step 1", intermediate={0: 0.5, 1: 0.6}),
        make_trial(4, "running"),
        make_trial(5, "waiting"),
        best=(0,),
    )
    table = collect_records(make_grid(0.7), "folder", history=history)
    assert table.name == "mine"
    assert [(row.number, row.state, row.rank) for row in table.rows] == [
        (0, "complete", 1), (1, "complete", 2), (3, "pruned", None), (2, "failed", None), (4, "running", None),
        (5, "waiting", None),
    ]  # fmt: skip
    reused, pruned = table.rows[1], table.rows[2]
    assert (reused.reused_from, reused.metrics["val/loss"], reused.record) == (0, 0.5, table.rows[0].record)
    assert pruned.values == {"val/accuracy": 0.6}
    assert table.rows[3].reason == "worker died"
    assert (table.rows[0].started_seconds, table.rows[0].ended_seconds) == (0.0, 10.0)
    assert table.log_scaled == {"optimizer.lr"}


@pytest.mark.parametrize("state", ["failed", "killed", "waiting", "running"])
def test_a_trial_has_no_value_by_one_of_its_repeats(make_grid, make_record, state):
    """The first repeat of trial 1 finished."""
    records = [*make_grid(0.7, 0.7, 0.9), make_record(3, status="FAILED", params=AIM)]
    trials = make_trial(0, value=0.7), make_trial(1, state)
    table = collect_records(records, "folder", history=make_history(*trials, repeats=2), is_at_work=True)
    for told in (make_ranking(table), make_trials(table)):
        place = [column.name for column in told.columns].index("val/accuracy")
        assert [row[place] for row in told.rows] == [0.7, None]
    assert table.rows[1].value_of("val/accuracy") is None


def test_a_trial_that_was_paused_began_with_its_run_and_was_measured_while_it_ran(make_grid):
    """Optuna dates a trial anew when it goes on, and when it is given up; a run that was adopted began elsewhere."""
    begun = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()  # as the records say
    history = make_history(
        replace(make_trial(0, value=0.7), started=begun + 400, ended=begun + 500),
        replace(make_trial(1, "pruned", intermediate={0: 0.6}), started=begun + 900, ended=begun + 900.1),
        replace(make_trial(2, value=0.8), started=begun + 10, ended=begun + 11),
    )
    first, *own, adopted = make_grid(0.7, 0.6, 0.8)
    own.append(replace(first, tags={ADOPTED_TAG: "its own name", COPIED_TAG: "true"}))  # in a copy of its study
    adopted = replace(adopted, started="2025-01-01T00:00:00+00:00", tags={ADOPTED_TAG: "true"})
    table = collect_records([*own, adopted], "folder", history=history)
    rows = {row.number: (row.started_seconds, row.ended_seconds) for row in table.rows}
    assert rows == {0: (0.0, 500.0), 1: (0.0, pytest.approx(900.1)), 2: (10.0, 11.0)}
    for history in (None, make_history()):  # MLflow has none of a study at work; or a storage that was cut off
        unknown = collect_records([first, adopted], "folder", history=history)
        assert {row.number: row.started_seconds for row in unknown.rows} == {0: 0.0, 2: None}
    _, by_time = make_history_chart(table).panels
    assert [x for series in by_time.series if series.role == "pruned" for x in series.x] == [pytest.approx(75.4 / 60)]


def test_a_stopped_trial_stands_where_it_was_measured_last(make_grid):
    """It had three repeats, one after the other; or went on at a second rung, and was given up there much later."""
    begun = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()  # as the records say
    whole = replace(make_trial(0, value=0.7), started=begun, ended=begun + 80)

    def locate(state, runs, ended, **changes):
        trial = replace(make_trial(1, state, intermediate={0: 0.6}), started=ended and begun + ended, **changes)
        trials, repeats = (whole, replace(trial, ended=ended and begun + ended)), len(runs)
        records = [replace(run, job_number=number) for number, run in enumerate([*runs, *runs])]
        table = collect_records(records, "folder", history=make_history(*trials, repeats=repeats))
        _, by_time = make_history_chart(table).panels
        return [60 * x for series in by_time.series if series.role == "pruned" for x in series.x]

    assert locate("pruned", make_grid(0.6, 0.6, 0.6), 226.0) == [pytest.approx(226)]
    assert locate("pruned", make_grid(0.6), 9000.0, worked_until=begun + 4200) == [pytest.approx(4200)]
    assert locate("paused", make_grid(0.6), None, worked_until=begun + 4200) == [pytest.approx(4200)]
    assert locate("pruned", make_grid(0.6), 9000.0, worked_until=begun + 20, continues=0) == [pytest.approx(20)]


def test_the_first_is_the_best_that_keeps_the_limits(make_grid):
    history = make_history(
        make_trial(0, value=0.9, excess={"model/parameters": 12.0}), make_trial(1, value=0.8), best=(1,)
    )
    rows = collect_records(make_grid(0.9, 0.8), "mine", history=history).rows
    assert [(row.number, row.rank, row.on_front) for row in rows] == [(1, 1, True), (0, None, False)]
    assert (rows[0].reason, rows[1].reason) == (None, "breaks a limit: model/parameters by 12")


def test_what_the_storage_lost_stands_with_its_own_state_and_without_a_rank(make_grid, make_record):
    """A journal cut in half: trial 1 began in it, trials 2 and 3 did not."""
    records = [*make_grid(0.7, 0.9, 0.8), make_record(3, status="FAILED", reason="out of memory", params=AIM)]
    history = make_history(make_trial(0, value=0.7), make_trial(1, "running"), best=(0,))
    table = collect_records(records, "mine", history=history)
    assert [(row.number, row.state, row.rank, row.values.get("val/accuracy")) for row in table.rows] == [
        (0, "complete", 1, 0.7), (1, "complete", None, 0.9), (2, "complete", None, 0.8), (3, "failed", None, None),
    ]  # fmt: skip
    assert [row.is_lost for row in table.rows] == [False, True, True, True]
    assert table.rows[2].parameters == {"model.heads": 4}
    assert (table.best.number, table.rows[1].reason[:33]) == (0, "the study's storage has no result")
    (note,) = table.notes
    assert "no result of trials 1, 2, 3, but the runs' records have" in note


def test_what_is_newer_than_the_copy_of_a_study_is_not_called_lost(make_grid):
    """MLflow is told of a study when its command ends; where the next one is killed, storage and runs are whole."""
    history = make_history(make_trial(0, value=0.7), make_trial(1, "waiting"), best=(0,))
    table = collect_records(make_grid(0.7, 0.9, 0.8), "mine", history=history, is_copy=True)
    assert [(row.number, row.state, row.rank) for row in table.rows] == [
        (0, "complete", 1), (1, "complete", None), (2, "complete", None),
    ]  # fmt: skip
    (note,) = table.notes
    assert "as it stood when a command on it last ended; the runs of trials 1, 2 are newer" in note
    assert {row.reason for row in table.rows if row.is_lost} == {LATER}


def test_what_a_command_is_about_to_tell_its_study_is_not_lost(make_grid):
    """A job writes its record a moment before the study has its result."""
    history = make_history(make_trial(0, value=0.7), make_trial(1, "running"), best=(0,))
    table = collect_records(make_grid(0.7, 0.9), "mine", history=history, is_at_work=True)
    assert ([row.state for row in table.rows], table.notes) == (["complete", "running"], ())


def test_repeats_that_the_storage_lost_are_one_trial(make_record):
    records = [make_record(number, accuracy=0.1 * number, params=AIM) for number in range(5)]
    rows = collect_records(records, "mine", history=make_history(repeats=2)).rows
    assert [(row.number, row.state, row.values) for row in rows] == [
        (1, "complete", {"val/accuracy": pytest.approx(0.25)}), (0, "complete", {"val/accuracy": pytest.approx(0.05)}),
        (2, "killed", {}),
    ]  # fmt: skip


def test_repeats_share_a_row_with_the_first_ones_record(make_record):
    records = [make_record(number, accuracy=0.1 * number, params=AIM) for number in range(4)]
    history = make_history(make_trial(0, value=0.05), make_trial(1, value=0.25), best=(1,), repeats=2)
    rows = collect_records(records, "mine", history=history).rows
    assert [(row.values["val/accuracy"], [run.job_number for run in row.runs]) for row in rows] == [
        (0.25, [2, 3]), (0.05, [0, 1]),
    ]  # fmt: skip


@pytest.mark.parametrize(("values", "first"), [((0.5, 0.7), "50.00 %"), ((0.6, 0.6), "60.00 %")])
def test_who_trains_the_best_again_is_told_that_it_is_the_first_of_its_repeats(make_record, values, first):
    records = [make_record(number, accuracy=value, params=AIM) for number, value in enumerate(values)]
    table = collect_records(records, "mine", history=make_history(make_trial(0, value=0.6), best=(0,), repeats=2))
    told = f"val/accuracy 60.00 % is over its repeats; this is the first of them, with {first}."
    assert told in BestTrial(table, table.rows[0], records[0]).describe()
    assert f'<p class="note">{told}</p>' in render_page(table, []).replace("\xa0%", " %")
    assert f"The run of rank 1: {told}" in write_note(table, Parent("sqlite:///mlflow.db", "7", "parent"))


def test_a_repeat_whose_run_is_gone_is_told(make_record):
    records = [make_record(number, accuracy=0.1 * number, params=AIM) for number in (1, 2, 3)]
    history = make_history(make_trial(0, value=0.05), make_trial(1, value=0.25), best=(1,), repeats=2)
    table = collect_records(records, "mine", history=history)
    assert [note[:37] for note in table.notes] == ["Some runs are gone of the trials 0: w"]
    (row,) = [row for row in table.rows if row.number == 0]
    assert "this is one of them, as the first is gone, with 10.00 %." in table.tell_repeats(row, row.record)


def test_metrics_beside_the_objective_are_over_the_same_repeats(make_record):
    metrics = [{"val/accuracy": 0.1 * number, "test/accuracy": 0.2 * number} for number in range(4)]
    records = [make_record(n, metrics=metrics[n], seconds=10.0 * n, params=AIM, test_reviews=100) for n in range(4)]
    history = make_history(make_trial(0, value=0.05), make_trial(1, value=0.25), best=(1,), repeats=2)
    table = collect_records(records, "mine", history=history)
    names = [column.name for column in make_ranking(table).columns]
    best = dict(zip(names, make_ranking(table).rows[0], strict=True))
    assert [best[name] for name in ("val/accuracy", "test/accuracy", "seconds", "job")] == [0.25, 0.5, 25.0, 2]
    (panel,) = make_runs(table).panels
    assert [series.low for series in panel.series] == [None, None], "no interval is of a mean"


def test_a_trial_without_a_record_is_not_given_the_folder_of_another_ones_repeat(make_record, tmp_path):
    for number in range(4):
        (tmp_path / str(number)).mkdir()
    records = [make_record(number, params=AIM) for number in range(2)]
    history = make_history(make_trial(0, value=0.8), make_trial(1, "running"), repeats=2)
    table = collect_records(records, "mine", history=history)
    assert [table.job_of(row) for row in table.rows] == [0, 2]
    assert link_rows(table, tmp_path, tmp_path)[1, "job"][0].address == "2/"


def test_other_objectives_can_be_asked_for(make_grid):
    table = collect_records(make_grid(0.7, 0.9), "grid", ["val/loss"])
    assert (table.objectives, table.directions) == (("val/loss",), ("minimize",))
    history = make_history(make_trial(0, value=0.7), make_trial(1, value=0.9))
    table = collect_records(make_grid(0.7, 0.9), "mine", ["val/loss"], history=history)
    assert [row.values for row in table.rows] == [{"val/loss": 0.5}] * 2


def test_a_real_study_agrees_with_itself(study_of_toys):
    study, table = study_of_toys
    assert {row.number for row in table.rows} == {trial.number for trial in study.trials}
    assert table.rows[0].number == study.best_trial.number
    assert table.objectives == ("objective",)
    importances = add_importances(table).importances
    assert importances[0].parameter == "x"  # y adds a hundredth of what x does
    assert importances[0].low > importances[1].high
    assert table.command.startswith("python ")


@pytest.fixture
def study_of_toys(tmp_path, monkeypatch):
    """A study that Optuna ran by itself, in the journal of a folder."""
    import optuna

    from sentiment.search.storage.opening import open_storage
    from sentiment.search.study.address_file import write_study_address

    study = optuna.create_study(
        storage=open_storage(None, tmp_path), study_name="toys", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1) + 0.01 * trial.suggest_int("y", 0, 3), n_trials=12)
    write_study_address(tmp_path, "toys", None, "python toys.py")
    return study, collect_sweep(tmp_path)


def test_an_empty_folder_is_no_sweep(tmp_path):
    with pytest.raises(SweepMissingError, match=r"holds no run and no study.\n.*multirun/NAME"):
        collect_sweep(tmp_path)


def test_the_best_command_composes_to_the_same_settings(tmp_path):
    (tmp_path / "my reviews").mkdir()
    from sentiment.config.reading import read_settings
    from sentiment.search import register
    from sentiment.tracking.params import flatten_settings
    from sentiment.tracking.result_file import ResultRecord

    overrides = (
        "model.heads=4", "model.depth=2", "optimizer.lr=0.007230036870121838", "experiment=hyperparameters",
        "search=hyperparameters_transformer", f"data.path={tmp_path}/my reviews", "tracking.experiment='a, b'",
    )  # fmt: skip
    register()
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        params = flatten_settings(read_settings(compose("config", list(overrides)), PROJECT_DIR))
        record = ResultRecord(
            "best", "transformer", "FINISHED", "2026-01-01T00:00:00+00:00", overrides, params, 0,
            metrics={"val/accuracy": 0.9},
        )  # fmt: skip
        words = shlex.split(collect_records([record], "one").best_command)
        assert words[:2] == ["python", "run.py"]
        assert "-m" not in words
        tested = {**params, "trainer.test": "true"}  # a search leaves the test split alone; its best trial meets it
        assert flatten_settings(read_settings(compose("config", words[2:]), PROJECT_DIR)) == tested


def test_the_best_command_trains_on_as_many_threads(make_record):
    record = make_record(0, "rnn", "trainer.threads=4", "seed=1", tags={"device": "cpu (2 threads)"})
    command = "python run.py -m model=rnn hydra.searchpath=[file:///my/conf]"
    table = replace(collect_records([record], "one"), command=command)
    assert shlex.split(table.best_command) == [
        "python", "run.py", "hydra.searchpath=[file:///my/conf]", "model=rnn", "seed=1", "trainer.threads=2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("device", "threads"), [("4 x cpu (3 threads)", ["trainer.threads=6"]), ("4 x NVIDIA H200", [])]
)
def test_the_best_command_trains_on_as_many_devices(make_record, device, threads):
    """Dropout draws other numbers on another number of devices."""
    params = {"trainer.devices": "2", "trainer.nodes": "2"}
    record = make_record(0, "rnn", "trainer.devices=2", "seed=1", params=params, tags={"device": device})
    words = shlex.split(collect_records([record], "one").best_command)
    assert words[2:] == ["model=rnn", "seed=1", "trainer.devices=2", "trainer.nodes=2", *threads]


def test_the_best_command_names_models_by_their_versions(make_record):
    overrides = ("trainer.init_from=imdb@champion", "+trainer.teachers=[models:/imdb@x,a]")
    params = {"trainer.init_from": "imdb@champion", "trainer.teachers": '["models:/imdb@x","a"]'}
    versions = '{"imdb@champion": "models:/imdb/3", "models:/imdb@x": "models:/imdb/2"}'
    record = make_record(0, "rnn", *overrides, params=params, tags={VERSIONS_TAG: versions})
    words = shlex.split(collect_records([record], "one").best_command)
    assert words[2:] == ["model=rnn", "trainer.init_from=models:/imdb/3", 'trainer.teachers=["models:/imdb/2","a"]']


@pytest.mark.parametrize(
    ("tags", "params", "told"),
    [
        ({"trial.continues": "3"}, {}, "went on from a checkpoint of trial 3"),
        ({"trainer.trained_on": "2"}, {}, "trained on after 2 epochs of a shorter run"),
        ({}, {"trainer.init_from": "models:/imdb@champion"}, "models that models:/imdb@champion stood for then"),
        ({}, {"trainer.teachers": '["a/0","imdb@champion","models:/b/3"]'}, "models that imdb@champion stood for then"),
        ({}, {"trainer.init_from": "imdb"}, "models that imdb stood for then, and they may be others by now"),
        ({}, {"trainer.init_from": "README.md", "trainer.teachers": f'["sweep","{"0" * 32}"]'}, ""),
        ({}, {"trainer.init_from": "multirun/a/0", "trainer.teachers": '["a/0","models:/b/3"]'}, ""),
        ({}, {"trainer.init_from": f"models:/m-{'0' * 32}", "trainer.teachers": f'["runs:/{"0" * 32}/model"]'}, ""),
    ],
)
def test_a_best_run_that_its_settings_alone_do_not_train_again_has_no_command_and_says_why(
    make_record, tags, params, told, tmp_path, monkeypatch
):
    record = make_record(0, "rnn")
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    write_result(tmp_path / "sweep" / "0", record)
    monkeypatch.setattr(stored_runs, "MULTIRUN_DIR", tmp_path)
    monkeypatch.chdir(PROJECT_DIR)
    table = collect_records([make_record(0, "rnn", tags=tags, params=params)], "one")
    assert (table.best_command is None) == bool(told)
    assert told in render_page(table, [])
    assert any("gives another model" in line for line in choose_best(table, None).describe()) == bool(told)


def test_what_says_where_the_configuration_lies_is_found_however_it_is_typed():
    flags = ["--config-d", "mine", "-cn", "other", "--config-path=a b", "--config-name", "x", "++hydra.searchpath=[b]"]
    command = shlex.join(["python", "run.py", "--multirun", *flags, "hydra.sweep.dir=c", "--config-file"])
    assert list_config_flags(command) == flags


def test_facts_say_where_runs_differ(make_grid):
    same = {"git.commit": "abc", "hardware": "a CPU", "data.fingerprint": "f1", "version.torch": "2"}
    table = collect_records([replace(record, tags=same) for record in make_grid(0.7, 0.8)], "grid")
    alike = table.facts
    assert (alike["commit"], alike["data fingerprint"], alike["versions"]) == ("abc", "f1", "torch 2")
    assert table.notes == ()
    one, other = make_grid(0.7, 0.8)
    mixed = [replace(one, tags=same), replace(other, tags={**same, "data.fingerprint": "f2"})]
    table = collect_records(mixed, "grid")
    assert table.facts["data fingerprint"] == "f2 (jobs 1); f1 (jobs 0)"
    assert "cannot be compared" in table.notes[0]
    changed = [replace(one, tags=same), replace(other, tags={**same, "git.dirty": "true"})]
    table = collect_records(changed, "grid")
    assert table.facts["commit"] == "abc with uncommitted changes (jobs 1); abc (jobs 0)"
    assert "not made by the same code" in table.notes[0]


@pytest.mark.parametrize(("limited", "is_told"), [("time/fit_seconds", True), ("model/parameters", False)])
def test_a_limit_on_a_time_is_not_judged_on_several_machines_without_a_word(make_grid, limited, is_told):
    records = [
        replace(record, tags={"hardware": hardware})
        for record, hardware in zip(make_grid(0.7, 0.8), ("a CPU", "another"), strict=True)
    ]
    trials = [make_trial(0, value=0.7, jobs=(0,)), make_trial(1, value=0.8, jobs=(1,), excess={limited: 2.0})]
    notes = collect_records(records, "mine", history=make_history(*trials)).notes
    assert any("not timed on one hardware and device" in note for note in notes) == is_told


@pytest.mark.parametrize(
    ("earlier", "later", "is_one"),
    [
        ("aarch64, 8 cores, 16 GiB", "aarch64 0x41 0xd0c, 8 cores, 16 GiB", True),
        ("arm, 8 cores, 16 GiB", "Apple M2, 8 cores, 16 GiB", True),
        ("aarch64, 8 cores, 16 GiB", "aarch64 0x41 0xd0c, 16 cores, 16 GiB", False),
        ("arm, 8 cores, 16 GiB", "A Processor, 8 cores, 16 GiB", False),
    ],
)
def test_a_processor_that_has_a_name_since_is_no_second_machine(make_grid, earlier, later, is_one):
    pairs = zip(make_grid(0.7, 0.8), (earlier, later), strict=True)
    records = [replace(record, tags={"hardware": hardware}) for record, hardware in pairs]
    assert note_machines(records, ["time/fit_seconds"]) == (() if is_one else (OTHER_MACHINES,))
    facts = collect_records(records, "grid").facts
    assert facts["hardware"] == (later if is_one else f"{later} (jobs 1); {earlier} (jobs 0)")


def test_a_parent_run_is_found_by_its_folder(make_grid, tmp_path, monkeypatch):
    sweep_dir = tmp_path / "multirun/mine"
    for record in make_grid(0.7, 0.9):
        write_result(sweep_dir / str(record.job_number), record)
    (sweep_dir / "multirun.yaml").write_text(
        "hydra: {overrides: {task: ['model.heads=1,2'], hydra: [hydra.mode=MULTIRUN]}}", encoding="utf-8"
    )
    write_json(sweep_dir / "parent_run.json", {"uri": "sqlite:///none.db", "experiment_id": "1", "run_id": "c" * 32})
    monkeypatch.setattr(stored_runs, "MULTIRUN_DIR", tmp_path / "multirun")
    table, folder = open_sweep("c" * 32)
    assert (table.name, len(table.rows), folder) == ("mine", 2, sweep_dir)
    assert table.command == "python run.py -m model.heads=1,2"


def test_a_multirun_is_told_with_the_flags_of_its_command_and_its_best_run_too(make_grid, tmp_path, monkeypatch):
    for record in make_grid(0.7, 0.9):
        write_result(tmp_path / str(record.job_number), record)
    (tmp_path / "multirun.yaml").write_text("hydra: {overrides: {task: ['model.heads=1,2'], hydra: []}}")
    for flags in ("--config-dir 'my own' -m model.heads=1,2", "-m model.heads=1,2 --config-dir='my own'"):
        monkeypatch.setattr("sys.argv", ["run.py", *shlex.split(flags)])
        write_multirun_command(tmp_path)
        table = collect_sweep(tmp_path)
        assert shlex.split(table.command) == ["python", "run.py", *shlex.split(flags)]
        bare = replace(table, command="python run.py --config-dir 'my o").best_command
        assert shlex.split(table.best_command)[-2:] == shlex.split(bare)[-2:]
        assert "my own" in table.best_command
        assert "-m" not in shlex.split(table.best_command)


def test_jobs_of_folders_with_names_of_their_own_are_found_there(make_grid, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_runs, "MULTIRUN_DIR", tmp_path)
    sweep_dir = tmp_path / "mine"
    for record in make_grid(0.7, 0.9):
        write_result(sweep_dir / f"heads {record.job_number}", record)
    assert "folder" not in (sweep_dir / "heads 1/result.json").read_text()
    table = collect_sweep(sweep_dir)
    assert table.run_place == "'mine/heads 1'"
    assert table.folder_of(table.best, sweep_dir) == api.Sweep(sweep_dir).best.folder == sweep_dir / "heads 1"
    links = link_rows(table, sweep_dir, sweep_dir / "report")
    assert [link.address for link in links[0, "job"]][:1] == ["../heads%201/"]
    with pytest.raises(TrackingError, match=f"by its folder or MLflow run id: {sweep_dir}/heads 0"):
        stored_runs.find_stored_run("mine", tmp_path, "")


def test_the_best_run_of_a_study_with_repeats_is_found_by_what_the_page_calls_it(make_grid, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_runs, "MULTIRUN_DIR", tmp_path)
    for job, record in enumerate(make_grid(0.7, 0.7, 0.9, 0.9)):
        tags = {**record.tags, "trial.number": str(job // 2), "trial.repeat": str(job % 2)}
        write_result(tmp_path / "mine" / str(job), replace(record, tags=tags))
    place = collect_sweep(tmp_path / "mine").run_place
    assert stored_runs.find_stored_run(place, tmp_path, "").record.job_number == 2


def test_an_interrupted_trial_waits_and_says_what_runs_it_again(make_record):
    record = make_record(0, status="KILLED", reason="interrupted (Ctrl-C)", params=AIM)
    (row,) = collect_records([record], "mine", history=make_history(make_trial(0, "waiting"))).rows
    assert (row.state, row.reason) == ("waiting", "interrupted (Ctrl-C); the same command runs it again")
