"""Runs that differ in the seed alone stand in one row."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sentiment.report.record import groups as record_groups
from sentiment.report.record.groups import differing_keys, format_csv, format_groups, make_group_chart
from sentiment.report.sweep.rows import make_job_rows, rank_rows
from sentiment.report.sweep.table import SweepTable
from sentiment.tracking.anew import VERSIONS_TAG
from sentiment.tracking.result_file import BEHIND_NAMES, CONTINUES_TAG


def group_runs(records, objective, direction):
    """Group the runs of a plain multirun."""
    objectives = {objective: direction}
    rows = rank_rows(make_job_rows(records, objectives), objectives)
    return record_groups.group_runs(SweepTable("mine", None, (objective,), (direction,), tuple(rows), ()))


@pytest.fixture
def make_run(make_record):
    def make(number, model, seed, accuracy, **params):
        dotted = {key.replace("__", "."): value for key, value in params.items()}
        return make_record(
            number, model, f"seed={seed}", *(f"{key}={value}" for key, value in dotted.items()), accuracy=accuracy,
            params={"seed": str(seed), "model.name": model, **dotted},
        )  # fmt: skip

    return make


@pytest.fixture
def pooled(make_run):
    values = [("mean", 0, 0.80), ("max", 0, 0.86), ("mean", 1, 0.90), ("max", 1, 0.88)]
    return [make_run(n, "rnn", seed, value, model__pooling=kind) for n, (kind, seed, value) in enumerate(values)]


def test_seeds_are_gathered_and_the_best_mean_comes_first(pooled):
    best, other = group_runs(pooled, "val/accuracy", "maximize")
    assert best.settings == {"model.pooling": "max"}
    assert best.seeds == (0, 1)
    assert best.validation == (0.86, 0.88)
    assert other.validation == (0.80, 0.90)
    assert best.write_label({"model.pooling": "pooling"}) == "rnn pooling=max"
    assert [group.settings for group in group_runs(pooled, "val/accuracy", "minimize")] == [
        {"model.pooling": "mean"},
        {"model.pooling": "max"},
    ]


def test_a_seed_that_was_trained_twice_counts_once(pooled, make_run):
    """Equal runs are no sample: by them a spread would be none."""
    again = [make_run(8, "rnn", 0, 0.70, model__pooling="max"), make_run(9, "rnn", 3, 0.5, model__pooling="last")]
    again.append(make_run(10, "rnn", 3, 0.5, model__pooling="last"))
    best, _, last = group_runs([*pooled, *again], "val/accuracy", "maximize")
    assert (best.seeds, best.validation, best.again) == ((0, 1), (0.86, 0.88), 1)
    assert (last.seeds, last.again) == ((3,), 1)
    assert "| 3 | 50.00 |" in format_groups([last])


def test_a_group_that_is_left_out_is_a_setting_too(make_run):
    """Two experiments that differ in nothing else: their runs are no seeds of one another."""
    words = {"pretrain__name": "lm", "pretrain__lr": "0.002", "pretrain__max_epochs": "2"}
    runs = [make_run(n, "rnn", n // 2, 0.7 + n / 100, **(words if n % 2 else {"pretrain": "null"})) for n in range(4)]
    groups = group_runs(runs, "val/accuracy", "maximize")
    assert [(group.settings, group.seeds, group.again) for group in groups] == [
        ({"pretrain.name": "lm"}, (0, 1), 0), ({"pretrain.name": "null"}, (0, 1), 0),
    ]  # fmt: skip
    assert "| model | pretrain | seeds |" in format_groups(groups)


@pytest.mark.parametrize("tag", BEHIND_NAMES)
def test_what_names_stood_for_is_a_setting_too(make_run, tag):
    runs = [make_run(n, "rnn", n // 2, 0.5, pretrain__name="lm", trainer__teachers="[a]") for n in range(4)]
    assert [group.seeds for group in group_runs(runs, "val/accuracy", "maximize")] == [(0, 1)], "of an earlier version"
    runs = [replace(run, tags={**run.tags, tag: "ab"[n % 2] * 32}) for n, run in enumerate(runs)]
    groups = group_runs(runs, "val/accuracy", "maximize")
    assert [group.settings for group in groups] == [{tag: letter * 12} for letter in "ab"]
    groups = group_runs([runs[0], replace(runs[2], tags={})], "val/accuracy", "maximize")
    assert [group.seeds for group in groups] == [(0, 1)], "one of an earlier version"


def test_an_alias_and_the_version_that_it_stood_for_are_one_setting(make_run):
    alias, versions = "models:/imdb@champion", '{"models:/imdb@champion": "models:/imdb/3"}'
    names = [alias, "models:/imdb/3", "models:/imdb/4"]
    runs = [make_run(n, "rnn", n, 0.9 - n / 10, trainer__init_from=name) for n, name in enumerate(names)]
    runs[0] = replace(runs[0], tags={**runs[0].tags, VERSIONS_TAG: versions})
    groups = group_runs(runs, "val/accuracy", "maximize")
    assert [(group.settings["trainer.init_from"], group.seeds) for group in groups] == [
        (names[1], (0, 1)),
        (names[2], (2,)),
    ]


def test_the_test_stands_beside_validation_in_its_own_measure(make_run):
    metrics = {"val/loss": 0.4, "test/loss": 0.5, "val/accuracy": 0.8, "test/accuracy": 0.88}
    run = replace(make_run(0, "rnn", 0, 0.8, model__pooling="max"), metrics=metrics)
    [group] = group_runs([run], "val/loss", "minimize")
    assert (group.tested_by, group.test) == ("test/loss", (0.5,))
    assert "validation (loss) | test (loss)" in format_groups([group])
    [panel] = make_group_chart([group], "comparison", "c", "val/loss").panels
    assert {value for series in panel.series for value in series.x} == {0.4, 0.5}
    [cost] = group_runs([replace(run, parameters=900)], "model/parameters", "minimize")
    assert (cost.validation, cost.tested_by) == ((900.0,), "test/accuracy")
    [panel] = make_group_chart([cost], "comparison", "c", "model/parameters").panels
    assert {value for series in panel.series for value in series.x} == {900.0}, "accuracy is no number of parameters"


def test_numbers_that_read_alike_are_two_lines_of_the_list(make_run):
    rates = ["0.00123441123", "0.00123442123"]
    groups = group_runs(
        [make_run(n, "rnn", 0, 0.5, optimizer__lr=one) for n, one in enumerate(rates)], "val/accuracy", "maximize"
    )
    [panel] = make_group_chart(groups, "comparison", "rates", "val/accuracy").panels
    assert sorted(panel.y.categories) == [f"rnn lr={rate}" for rate in rates]


def test_pruned_and_failed_runs_have_no_place(pooled, make_run):
    pruned = make_run(9, "rnn", 2, 0.99, model__pooling="max")
    pruned = pruned.__class__(**{**vars(pruned), "status": "PRUNED"})
    assert group_runs([*pooled, pruned], "val/accuracy", "maximize")[0].seeds == (0, 1)


def test_the_table_tells_mean_spread_and_each_seed(pooled):
    text = format_groups(group_runs(pooled, "val/accuracy", "maximize"))
    assert "| model | pooling | seeds | validation | test | parameters | minutes a run |" in text
    assert "| rnn | max | 0, 1 | 87.00 ± 1.41 (86.00, 88.00) | 75.00 ± 0.00 (75.00, 75.00) | 2,612,345 | 1.3 |" in text


def test_the_csv_has_a_line_a_run(pooled):
    lines = format_csv(group_runs(pooled, "val/accuracy", "maximize")).splitlines()
    assert lines[0] == "model,model.pooling,seed,validation,test/accuracy,parameters,minutes"
    assert len(lines) == 5
    assert lines[1].startswith("rnn,max,0,0.86,0.75,")


def test_seeds_that_were_not_tested_leave_their_cells_empty(pooled):
    """A mean over some of the seeds says of which."""
    first = pooled[1]
    left_alone = {name: value for name, value in first.metrics.items() if not name.startswith("test/")}
    groups = group_runs([pooled[0], replace(first, metrics=left_alone), *pooled[2:]], "val/accuracy", "maximize")
    assert [line.split(",")[:5] for line in format_csv(groups).splitlines()[1:3]] == [
        ["rnn", "max", "0", "0.86", ""],
        ["rnn", "max", "1", "0.88", "0.75"],
    ]
    assert "| 75.00; seeds 1 only |" in format_groups(groups)
    [panel] = make_group_chart(groups, "comparison", "pooling", "val/accuracy").panels
    assert {series.name: series.x for series in panel.series if series.name}["test"] == (0.75, 0.75)


def test_a_list_of_settings_is_drawn_best_first(pooled):
    chart = make_group_chart(group_runs(pooled, "val/accuracy", "maximize"), "comparison", "pooling", "val/accuracy")
    [panel] = chart.panels
    assert panel.y.categories == ("rnn pooling=max", "rnn pooling=mean")
    means = {series.name: series.x for series in panel.series if series.name}
    assert means["validation"] == pytest.approx((0.87, 0.85))
    assert means["test"] == pytest.approx((0.75, 0.75))


def test_a_setting_that_is_a_scale_becomes_the_axis(make_run):
    runs = [
        make_run(10 * n + m, model, 0, 0.8 + 0.01 * n, data__max_tokens=str(tokens))
        for m, model in enumerate(("rnn", "transformer"))
        for n, tokens in enumerate((128, 256, 1024))
    ]
    chart = make_group_chart(group_runs(runs, "val/accuracy", "maximize"), "comparison", "length", "val/accuracy")
    [panel] = chart.panels
    assert panel.x.title == "data.max_tokens"
    assert panel.x.is_log
    assert {series.name: series.x for series in panel.series} == {
        "rnn": (128.0, 256.0, 1024.0),
        "transformer": (128.0, 256.0, 1024.0),
    }


@pytest.mark.parametrize("seeds", [(0, 0), (0, 1)])
def test_runs_of_other_data_are_no_seeds_of_one_setting(make_run, seeds):
    """The paths of files are not stored: what the files held tells the runs apart."""
    runs = [
        replace(make_run(number, "rnn", seed, value), tags={"data.fingerprint": data})
        for number, (seed, value, data) in enumerate(zip(seeds, (0.9, 0.6), ("a" * 64, "b" * 64), strict=True))
    ]
    best, other = group_runs(runs, "val/accuracy", "maximize")
    assert (best.validation, other.validation, best.again) == ((0.9,), (0.6,), 0)
    assert best.settings == {"data.fingerprint": "a" * 12}


def test_what_is_no_number_comes_last(make_run):
    runs = [make_run(n, "rnn", 0, value, model__heads=str(n)) for n, value in enumerate([0.5, math.nan, 0.9, 0.7])]
    for direction, order in (("maximize", [0.9, 0.7, 0.5]), ("minimize", [0.5, 0.7, 0.9])):
        values = [group.validation[0] for group in group_runs(runs, "val/accuracy", direction)]
        assert values[:3] == order
        assert math.isnan(values[3])


def test_a_bar_in_a_setting_ends_no_cell(make_run):
    runs = [make_run(n, "rnn", 0, 0.5, data__delimiter=mark) for n, mark in enumerate("|;")]
    _, rule, *lines = format_groups(group_runs(runs, "val/accuracy", "maximize")).splitlines()
    assert [line.replace("\\|", "").count("|") for line in lines] == [rule.count("|")] * 2


def test_a_copy_of_another_run_is_no_result_of_its_own_settings(make_run):
    own, copy = (make_run(number, "rnn", 0, value) for number, value in enumerate((0.5, 0.96)))
    copy = replace(copy, tags={**copy.tags, CONTINUES_TAG: "1"})
    groups = group_runs([own, copy], "val/accuracy", "maximize")
    assert [(group.settings, group.validation, group.again) for group in groups] == [
        ({"trial.continues": "1"}, (0.96,), 0),
        ({"trial.continues": "null"}, (0.5,), 0),
    ]


def test_a_run_that_trained_on_is_no_seed_of_those_in_one_piece(make_run):
    runs = [make_run(n, "rnn", n, 0.5) for n in range(3)]
    runs[2] = replace(runs[2], tags={**runs[2].tags, "trainer.trained_on": "2"})
    groups = group_runs(runs, "val/accuracy", "maximize")
    assert [(group.settings, group.seeds) for group in groups] == [
        ({"trainer.trained_on": "null"}, (0, 1)), ({"trainer.trained_on": "2"}, (2,)),
    ]  # fmt: skip


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_seed_without_a_number_leaves_the_mean_undefined(make_run, bad):
    runs = [make_run(seed, "rnn", seed, value) for seed, value in enumerate([bad, 0.9])]
    text = format_groups(group_runs(runs, "val/accuracy", "maximize"))
    assert "| undefined ± undefined (undefined, 90.00) |" in text


def test_settings_with_one_last_part_keep_their_names_apart(make_run):
    settings = [("0", "2", "adam"), ("1", "1", "sgd"), ("2", "2", "adam")]
    runs = [
        make_run(n, "rnn", 0, 0.5 + n / 10, model__dropout=one, pretrain__dropout=other, optimizer__name=name)
        for n, (one, other, name) in enumerate(settings)
    ]
    groups = group_runs(runs, "val/accuracy", "maximize")
    assert format_groups(groups).startswith("| model | model.dropout | pretrain.dropout | optimizer | seeds |")
    [panel] = make_group_chart(groups[:2], "comparison", "dropout", "val/accuracy").panels
    assert panel.y.categories[0] == "rnn model.dropout=2 pretrain.dropout=2 optimizer=adam"


def test_a_setting_that_follows_another_one_is_no_difference(make_run):
    sizes = [{"model__embedding_size": size, "model__hidden_size": size} for size in ("32", "64")]
    runs = [make_run(number, "rnn", 0, 0.5, **both) for number, both in enumerate(sizes)]
    typed = [replace(run, overrides=(f"model.embedding_size={run.params['model.embedding_size']}",)) for run in runs]
    assert differing_keys(typed) == ["model.embedding_size"]


def test_seed_paths_and_what_comes_with_another_model_are_no_differences(make_run):
    runs = [make_run(seed, "rnn", seed, 0.5, trainer__threads=str(seed), data__cache_dir=f"/{seed}") for seed in (0, 1)]
    other = make_run(2, "transformer", 0, 0.5, trainer__threads="0", data__cache_dir="/0", model__heads="4")
    assert differing_keys([*runs, other]) == []


def test_what_a_run_has_not_is_not_unknown(make_run):
    """Teachers of one name that differ tell runs apart; who has no teachers has no lessons that nobody knows."""
    teachers = ["null", "null", '["mine"]', '["mine"]', '["mine"]']
    lessons = [{}, {}, {"teachers.lessons": "a"}, {"teachers.lessons": "b"}, {}]
    runs = [
        replace(make_run(n, "rnn", n, 0.9 - n / 10, trainer__teachers=text), tags=tags)
        for n, (text, tags) in enumerate(zip(teachers, lessons, strict=True))
    ]
    groups = group_runs(runs, "val/accuracy", "maximize")
    assert [(group.settings.get("teachers.lessons"), group.seeds) for group in groups] == [
        (None, (0, 1)), ("a", (2,)), ("b", (3,)), ("unknown", (4,)),
    ]  # fmt: skip
