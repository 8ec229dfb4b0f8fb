"""Records a run in MLflow, with explicit store and run id: no active run, no environment variable has a say."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping

from sentiment.config.schema import Settings
from sentiment.tracking.ending import Ending, ending_of
from sentiment.tracking.environment_tags import describe_environment
from sentiment.tracking.flatten import flatten
from sentiment.tracking.folder_recorder import PREDICTIONS_FILE
from sentiment.tracking.mlflow_api import MAX_METRICS_PER_BATCH, Metric
from sentiment.tracking.mlflow_store import open_store, recording
from sentiment.tracking.mlflow_write import write_params, write_tags
from sentiment.tracking.parent import read_parent
from sentiment.tracking.run_context import RunContext
from sentiment.tracking.run_name import name_run
from sentiment.training.result import RunResult

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
"""Longest time that training metrics wait; a write per step would halve the speed of a small model."""


class MlflowRecorder:
    """One MLflow run.

    Attributes:
        run_id: The run.
    """

    def __init__(self, settings: Settings, context: RunContext) -> None:
        tracking = settings.tracking
        self._settings, self._context = settings, context
        self._store = open_store(tracking.uri, tracking.experiment, tracking.artifact_dir)
        self._client = self._store.client
        self._waiting: list[Metric] = []  # training metrics not yet written
        self._judged: list[tuple[float, Metric]] = []  # epoch and validation or test metric, for the logged model
        self._flushed_at = time.monotonic()
        with recording(self._store.uri):
            name = name_run(settings.model.name, context.overrides)
            run = self._client.create_run(self._store.experiment_id, tags=self._first_tags(), run_name=name)
            self.run_id = run.info.run_id
        try:
            self._record_setup()
        except BaseException as error:  # the run exists, but nobody will close it
            self._client.set_terminated(self.run_id, ending_of(error).status)
            raise

    def describe(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        with recording(self._store.uri):
            write_tags(self._client, self.run_id, tags)

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Buffer training metrics; write them every few seconds."""
        self._waiting += _points({**metrics, "epoch": epoch}, step)
        full = len(self._waiting) >= MAX_METRICS_PER_BATCH
        if full or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self._flush()

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Write validation metrics, and the training metrics before them."""
        self._judge(metrics, step, epoch)

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Write test metrics."""
        self._judge(metrics, step, epoch)

    def finished(self, result: RunResult) -> None:
        """Write what the run leaves behind: summary metrics, pictures, predictions, the model."""
        self._flush()
        folder, best = self._context.output_dir, {k: v for k, v in result.metrics.items() if k.startswith("val/")}
        # MLflow shows the last value of a metric, but the selected checkpoint may be an earlier one: hence best/...
        summary = {
            **{f"best/{name}": value for name, value in best.items()},
            "best/epoch": result.best_epoch,
            "model/parameters": float(result.parameters),
            "time/fit_seconds": result.seconds,
        }
        with recording(self._store.uri):
            self._client.log_batch(self.run_id, metrics=_points(summary, 0))
            if result.test is not None:
                self._client.log_artifact(self.run_id, str(folder / "confusion_matrix.png"))
                self._client.log_artifact(self.run_id, str(folder / "confusion_matrix.csv"))
                self._client.log_artifact(self.run_id, str(folder / PREDICTIONS_FILE), "predictions")
            if self._settings.tracking.log_model:
                self._log_model(result)

    def close(self, ending: Ending) -> None:
        """Write what is still waiting and set the run's final state, with the reason if it went wrong."""
        try:
            self._flush()
            self._explain(ending)
        finally:
            with recording(self._store.uri):
                self._client.set_terminated(self.run_id, ending.status)

    def _first_tags(self) -> dict[str, str]:
        tags = {"mlflow.source.name": sys.argv[0], "mlflow.source.type": "LOCAL"}
        if self._context.job_number is not None:
            tags["job"] = str(self._context.job_number)
        if self._context.sweep_dir is None:
            return tags
        parent = read_parent(self._context.sweep_dir)
        if parent is not None and parent.uri == self._store.uri:
            return {**tags, "mlflow.parentRunId": parent.run_id}
        log.warning("No parent run of this multirun is recorded in %s: this run stands alone.", self._store.uri)
        return tags

    def _record_setup(self) -> None:
        with recording(self._store.uri):
            write_params(self._client, self.run_id, flatten(self._settings))
            tags = describe_environment(self._context.project_dir)
            write_tags(self._client, self.run_id, {**tags, "overrides": " ".join(self._context.overrides)})
            self._client.log_text(self.run_id, self._context.resolved_yaml, "config/resolved.yaml")

    def _judge(self, metrics: Mapping[str, float], step: int, epoch: float) -> None:
        points = _points(metrics, step)
        self._judged += [(epoch, point) for point in points]
        self._waiting += [*points, *_points({"epoch": epoch}, step)]
        self._flush()

    def _flush(self) -> None:
        with recording(self._store.uri):
            while self._waiting:
                self._client.log_batch(self.run_id, metrics=self._waiting[:MAX_METRICS_PER_BATCH])
                del self._waiting[:MAX_METRICS_PER_BATCH]
        self._flushed_at = time.monotonic()

    def _log_model(self, result: RunResult) -> None:
        from sentiment.tracking.mlflow_model import log_model  # pulls in mlflow.pyfunc: another second

        selected = [
            point for epoch, point in self._judged if point.key.startswith("test/") or epoch == result.best_epoch
        ]
        log_model(self._store, self.run_id, result.bundle, result.class_names, selected)

    def _explain(self, ending: Ending) -> None:
        if ending.reason is None:
            return
        with recording(self._store.uri):
            reason = {"failure.kind": str(ending.kind), "failure.reason": ending.reason}
            write_tags(self._client, self.run_id, reason)
            self._client.log_text(self.run_id, ending.traceback or "", "traceback.txt")


def _points(metrics: Mapping[str, float], step: int) -> list[Metric]:
    now_ms = int(time.time() * 1000)
    return [Metric(name, float(value), now_ms, step) for name, value in metrics.items()]
