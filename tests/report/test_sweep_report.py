from __future__ import annotations

import dataclasses

import pytest

from sentiment.report.sweep.report import ReportFileError, write_report

TABLES = {"ranking.csv", "failures.csv", "trials.csv", "importance.csv", "pareto.csv", "learning_curves.csv"}


@pytest.mark.slow
def test_page_pictures_and_tables_are_written_and_written_again(example_table, tmp_path):
    page, *others = write_report(example_table, tmp_path / "report")
    pictures = {file.name for file in others if file.suffix == ".png"}
    assert page.name == "report.html"
    assert {file.name for file in others} - pictures == TABLES
    assert "optimisation_history.png" in pictures
    assert all(file.stat().st_size > 0 for file in (page, *others))
    (tmp_path / "report/plots/gone.png").write_bytes(b"of an earlier report")
    fewer = dataclasses.replace(example_table, rows=example_table.rows[-1:], importances=(), best_command=None)
    write_report(fewer, tmp_path / "report")
    left = {file.name for file in (tmp_path / "report/plots").iterdir()}
    assert "gone.png" not in left
    assert {file.name for file in (tmp_path / "report").iterdir()} == {"report.html", "plots", *TABLES}
    assert "No trial has finished" in page.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(example_table, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(ReportFileError, match=r"cannot be written to .*file(.|\n)*--output FOLDER"):
        write_report(example_table, tmp_path / "file")
