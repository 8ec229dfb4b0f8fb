"""The last lines of a run: its answer, where it lies, what comes next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentiment.config.home import PROJECT_DIR
from sentiment.config.objective import METRICS
from sentiment.report.run_summary import write_selection, write_summary
from sentiment.tracking import runs
from sentiment.tracking.result_file import write_result

PARAMS = {"objective": "val/accuracy", "tracking.experiment": "reviews"}


@pytest.fixture
def finish(make_record, tmp_path, monkeypatch):
    """Leave a finished run under multirun/."""
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)

    def finish_(name, data="a", **changes):
        record = make_record(0, params=PARAMS, tags={"data.fingerprint": data}, **changes)
        write_result(tmp_path / name, record)
        return record, tmp_path / name

    return finish_


def test_a_run_ends_with_its_answer(finish):
    record, folder = finish("mine")
    lines = write_summary(record, folder)
    assert lines[1] == "Selected: epoch 0.5 of 1 by val/accuracy; 2,612,345 parameters, 1 min 15 s"
    late = replace(record, best_epoch=1234.0, epochs=1500.0)
    assert write_selection(late) == "Selected: epoch 1,234 of 1,500 by val/accuracy"
    assert lines[2].split() == ["accuracy", "f1", "auroc", "loss"]
    assert lines[3].split() == ["validation", "80.00", "%", "70.00", "%", "-", "0.5"]
    assert lines[4].split() == ["test", "75.00", "%", "-", "90.00", "%", "-"]
    assert "run run0 of reviews: mlflow ui" in lines[6]


def test_the_documents_show_what_a_run_prints_and_records():
    """Every metric of a run, in the order of its last lines."""
    shown = (PROJECT_DIR / "README.md").read_text(encoding="utf-8").splitlines()
    [place] = [index for index, line in enumerate(shown) if line.startswith("Selected: epoch ")]
    assert shown[place + 1].split() == [*METRICS, "ece"]
    recorded = (PROJECT_DIR / "docs" / "records.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if f"`val/{name}`" not in recorded] == []


def test_the_commands_that_come_next_are_filled_in(finish):
    finish("other_data", data="b")
    finish("other")
    finish("failed", status="FAILED")
    finish("untested", test_reviews=None)
    lines = write_summary(*finish("mine"))
    assert [line.removeprefix("Next").strip() for line in lines[-3:]] == [
        "python -m sentiment errors mine",
        'python -m sentiment predict --model mine "Not a dull moment."',
        "python -m sentiment compare mine other",
    ]


def test_a_job_of_a_study_with_repeats_is_offered_by_its_path(finish):
    """By its number it would be taken for a trial."""
    record, folder = finish("study/4")
    tags = {**record.tags, "trial.number": "2", "trial.repeat": "0"}
    write_result(folder, replace(record, job_number=4, tags=tags))
    assert write_summary(*finish("mine"))[-1].endswith(f" compare mine {folder}")


def test_without_a_comparable_run_there_is_no_comparison(finish):
    assert not any("compare" in line for line in write_summary(*finish("mine")))


def test_runs_that_were_not_tested_are_not_offered_for_a_comparison(finish):
    finish("other", test_reviews=None)
    assert not any("compare" in line for line in write_summary(*finish("mine", test_reviews=None)))
