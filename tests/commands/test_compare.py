"""``python -m sentiment compare`` on folders as runs leave them."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from sentiment.__main__ import main
from sentiment.errors import SentimentError, TrackingError
from sentiment.report.compare.comparison import compare_runs
from sentiment.search.study.address_file import write_study_address
from sentiment.search.study.history import StudyMissingError
from sentiment.tracking import runs as stored_runs
from sentiment.tracking.folder import PREDICTIONS_FILE
from sentiment.tracking.result_file import RESULT_FILE, ResultRecord, read_result, write_result
from sentiment.tracking.runs import StoredRun


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """A sweep of two models and three seeds, and a job that failed."""
    monkeypatch.setattr(stored_runs, "MULTIRUN_DIR", tmp_path / "multirun")
    folder = tmp_path / "multirun" / "sweep"
    jobs = [(model, seed) for model in ("rnn", "transformer") for seed in range(3)]
    for number, (model, seed) in enumerate(jobs):
        right = np.arange(200) >= (20 if model == "rnn" else 60) + seed + number % 2
        labels = np.zeros(200, dtype=np.int64)
        record = ResultRecord(
            name=f"{model} seed={seed}", model=model, status="FINISHED", started="2026-01-01T00:00:00+00:00",
            job_number=number, params={"model.name": model, "seed": str(seed), "model.depth": "1"},
            metrics={"val/accuracy": 0.8, "test/accuracy": float(right.mean())}, test_reviews=200,
            tags={"data.fingerprint": "f" * 64},
        )  # fmt: skip
        write_result(folder / str(number), record)
        file = folder / str(number) / PREDICTIONS_FILE
        file.parent.mkdir()
        np.savez(file, labels=labels, probabilities=np.eye(2)[np.where(right, 0, 1)], class_names=["a", "b"])
    failed = ResultRecord(
        name="rnn seed=9", model="rnn", status="FAILED", started="2026-01-01T00:00:00+00:00", job_number=6,
        params={"model.name": "rnn", "seed": "9"},
    )  # fmt: skip
    write_result(folder / "6", failed)
    return folder


def test_a_sweep_alone_is_grouped_by_model(sweep, capsys):
    main(["compare", "sweep"])
    printed = capsys.readouterr().out
    assert "rnn is better than transformer by" in printed
    assert "3 seeds each" in printed


def test_runs_without_the_setting_are_left_out_with_a_word(sweep, capsys):
    for number, pooling in enumerate(("mean", "max")):
        record = read_result(sweep / str(number) / "result.json")
        write_result(sweep / str(number), replace(record, params={**record.params, "model.pooling": pooling}))
    main(["compare", "sweep", "--by", "model.pooling"])
    printed = " ".join(capsys.readouterr().out.split())
    left = "rnn seed=2, transformer seed=0, transformer seed=1, transformer seed=2"
    assert f"Left out, because they have no model.pooling: {left}." in printed


def test_two_runs_are_compared_over_the_reviews(sweep, capsys):
    main(["compare", "sweep/0", str(sweep / "3")])
    printed = capsys.readouterr().out
    assert "McNemar's exact test, interval by paired bootstrap, over 200 reviews" in " ".join(printed.split())


def test_commas_make_groups(sweep, capsys, tmp_path):
    main(["compare", "sweep/3,sweep/4,sweep/5", "sweep/0,sweep/1", "--csv", str(tmp_path / "table.csv")])
    assert "2 and 3 seeds" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "table.csv").read_text().startswith("kind,metric,group")


def test_names_joined_by_commas_may_be_longer_than_that_of_a_folder(sweep, tmp_path):
    ids = ",".join(f"{number:032x}" for number in range(9))
    with pytest.raises(TrackingError, match="There is no MLflow store"):
        main(["compare", ids, "sweep/0", "--tracking-uri", f"sqlite:///{tmp_path}/mlflow.db"])


def test_a_folder_may_have_a_comma(sweep, capsys):
    (sweep / "3").rename(sweep / "model=transformer,seed=0")
    main(["compare", "sweep/0", "sweep/model=transformer,seed=0"])
    assert "McNemar's exact test" in capsys.readouterr().out


def test_jobs_that_did_not_finish_are_left_out_with_a_word(sweep, capsys):
    main(["compare", "sweep"])
    assert "\nLeft out, because they did not finish: jobs 6 (failed)" in capsys.readouterr().out
    main(["compare", "sweep/0,sweep/1,sweep/2", "sweep/3,sweep/4,sweep/5"])
    assert "Left out" not in capsys.readouterr().out
    shutil.copytree(sweep, sweep.with_name("again"))
    for name in "012":
        shutil.rmtree(sweep / name)
        shutil.rmtree(sweep.with_name("again") / str(int(name) + 3))
    main(["compare", "sweep", "again"])
    printed = capsys.readouterr().out
    assert all(
        f"\n{name}: Left out, because they did not finish: jobs 6 (failed)" in printed for name in ("sweep", "again")
    )


def test_a_study_whose_database_is_gone_is_compared_by_its_records_and_it_is_said(sweep, capsys):
    write_study_address(sweep, "mine", f"sqlite:///{sweep}/gone.db", "python run.py -m")
    with pytest.raises(StudyMissingError):
        main(["report", "sweep"])
    main(["compare", "sweep"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "rnn is better than transformer by" in printed
    assert "The study's storage cannot be read (There is no study at" in printed
    assert "gone.db" in printed
    assert "which trials break a limit is unknown" in printed
    assert "jobs 6 (failed)" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sweep/0"], "a single run"),
        (["sweep", "--by", "model.depth"], "only depth=1"),
        (["sweep/0", "sweep/3", "--by", "model"], "--by model groups one sweep"),
        (["sweep/0", "sweep/3", "--metric", "test/f1"], "has no test/f1"),
        (["sweep/0,sweep/1,sweep/2", "sweep/0"], "'rnn seed=0' .* is in .* and in .* would count twice"),
        (["sweep/0,sweep/1", "sweep/1,sweep/2"], "'rnn seed=1' .* would count twice"),
        (["sweep/0", "sweep/./0"], "'rnn seed=0' .* would count twice"),
        (["sweep/0,sweep/1,sweep/3", "sweep/4"], "differ in more than the seed: model.name"),
    ],
)
def test_what_cannot_be_compared_is_explained(sweep, arguments, message):
    with pytest.raises(SentimentError, match=message):
        main(["compare", *arguments])


def test_a_run_that_is_found_by_another_name_in_another_folder_is_the_same(sweep):
    runs = [StoredRun(replace(read_result(sweep / name / RESULT_FILE), run_id="f" * 32), sweep / name) for name in "03"]
    with pytest.raises(SentimentError, match="would count twice"):
        compare_runs({"a": runs[:1], "b": runs[1:]})


def test_a_run_that_is_not_there_is_named_with_what_is_near(sweep):
    with pytest.raises(TrackingError, match="did you mean sweep"):
        main(["compare", "sweeep", "sweep"])
