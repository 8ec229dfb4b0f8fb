from __future__ import annotations

import pytest

from sentiment.errors import TrackingError
from sentiment.report.sweep.multirun import report_multirun
from sentiment.tracking.result_file import write_result


def test_the_jobs_folders_are_the_source(make_record, tmp_path, capsys):
    for number, accuracy in enumerate([0.7, 0.9]):
        write_result(tmp_path / str(number), make_record(number, "rnn", f"seed={number}", accuracy=accuracy))
    ranking, files = report_multirun(tmp_path, "val/accuracy", "maximize")
    assert [row.record.job_number for row in ranking.rows] == [1, 0]
    assert [file.name for file in files] == ["ranking.csv", "comparison.png"]
    assert all(file.stat().st_size > 0 for file in files)
    assert "2 finished, ranked by val/accuracy (higher is better)" in capsys.readouterr().out


def test_jobs_that_all_failed_leave_a_table_without_a_picture(make_record, tmp_path, capsys):
    write_result(tmp_path / "0", make_record(0, status="KILLED", reason="interrupted (Ctrl-C)"))
    _, files = report_multirun(tmp_path, "val/accuracy", "maximize")
    assert [file.name for file in files] == ["ranking.csv"]
    assert "KILLED: interrupted (Ctrl-C)" in capsys.readouterr().out


def test_an_empty_multirun_prints_nothing(tmp_path, capsys):
    ranking, files = report_multirun(tmp_path, "val/accuracy", "maximize")
    assert (ranking.rows, files, capsys.readouterr().out) == ((), [], "")


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0/result.json").write_text("{", encoding="utf-8")
    with pytest.raises(TrackingError, match=r"0/result\.json.*\n.*remove it"):
        report_multirun(tmp_path, "val/accuracy", "maximize")
