"""Record a run in MLflow, with explicit store and run id: no active run, no environment variable has a say."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.utils.validation import MAX_METRICS_PER_BATCH

from sentiment.config.run_context import RunContext
from sentiment.errors import Reached
from sentiment.tracking.ending import Ending, ending_of
from sentiment.tracking.environment import describe_environment
from sentiment.tracking.folder import PREDICTIONS_FILE, FolderRecorder
from sentiment.tracking.mlflow.parent import read_parent
from sentiment.tracking.mlflow.store import Store, find_run, open_store, recording
from sentiment.tracking.mlflow.write import END_TAGS, PARENT_TAG, join_overrides, write_ending, write_params, write_tags
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.run_name import name_run
from sentiment.training.result import RunResult

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
"""Longest time that training metrics wait; a write per step would halve the speed of a small model."""


class MlflowRecorder:
    """One MLflow run.

    An interrupted run is taken up again. What its attempts have in common, the steps after the checkpoint it goes on
    from, is recorded once: the first attempt's points stay.

    The folder's recorder knows of an earlier attempt, and is told the MLflow run, `run_id`, as soon as there is one.
    """

    def __init__(self, context: RunContext, folder: FolderRecorder) -> None:
        settings, earlier = context.settings, folder.earlier
        tracking = settings.tracking
        self._settings, self._context = settings, context
        self._store = open_store(tracking.uri, tracking.experiment, tracking.artifact_dir)
        self._client = self._store.client
        self._waiting: list[Metric] = []  # training metrics not yet written
        self._evaluations: list[tuple[float, Metric]] = []  # epoch and validation or test metric, for the logged model
        self._flushed_at = time.monotonic()
        with recording(self._store.uri):
            tags = self._first_tags()
            known = None if earlier is None else find_attempt(self._store, earlier.run_id, tags)
            if known is None:
                name = name_run(settings.model.name, context.overrides)
                known = self._client.create_run(self._store.experiment_id, tags=tags, run_name=name)
            else:
                reopen(self._client, known)
            self.run_id = known.info.run_id
            self._recorded = recorded_points(self._client, known)
        folder.link(self.run_id)
        try:
            self._record_setup(known)
        except BaseException as error:  # the run exists, but nobody will close it
            self._client.set_terminated(self.run_id, ending_of(error).status)
            raise

    def describe(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        with recording(self._store.uri):
            write_tags(self._client, self.run_id, tags)

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Buffer training metrics; write them every few seconds."""
        self._waiting += self._new(_points({**metrics, "epoch": epoch}, step))
        full = len(self._waiting) >= MAX_METRICS_PER_BATCH
        if full or time.monotonic() - self._flushed_at >= FLUSH_SECONDS:
            self._flush()

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Write metrics of validation or test, and the training metrics before them."""
        points = _points(metrics, step)
        self._evaluations += [(epoch, point) for point in points]
        self._waiting += self._new([*points, *_points({"epoch": epoch}, step)])
        self._flush()

    tested = validated

    def finished(self, result: RunResult) -> None:
        """Write what the run leaves behind: summary metrics, pictures, predictions, the model."""
        self._flush()
        self._summarise(result)
        folder = self._context.output_dir
        with recording(self._store.uri):
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
            if ending.reached is not None:
                self._summarise(ending.reached)
        finally:
            with recording(self._store.uri):
                write_ending(self._client, self.run_id, ending, is_job=self._context.job_number is not None)

    def _first_tags(self) -> dict[str, str]:
        tags = {"mlflow.source.name": sys.argv[0], "mlflow.source.type": "LOCAL"}
        if self._context.job_number is not None:
            tags["job"] = str(self._context.job_number)
        if self._context.sweep_dir is None:
            return tags
        parent = read_parent(self._context.sweep_dir)
        if parent is not None and parent.uri == self._store.uri:
            return {**tags, PARENT_TAG: parent.run_id}
        log.warning("No parent run of this multirun is recorded in %s: this run stands alone.", self._store.uri)
        return tags

    def _record_setup(self, run: Run) -> None:
        # A param cannot be changed: those of an earlier attempt stay, though it may have had other threads.
        params = {
            name: value for name, value in flatten_settings(self._settings).items() if name not in run.data.params
        }
        with recording(self._store.uri):
            write_params(self._client, self.run_id, params)
            tags = describe_environment(self._context.project_dir)
            write_tags(self._client, self.run_id, {**tags, "overrides": join_overrides(self._context.overrides)})
            self._client.log_text(self.run_id, self._context.resolved_yaml, "config/resolved.yaml")

    def _new(self, points: list[Metric]) -> list[Metric]:
        return [point for point in points if (point.key, point.step) not in self._recorded]

    def _flush(self) -> None:
        with recording(self._store.uri):
            while self._waiting:
                self._client.log_batch(self.run_id, metrics=self._waiting[:MAX_METRICS_PER_BATCH])
                del self._waiting[:MAX_METRICS_PER_BATCH]
        self._flushed_at = time.monotonic()

    def _log_model(self, result: RunResult) -> None:
        from sentiment.tracking.mlflow.model import log_model  # pulls in mlflow.pyfunc: another second

        selected = [
            point for epoch, point in self._evaluations if point.key.startswith("test/") or epoch == result.best_epoch
        ]
        log_model(self._store, self.run_id, result.bundle, result.class_names, selected)

    def _summarise(self, reached: Reached) -> None:
        """Write what stands for the run as a whole; test metrics have their own points."""
        summary = {"best/epoch": reached.best_epoch, "model/parameters": reached.parameters}
        summary["time/fit_seconds"] = reached.seconds
        for name, value in reached.metrics.items():
            if name.startswith(
                "val/"
            ):  # MLflow shows the last value, but the selected checkpoint may be an earlier one
                summary[f"best/{name}"] = value
            elif name.startswith("time/"):
                summary[name] = value
        with recording(self._store.uri):
            self._client.log_batch(self.run_id, metrics=_points(summary, 0))


def find_attempt(store: Store, run_id: str | None, tags: Mapping[str, str]) -> Run | None:
    """Find the MLflow run of an interrupted attempt; None where there is none.

    An attempt that was killed before it could note its run's id is found by its parent and its number.
    """
    if run_id is not None:
        run = find_run(store.client, run_id)
        if run is not None and run.info.status == "FINISHED":
            # The folder has the last word, and it was not said: the process ended between the two.
            log.warning("MLflow run %s ended before its folder said so: it is done again.", run_id)
        return run
    if not {"job", PARENT_TAG} <= set(tags):
        return None
    same = f"tags.job = '{tags['job']}' and tags.`{PARENT_TAG}` = '{tags[PARENT_TAG]}'"
    found: list[Run] = store.client.search_runs([store.experiment_id], f"{same} and status != 'FINISHED'")
    return found[0] if found else None


def reopen(client: MlflowClient, run: Run) -> None:
    """Set a run to RUNNING again, and take back what was said of its end."""
    client.update_run(run.info.run_id, status="RUNNING")
    for name in sorted(END_TAGS & set(run.data.tags)):
        client.delete_tag(run.info.run_id, name)


def recorded_points(client: MlflowClient, run: Run) -> set[tuple[str, int]]:
    """Return name and step of every point of the curves of an earlier attempt."""
    curves = [name for name in run.data.metrics if name == "epoch" or name.startswith(("train/", "val/", "test/"))]
    return {(name, point.step) for name in curves for point in client.get_metric_history(run.info.run_id, name)}


def _points(metrics: Mapping[str, float], step: int) -> list[Metric]:
    now_ms = int(time.time() * 1000)
    return [Metric(name, float(value), now_ms, step) for name, value in metrics.items()]
