"""Groups of runs compared: the table, the sentence, and what is refused."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from sentiment.errors import SentimentError
from sentiment.report.compare.comparison import compare_runs, keep_finished, name_groups, split_runs
from sentiment.report.compare.summary import conclude, print_comparison, write_csv, write_p_value
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.tracking.anew import VERSIONS_TAG
from sentiment.tracking.folder import PREDICTIONS_FILE
from sentiment.tracking.result_file import BEHIND_NAMES, CONTINUES_TAG
from sentiment.tracking.runs import StoredRun

SETTINGS = {
    "model.pooling": "mean", "optimizer.lr": "0.003", "data.name": "synthetic", "data.train_size": "100",
    "data.path": "here", "trainer.threads": "1",
}  # fmt: skip


@pytest.fixture
def make_run(make_record, tmp_path):
    """Make a stored run, with test predictions where its correctness is given."""

    def make(model="rnn", seed=0, accuracy=0.8, right=None, labels=None, fingerprint="f" * 64, params=(), **changes):
        record = make_record(
            seed,
            model,
            accuracy=accuracy,
            params={"model.name": model, "seed": str(seed), **SETTINGS, **dict(params)},
            tags={} if fingerprint is None else {"data.fingerprint": fingerprint, "data.description": "some reviews"},
            run_id=None,
            seconds=60.0 + len(list(tmp_path.iterdir())),
            **{"metrics": {"val/accuracy": accuracy, "val/loss": 1 - accuracy, "test/accuracy": accuracy}, **changes},
        )
        folder = tmp_path / f"{model}{seed}{len(list(tmp_path.iterdir()))}"
        (folder / "predictions").mkdir(parents=True)
        if right is not None:
            labels = np.zeros(len(right), dtype=np.int64) if labels is None else labels
            predicted = np.where(right, labels, 1 - labels)
            np.savez(
                folder / PREDICTIONS_FILE, labels=labels, probabilities=np.eye(2)[predicted], class_names=["a", "b"]
            )
        return StoredRun(record, folder)

    return make


def groups_of(make_run, first=(0.90, 0.91, 0.92), second=(0.80, 0.82, 0.81), **changes):
    return {
        "rnn": [make_run("rnn", seed, value, **changes) for seed, value in enumerate(first)],
        "transformer": [make_run("transformer", seed, value, **changes) for seed, value in enumerate(second)],
    }


def test_a_clear_difference_over_seeds(make_run):
    comparison = compare_runs(groups_of(make_run))
    assert comparison.metric == "test/accuracy"
    assert [group.name for group in comparison.groups] == ["rnn", "transformer"]
    (pair,) = comparison.pairs
    assert pair.better == "rnn"
    assert pair.difference.value == pytest.approx(0.1)
    assert conclude(comparison).startswith("rnn is better than transformer by 10.00 points of test accuracy (95 %")
    assert conclude(comparison).endswith("3 seeds each).")
    assert any("on these reviews alone" in note for note in comparison.notes)


def test_the_sentence_is_the_same_whichever_way_round(make_run):
    groups = groups_of(make_run)
    again = dict(reversed(list(groups.items())))
    assert conclude(compare_runs(groups)) == conclude(compare_runs(again))


def test_no_difference_says_what_would_have_shown(make_run):
    comparison = compare_runs(groups_of(make_run, second=(0.92, 0.90, 0.90)))
    assert comparison.pairs[0].better is None
    assert conclude(comparison).startswith("No difference shown: rnn less transformer is 0.33 points of test accuracy")
    assert "only differences above about 6.4 points would show" in conclude(comparison)


def test_a_difference_that_would_show_is_one_that_can_be(make_run):
    said = conclude(compare_runs(groups_of(make_run, first=(0.95, 0.96), second=(0.50, 0.955))))
    assert said.endswith("values that vary so much would show no difference, however large.")
    times = {"rnn": (100.0, 180.0), "transformer": (120.0, 110.0)}
    groups = {
        name: [make_run(name, seed, metrics={"time/latency_ms": value}) for seed, value in enumerate(values)]
        for name, values in times.items()
    }
    assert "above about 630 would show" in conclude(compare_runs(groups, "time/latency_ms"))


def test_the_lower_loss_is_better(make_run):
    comparison = compare_runs(groups_of(make_run), "val/loss")
    assert comparison.direction == "minimize"
    assert comparison.groups[0].name == "rnn"
    assert comparison.pairs[0].better == "rnn"
    assert conclude(comparison).startswith("rnn is better than transformer by 0.1 in validation loss")


def test_two_single_runs_are_compared_over_the_reviews(make_run):
    right = np.ones(400, dtype=bool)
    groups = {"a": [make_run("rnn", right=right)], "b": [make_run("transformer", right=np.arange(400) >= 40)]}
    comparison = compare_runs(groups)
    (pair,) = comparison.pairs
    assert pair.difference.value == pytest.approx(0.1)
    assert pair.difference.p_value == pytest.approx(2 * 0.5**40)
    assert "400 reviews" in conclude(comparison)
    assert any("says nothing about other seeds" in note for note in comparison.notes)


def test_runs_of_the_same_answers_show_no_difference(make_run):
    right = np.arange(100) > 9
    comparison = compare_runs({"a": [make_run(right=right)], "b": [make_run(right=right)]})
    assert comparison.pairs[0].better is None
    assert "0.00 points" in conclude(comparison)


def test_single_runs_on_validation_allow_no_conclusion(make_run):
    untested = {"metrics": {"val/accuracy": 0.8}}
    comparison = compare_runs({"a": [make_run("rnn", **untested)], "b": [make_run("transformer")]})
    assert comparison.metric == "val/accuracy"
    assert any("1 of 2 runs left the test split alone" in note for note in comparison.notes)
    assert comparison.pairs[0].difference is None
    assert conclude(comparison).startswith("Nothing can be concluded on validation accuracy: with one run each")


def test_every_pair_that_allows_no_conclusion_has_its_reason_and_its_line(make_run, tmp_path):
    groups = groups_of(make_run, first=(0.9, 0.9, 0.9), second=(0.8, 0.8, 0.8)) | {"third": [make_run("third")]}
    comparison = compare_runs(groups)
    assert conclude(comparison) == (
        "Nothing can be concluded on test accuracy between rnn and transformer: nothing varies between their seeds; "
        "nothing can be concluded on test accuracy between rnn and third, transformer and third: nobody knows the "
        "spread between seeds of a single run."
    )
    assert not any("Holm" in note for note in comparison.notes), "nothing was tested"
    write_csv(comparison, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text(encoding="utf-8").count("difference,") == 3


def test_several_groups_are_corrected(make_run):
    groups = groups_of(make_run) | {"third": [make_run("third", seed, 0.80 + seed / 50) for seed in range(3)]}
    comparison = compare_runs(groups)
    assert len(comparison.pairs) == 3
    assert all(pair.p_value >= pair.difference.p_value for pair in comparison.pairs)
    assert comparison.pairs[0].p_value > comparison.pairs[0].difference.p_value
    assert any("3 pairs (Holm" in note for note in comparison.notes)


def test_a_pair_whose_seeds_never_vary_is_not_decided(make_run):
    comparison = compare_runs(groups_of(make_run, (0.9, 0.9), (0.8, 0.8)))
    assert comparison.pairs[0].better is None
    assert "nothing varies between their seeds" in conclude(comparison)


def test_where_nothing_varies_there_is_no_interval(make_run, capsys):
    comparison = compare_runs(groups_of(make_run, (0.8, 0.8), (0.8, 0.8)))
    print_comparison(comparison, Console(width=120, highlight=False))
    printed = capsys.readouterr().out
    assert " to " not in printed
    assert printed.splitlines()[-1].endswith("is 0.00 points of test accuracy (p = 1, 2 seeds each).")


def test_other_data_is_refused_with_what_differs(make_run):
    groups = groups_of(make_run)
    groups["transformer"] = [make_run("transformer", 0, fingerprint="0" * 64, params={"data.train_size": "200"})]
    with pytest.raises(SentimentError, match="not trained and tested on the same data") as caught:
        compare_runs(groups)
    assert "data.train_size is 100 and 200" in str(caught.value)
    assert "ffffffffffff" in str(caught.value)
    assert "000000000000" in str(caught.value)


def test_runs_without_a_fingerprint_are_refused(make_run):
    with pytest.raises(SentimentError, match="no data fingerprint"):
        compare_runs(groups_of(make_run, fingerprint=None))


@pytest.mark.parametrize("labels", [np.zeros(40, dtype=np.int64), np.ones(50, dtype=np.int64)])
def test_predictions_of_other_reviews_are_refused(make_run, labels):
    one = make_run("rnn", right=np.ones(50, dtype=bool))
    other = make_run("transformer", right=np.ones(len(labels), dtype=bool), labels=labels)
    with pytest.raises(SentimentError, match="different reviews"):
        compare_runs({"a": [one], "b": [other]})


def test_runs_of_a_group_differ_in_the_seed_alone(make_run):
    groups = groups_of(make_run)
    groups["rnn"][1] = make_run("rnn", 1, params={"model.pooling": "max"})
    with pytest.raises(SentimentError, match=r"differ in more than the seed: model\.pooling") as caught:
        compare_runs(groups)
    assert "--by" not in str(caught.value), "it would compare models"
    del groups["transformer"]
    groups["again"] = [make_run("rnn", 2, params={"model.pooling": "max"})]
    with pytest.raises(SentimentError, match=r"differ in more than the seed: model\.pooling(.|\n)*--by model\.pooling"):
        compare_runs(groups)


def test_an_alias_and_the_version_that_it_stood_for_are_one_setting(make_run):
    """What `best` writes names the version, the trial that it is of the alias; an old record tells no version."""
    alias, versions, key = "models:/imdb@champion", {"models:/imdb@champion": "models:/imdb/3"}, "trainer.init_from"

    def start(seed, name, known=()):
        run = make_run("rnn", seed, params={key: name})
        tags = {**run.record.tags, **({VERSIONS_TAG: json.dumps(known)} if known else {})}
        return replace(run, record=replace(run.record, tags=tags))

    of_alias, of_version = start(0, alias, versions), start(1, "models:/imdb/3")
    for runs in ([of_alias, of_version], [of_alias, start(1, alias)]):
        assert compare_runs({"a": runs, "b": [make_run("transformer", seed) for seed in (0, 1)]}).pairs
    groups = split_runs([of_alias, of_version, start(2, "models:/imdb/4")], "init_from")
    assert {name: len(runs) for name, runs in groups.items()} == {
        "init_from=models:/imdb/3": 2, "init_from=models:/imdb/4": 1,
    }  # fmt: skip
    with pytest.raises(SentimentError, match=r"differ in more than the seed: trainer\.init_from"):
        compare_runs({"a": [of_alias, start(1, "models:/imdb/4")], "b": [make_run("transformer", 0)]})


def test_single_runs_beside_each_other_are_told_apart_without_numbers(make_run):
    runs = [make_run("rnn", 0), make_run("rnn", 1)]
    runs = [replace(run, record=replace(run.record, job_number=None)) for run in runs]
    rows = [
        SweepRow(n, "rnn", state, None, {}, {"val/accuracy": 0.8}, {}, runs=(run.record,))
        for n, (run, state) in enumerate(zip(runs, ("complete", "killed"), strict=True))
    ]
    table = SweepTable("sweep", None, ("val/accuracy",), ("maximize",), tuple(rows), ())
    notes = ["Left out, because they did not finish: jobs rnn 1 (killed)."]
    assert keep_finished(runs, table) == (runs[:1], notes)


def test_a_p_value_just_below_the_level_reads_so():
    written = [write_p_value(value) for value in (math.nan, 0.0004, 0.0496, 0.05, 0.0512)]
    assert written == ["-", "< 0.001", "0.0496", "0.05", "0.051"]


@pytest.mark.parametrize("tag", BEHIND_NAMES)
def test_runs_that_one_name_gave_different_models_or_texts_are_no_seeds(make_run, tag):
    groups = groups_of(make_run)
    first, second, old = groups["rnn"]
    first, second = (
        replace(run, record=replace(run.record, tags={**run.record.tags, tag: text}))
        for run, text in ((first, "a"), (second, "b"))
    )
    assert compare_runs({**groups, "rnn": [first, old]}).pairs
    with pytest.raises(SentimentError, match=f"The runs of rnn {BEHIND_NAMES[tag]}"):
        compare_runs({**groups, "rnn": [first, second, old]})


def test_where_a_run_is_done_makes_no_other_group(make_run):
    groups = groups_of(make_run)
    groups["rnn"][1] = make_run("rnn", 1, 0.91, params={"data.path": "there", "trainer.threads": "8"})
    assert compare_runs(groups).pairs[0].better == "rnn"


def test_a_seed_counts_once(make_run):
    with pytest.raises(SentimentError, match="several runs of seed 0"):
        compare_runs({"a": [make_run(), make_run()], "b": [make_run("transformer")]})


def test_unfinished_runs_are_refused(make_run):
    with pytest.raises(SentimentError, match="is PRUNED; only finished runs"):
        compare_runs({"a": [make_run(status="PRUNED")], "b": [make_run("transformer")]})


def test_a_missing_metric_names_those_that_all_have(make_run):
    with pytest.raises(SentimentError, match="has no test/f1") as caught:
        compare_runs(groups_of(make_run), "test/f1")
    assert "val/accuracy, val/loss, test/accuracy" in str(caught.value)


def test_a_metric_that_is_no_number_is_refused(make_run):
    with pytest.raises(SentimentError, match="no finite number"):
        compare_runs(groups_of(make_run, metrics={"test/accuracy": math.nan}))


def test_a_result_that_another_study_took_over_is_no_run_of_its_own(make_run):
    """A copy lies in another folder, and MLflow may know of neither."""
    first, second = ([make_run("rnn", seed) for seed in range(3)] for _ in range(2))
    groups = {"before": first, "after": second}
    assert compare_runs(groups).pairs[0].better is None
    second[0] = StoredRun(replace(first[0].record, job_number=3), second[0].folder)
    with pytest.raises(SentimentError, match="would count twice"):
        compare_runs(groups)


def test_one_group_is_no_comparison(make_run):
    with pytest.raises(SentimentError, match="two groups"):
        compare_runs({"a": [make_run()]})


def test_groups_that_differ_in_more_than_one_setting_are_noted(make_run):
    groups = groups_of(make_run)
    groups["rnn"] = [make_run("rnn", seed, 0.9 + seed / 100, params={"optimizer.lr": "0.1"}) for seed in range(3)]
    assert "The groups differ in model, optimizer.lr." in compare_runs(groups).notes


def test_a_sweep_is_split_by_a_setting(make_run):
    runs = [make_run("rnn", s, params={"model.pooling": p}) for p in ("mean", "max") for s in (0, 1)]
    assert {name: len(found) for name, found in split_runs(runs, "model.pooling").items()} == {
        "pooling=mean": 2,
        "pooling=max": 2,
    }
    assert list(split_runs([*runs, make_run("transformer")], "model")) == ["rnn", "transformer"]


def test_a_setting_may_be_named_by_its_last_part_and_drawn_numbers_are_read_by_people(make_run):
    drawn = "0.2070978773939142"
    runs = [make_run("rnn", 0, params={"model.dropout": dropout}) for dropout in (drawn, "0.1")]
    assert (
        list(split_runs(runs, "dropout"))
        == list(split_runs(runs, "model.dropout"))
        == ["dropout=0.2071", "dropout=0.1"]
    )
    near = [make_run("rnn", 0, params={"model.dropout": dropout}) for dropout in (drawn, f"{drawn}1")]
    assert list(split_runs(near, "dropout")) == [f"dropout={drawn}", f"dropout={drawn}1"]
    with pytest.raises(SentimentError, match=r"no finished run that has it(.|\n)*did you mean --by model\.dropout\?"):
        split_runs(runs, "droput")


def test_seeds_of_one_setting_are_no_groups(make_run):
    with pytest.raises(SentimentError, match="all have the same settings but for the seed: name others"):
        split_runs([make_run("rnn", seed) for seed in range(3)], "model")


def test_runs_of_a_trial_that_did_not_finish_are_left_out(make_run):
    """A repeat may have finished although its trial, whose other repeat failed, did not."""
    runs = [make_run("rnn", 0), make_run("rnn", 1), make_run("rnn", 2, status="FAILED")]
    rows = [
        SweepRow(0, "rnn", "complete", 1, {}, {"val/accuracy": 0.8}, {}, runs=(runs[0].record,)),
        SweepRow(1, "rnn", "failed", None, {}, {}, {}, runs=(runs[1].record, runs[2].record)),
    ]
    table = SweepTable("sweep", None, ("val/accuracy",), ("maximize",), tuple(rows), (), is_study=True, repeats=2)
    assert keep_finished(runs, table) == (
        runs[:1], ["Left out, because they did not finish: jobs 1 (failed), 2 (failed)."],
    )  # fmt: skip
    assert keep_finished(runs[1:], table) == (runs[1:], [])


def test_runs_over_a_limit_are_named(make_run):
    runs = [make_run("rnn", 0), make_run("rnn", 1)]
    rows = [
        SweepRow(n, "rnn", "complete", None, {}, {"val/accuracy": 0.8}, {}, excess=excess, runs=(run.record,))
        for n, (run, excess) in enumerate(zip(runs, ({}, {"size": 1.0}), strict=True))
    ]
    table = SweepTable("sweep", None, ("val/accuracy",), ("maximize",), tuple(rows), (), notes=("Look here.",))
    assert keep_finished(runs, table) == (runs, ["Look here.", "These break a limit of their study: jobs 1."])


def test_a_copy_is_no_seed_of_its_settings(make_run):
    own, copy, other = make_run("rnn", 0), make_run("rnn", 1), make_run("transformer", 0)
    copy = replace(copy, record=replace(copy.record, tags={**copy.record.tags, CONTINUES_TAG: "0"}))
    with pytest.raises(SentimentError, match=r"differ in more than the seed: trial\.continues"):
        compare_runs({"rnn": [own, copy], "transformer": [other]})
    assert name_groups([[own], [copy]]) == ["rnn seed=0 continues=null", "rnn seed=1 continues=0"]


def test_intervals_of_shares_end_at_0_and_100_percent(make_run):
    comparison = compare_runs(groups_of(make_run, first=(1.0, 0.97, 0.85), second=(0.02, 0.0, 0.11)))
    best, worst = comparison.groups
    assert (best.estimate.high, worst.estimate.low) == (1.0, 0.0)
    assert 0 < best.estimate.low < best.estimate.value < 1
    assert -1 <= comparison.pairs[0].difference.low < comparison.pairs[0].difference.high <= 1
    loss = compare_runs(groups_of(make_run, first=(1.0, 0.97, 0.85), second=(0.02, 0.0, 0.11)), "val/loss")
    assert (loss.groups[0].estimate.low, loss.groups[1].estimate.high > 1) == (0.0, True)
    assert loss.pairs[0].difference.low < -0.9


def test_a_sweep_of_one_model_names_the_settings_that_would_split_it(make_run):
    runs = [make_run("rnn", 0, params={"model.pooling": pooling}) for pooling in ("mean", "max")]
    with pytest.raises(SentimentError, match="only rnn") as caught:
        split_runs(runs, "model")
    assert "one of model.pooling" in str(caught.value)


def test_groups_are_named_by_what_tells_them_apart(make_run):
    one, other = make_run("rnn", 0), make_run("rnn", 1, params={"model.pooling": "max"})
    assert name_groups([[one], [make_run("transformer")]]) == ["rnn", "transformer"]
    assert name_groups([[one], [other]]) == ["rnn seed=0 pooling=mean", "rnn seed=1 pooling=max"]
    assert name_groups([[one], [one]]) == ["rnn (1)", "rnn (2)"]
    tree = make_run("tree", params={"model.leaves": "3"})
    named = ["rnn seed=0 pooling=mean", "rnn seed=1 pooling=max", "tree"]
    assert name_groups([[one], [other], [tree]]) == named, "nothing that a model lacks or is alone with"


def test_what_is_cut_of_a_group_s_name_tells_no_groups_apart(make_run):
    """Seven long settings that two groups share stand before the one in which these differ."""
    first, second = ({f"model.{letter * 30}": value for letter in "abcdefg"} for value in "01")
    chosen = [(first, "1"), (first, "2"), (second, "1")]
    names = name_groups([[make_run("rnn", params={**long, "model.width": width})] for long, width in chosen])
    assert [name.split()[2] for name in names] == ["width=1", "width=2", "width=1"]
    assert len(set(names)) == 3
    assert all(name.endswith(" more)") for name in names), "no numbers, which would tell nothing"


def test_groups_that_a_long_path_tells_apart_are_named_by_its_end(make_run):
    starts = [f"/home/someone/sentiment/multirun/2026-12-01/10-00-00/{job}" for job in range(2)]
    names = name_groups([[make_run("rnn", params={"trainer.init_from": start})] for start in starts])
    assert [name[-6:] for name in names] == ["0-00/0", "0-00/1"]
    assert all(name.startswith("rnn init_from=…") for name in names)


def test_the_printed_table_has_every_seed_and_the_sentence(make_run, capsys):
    comparison = compare_runs(groups_of(make_run))
    print_comparison(comparison, Console(width=120, highlight=False))
    printed = capsys.readouterr().out
    assert "90.00 %, 91.00 %, 92.00 %" in " ".join(printed.split())
    assert "paired t test over 3 seeds" in printed
    assert conclude(comparison)[:60] in printed


def test_the_csv_has_every_number_in_full(make_run, tmp_path):
    comparison = compare_runs(groups_of(make_run))
    write_csv(comparison, tmp_path / "new" / "table.csv")
    with (tmp_path / "new" / "table.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["kind"] for row in rows] == ["run"] * 3 + ["mean"] + ["run"] * 3 + ["mean", "difference"]
    assert float(rows[-1]["value"]) == comparison.pairs[0].difference.value
    assert rows[-1]["better"] == "rnn"


def test_a_try_is_not_compared(make_run):
    groups = groups_of(make_run) | {"third": [make_run("third", params={"trainer.debug": "fast"})]}
    with pytest.raises(SentimentError, match=r"of third is a try(.|\n)*-> leave it out, or train it without debug"):
        compare_runs(groups)


def test_a_run_that_trained_on_is_no_seed_of_those_in_one_piece(make_run):
    groups = groups_of(make_run)
    last = groups["rnn"].pop()
    longer = replace(last, record=replace(last.record, tags={**last.record.tags, "trainer.trained_on": "2"}))
    with pytest.raises(SentimentError, match=r"differ in more than the seed: trainer\.trained_on"):
        compare_runs({**groups, "rnn": [*groups["rnn"], longer]})
    assert name_groups([groups["rnn"], [longer]]) == ["rnn trained_on=null", "rnn trained_on=2"]


def test_runs_of_other_code_are_told_once(make_run):
    def commit(run, name, is_dirty):
        tags = {**run.record.tags, "git.commit": name, "git.dirty": str(is_dirty).lower()}
        return replace(run, record=replace(run.record, tags=tags))

    for other, is_dirty, is_told in (("a", False, 0), ("b", False, 1), ("a", True, 1)):
        groups = groups_of(make_run)
        groups = {
            name: [commit(run, *(("a", False) if name == "rnn" else (other, is_dirty))) for run in runs]
            for name, runs in groups.items()
        }
        notes = compare_runs(groups).notes
        assert len([note for note in notes if "not made by the same code" in note]) == is_told
        assert set(compare_runs(groups, notes=notes).notes) == set(notes)


def test_reviews_that_a_start_knows_are_told_once(make_run):
    groups = groups_of(make_run)
    first, *others = groups["rnn"]
    tags = {**first.record.tags, "test.known": "3 of 40"}
    groups["rnn"] = [replace(first, record=replace(first.record, tags=tags)), *others]
    [note] = [note for note in compare_runs(groups).notes if "knows test reviews" in note]
    assert compare_runs(groups, notes=[note]).notes.count(note) == 1


@pytest.mark.parametrize(("metric", "is_told"), [("time/fit_seconds", True), ("val/loss", False)])
def test_times_of_other_machines_are_compared_with_a_warning(make_run, metric, is_told):
    groups = groups_of(make_run)
    tags = {"device": "cuda", "hardware": "another"}
    groups["rnn"] = [
        replace(run, record=replace(run.record, tags={**run.record.tags, **tags})) for run in groups["rnn"]
    ]
    own = {"device": "cpu (4 threads)", "hardware": "this"}
    groups["transformer"] = [
        replace(run, record=replace(run.record, tags={**run.record.tags, **own})) for run in groups["transformer"]
    ]
    told = [note for note in compare_runs(groups, metric).notes if "not timed on one hardware and device" in note]
    assert len(told) == is_told
