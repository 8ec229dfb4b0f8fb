from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from sentiment.errors import TrackingError
from sentiment.json_file import write_json
from sentiment.tracking.result_file import ResultRecord, read_ended, read_result, read_results, write_result
from sentiment.training.result import describe_outcome


def make(number, **changes):
    return ResultRecord(name="rnn", model="rnn", status="FINISHED", started="2026-01-01", job_number=number, **changes)


def test_round_trip(tmp_path):
    record = make(
        1,
        overrides=("a=1",),
        params={"seed": "0"},
        metrics={"val/loss": math.inf},
        history=({"step": 1, "epoch": 1.0, "val/loss": 0.5},),
        tags={"device": "cpu"},
    )
    write_result(tmp_path / "1", record)
    assert read_result(tmp_path / "1/result.json") == record
    assert [file.name for file in (tmp_path / "1").iterdir()] == ["result.json"]


def test_results_come_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 0):
        write_result(tmp_path / "deeper" / str(number), make(number))
    assert [record.job_number for record in read_results(tmp_path)[0]] == [0, 2, 10]


EARLIER = """{
 "name": "rnn seed=1", "model": "rnn", "status": "FINISHED", "started": "2026-01-01T00:00:00+00:00",
 "overrides": ["model=rnn", "seed=1"],
 "params": {"model.name": "rnn", "seed": "1", "objective": "val/accuracy", "direction": "maximize",
  "objectives": "[\\"val/accuracy\\"]", "directions": "[\\"maximize\\"]"},
 "job_number": 1, "kind": null, "reason": null, "run_id": "0123456789abcdef0123456789abcdef",
 "metrics": {"val/accuracy": 0.8, "val/loss": NaN, "time/latency_ms": 1.5},
 "history": [{"step": 5, "epoch": 0.5, "val/accuracy": 0.8}],
 "parameters": 99, "seconds": 3.5, "epochs": 1.0, "best_epoch": 0.5, "test_reviews": 4, "tags": {"git.commit": "abc"}
}
"""


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "result.json").write_text(EARLIER, encoding="utf-8")
    (record,), _ = read_results(tmp_path)
    assert (record.status, record.overrides, record.job_number) == ("FINISHED", ("model=rnn", "seed=1"), 1)
    assert record.history == ({"step": 5, "epoch": 0.5, "val/accuracy": 0.8},)
    assert math.isnan(record.metrics["val/loss"])
    assert (record.parameters, record.best_epoch, record.test_reviews) == (99, 0.5, 4)
    ended = read_ended(tmp_path, {"model.name": "rnn", "seed": "1", "objective": "val/accuracy"})
    assert ended is not None
    assert ended.name == "rnn seed=1", "the same run under this version's settings"


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
        write_result(tmp_path / "file", make(1))


def test_an_ended_run_is_found_again_by_its_settings(tmp_path):
    assert read_ended(tmp_path, {}) is None
    write_result(tmp_path, replace(make(1, params={"seed": "1"}), status="RUNNING"))
    assert read_ended(tmp_path, {"seed": "1"}) is None
    ended = make(
        1, params={"seed": "1"}, metrics={"val/accuracy": 0.9, "test/accuracy": 0.8}, parameters=10,
        seconds=2.0,
    )  # fmt: skip
    write_result(tmp_path, ended)
    found = read_ended(tmp_path, {"seed": "1"})
    assert found is not None
    outcome = describe_outcome(found.metrics, found.parameters, found.seconds)
    assert outcome == {"val/accuracy": 0.9, "model/parameters": 10.0, "time/fit_seconds": 2.0}
    assert read_ended(tmp_path, {"seed": "2"}) is None, "another run"
