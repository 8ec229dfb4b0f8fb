"""Jobs of multiruns that nobody ran."""

from __future__ import annotations

import pytest

from sentiment.tracking.result_file import ResultRecord


@pytest.fixture
def make_record():
    """Make the record of a job; ``accuracy=None`` makes one that failed."""

    def make(number, model="transformer", *overrides, accuracy=0.8, status="FINISHED", reason=None, **changes):
        values = {"val/loss": 0.5, "val/accuracy": accuracy, "val/f1": 0.7, "test/accuracy": 0.75, "test/auroc": 0.9}
        history = tuple({"step": e, "epoch": e / 2, "val/loss": 0.5, "val/accuracy": accuracy} for e in (1, 2))
        done = status == "FINISHED"
        return ResultRecord(
            **{
                "name": f"{model} {number}", "model": model, "status": status, "started": "2026-01-01T00:00:00+00:00",
                "overrides": (f"model={model}", *overrides), "job_number": number, "reason": reason,
                "metrics": values if done else {}, "history": history if done else (), "parameters": 2_612_345,
                "seconds": 75.4, "epochs": 1.0, "best_epoch": 0.5, "test_reviews": 1000, "run_id": f"run{number}",
                **changes,
            }
        )  # fmt: skip

    return make
