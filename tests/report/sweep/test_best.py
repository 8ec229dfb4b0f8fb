"""Which trial is the best of a sweep, and what is left of it."""

from __future__ import annotations

import math

import pytest

from sentiment.errors import SentimentError
from sentiment.report.sweep.best import choose_best, name_experiment, name_model
from sentiment.report.sweep.collect import collect_records
from sentiment.report.sweep.table import SweepRow, SweepTable


@pytest.fixture
def make_table(make_record):
    """Make a sweep of three ranked trials and a failed one."""

    def make(**changes):
        rows = []
        for rank, (number, value) in enumerate([(4, 0.9), (1, 0.8), (0, 0.7)], start=1):
            record = make_record(
                number, accuracy=value, params={"data.name": "imdb"},
                tags={"git.commit": "abc", "git.dirty": "true", "device": "cpu (2 threads)"},
            )  # fmt: skip
            row = SweepRow(number, "a", "complete", rank, {"model.depth": rank}, {"val/accuracy": value}, {})
            rows.append(SweepRow(**{**vars(row), "runs": (record,), **(changes if rank == 1 else {})}))
        rows.append(SweepRow(2, "b", "failed", None, {}, {}, {}, reason="no memory"))
        return SweepTable("a study", None, ("val/accuracy",), ("maximize",), tuple(rows), ())

    return make


def test_the_first_rank_is_the_best(make_table):
    best = choose_best(make_table(), None)
    assert (best.row.number, best.run_value, best.row.rank, best.record.shares) == (4, 0.9, 1, {"trainer.threads": "2"})
    assert "rank 1 of 3" in best.describe()[0]
    assert best.describe() == [
        "Trial 4 of a study: val/accuracy 90.00 %, rank 1 of 3.",
        "Made by commit abc with uncommitted changes.",
    ]
    assert best.describe(in_full=True)[0] == "Trial 4 of a study: val/accuracy 0.9, rank 1 of 3."
    assert (name_experiment(best), name_model(best)) == ("a_study_best", "sentiment-imdb")


def test_another_rank(make_table):
    best = choose_best(make_table(), None, 3)
    assert best.row.number == 0
    assert name_experiment(best) == "a_study_rank3"


@pytest.mark.parametrize("rank", [0, 4])
def test_a_rank_that_nobody_has(make_table, rank):
    with pytest.raises(SentimentError, match="3 of 4 trials finished") as caught:
        choose_best(make_table(), None, rank)
    assert "--rank 1 to 3" in str(caught.value)


def test_a_trial_that_breaks_a_limit_is_no_best(make_table):
    over = {"rank": None, "reason": "breaks a limit: model/parameters by 5", "excess": {"model/parameters": 5.0}}
    with pytest.raises(
        SentimentError, match=r"1 of those break a limit, as trial 4 breaks a limit: model/parameters by 5"
    ):
        choose_best(make_table(**over), None)


def test_a_trial_of_which_nothing_is_left_is_named_with_its_parameters(make_table, tmp_path):
    with pytest.raises(SentimentError, match=r"its folder is gone(.|\n)*model\.depth=1(.|\n)*--rank 2"):
        choose_best(make_table(runs=()), tmp_path)


def test_a_trial_of_another_application_is_no_run(make_table, tmp_path):
    table = make_table(runs=())
    (tmp_path / str(table.job_of(table.rows[0]))).mkdir()
    with pytest.raises(SentimentError, match=r"has no record of it, as runs of this project(.|\n)*model\.depth=1"):
        choose_best(table, tmp_path)


def test_the_value_over_repeats_is_told_apart_from_the_first_ones(make_table):
    best = choose_best(make_table(values={"val/accuracy": 0.85}), None)
    assert (best.row.values[best.objective], best.run_value) == (0.85, 0.9)
    assert "over its repeats" in best.describe()[1]


def test_a_try_is_no_best(make_record):
    table = collect_records([make_record(0, params={"trainer.debug": "overfit"})], "tries")
    with pytest.raises(SentimentError, match=r"only tried a run \(debug\)(.|\n)*-> train without debug"):
        choose_best(table, None)


def test_a_trial_without_a_number_is_no_best(make_record):
    records = [make_record(number, accuracy=value) for number, value in enumerate([math.nan, 0.5])]
    table = collect_records(records, "half", ["val/accuracy"])
    assert choose_best(table, None).row.number == 1
    with pytest.raises(
        SentimentError, match=r"1 of those have no number for val/accuracy\.\n  -> choose --rank 1 to 1"
    ):
        choose_best(table, None, 2)
    with pytest.raises(SentimentError, match="have no number"):
        choose_best(collect_records(records[:1], "none", ["val/accuracy"]), None)
