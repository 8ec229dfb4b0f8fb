from __future__ import annotations

import json
import math

import pytest

from sentiment.errors import TrackingError
from sentiment.tracking.result_file import ResultRecord, read_result, read_results, write_json, write_result


def make(number, **changes):
    return ResultRecord(name="rnn", model="rnn", status="FINISHED", started="now", job_number=number, **changes)


def test_round_trip(tmp_path):
    record = make(
        1,
        overrides=("a=1",),
        params={"seed": "0"},
        metrics={"val/loss": math.inf},
        history=({"step": 1, "val/loss": 0.5},),
        tags={"device": "cpu"},
    )
    write_result(tmp_path / "1", record)
    assert read_result(tmp_path / "1/result.json") == record
    assert [file.name for file in (tmp_path / "1").iterdir()] == ["result.json"]


def test_results_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 0):
        write_result(tmp_path / "deeper" / str(number), make(number))
    assert [record.job_number for record in read_results(tmp_path)] == [0, 2, 10]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"name": "x"}'])
def test_damaged_files_are_named(tmp_path, content):
    (tmp_path / "result.json").write_text(content, encoding="utf-8")
    with pytest.raises(TrackingError, match=r"result\.json"):
        read_result(tmp_path / "result.json")


def test_an_old_file_stays_whole_where_the_new_one_cannot_be_written(tmp_path):
    write_json(tmp_path / "file.json", {"old": True})
    with pytest.raises(TypeError):
        write_json(tmp_path / "file.json", {"new": object()})
    assert json.loads((tmp_path / "file.json").read_text(encoding="utf-8")) == {"old": True}


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match=r"hydra\.run\.dir"):
        write_json(tmp_path / "file/result.json", {})
