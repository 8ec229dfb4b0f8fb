from __future__ import annotations

from pathlib import Path

from sentiment.training.result import RunResult, describe_outcome


def test_a_search_sees_validation_and_costs_and_no_test():
    result = RunResult(
        metrics={"val/accuracy": 0.8, "test/accuracy": 0.7, "time/latency_ms": 1.5},
        parameters=12,
        seconds=3.0,
        epochs=1.0,
        best_epoch=1.0,
        checkpoint=Path("best.ckpt"),
        bundle=Path("model"),
        class_names=("negative", "positive"),
        test=None,
    )
    assert describe_outcome(result.metrics, result.parameters, result.seconds) == {
        "val/accuracy": 0.8,
        "time/latency_ms": 1.5,
        "model/parameters": 12.0,
        "time/fit_seconds": 3.0,
    }
