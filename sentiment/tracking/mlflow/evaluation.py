"""Record the evaluation of a model that was trained before: a run of its own, linked with the model and the reviews."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, Metric

from sentiment.tracking.mlflow.read import find_model
from sentiment.tracking.mlflow.store import get_run, open_client, recording
from sentiment.tracking.mlflow.write import KEY_TAG, attach_files, search_by_key
from sentiment.tracking.result_file import EVALUATED_TAG

LEARNED_TAG = "evaluation.learned"
"""How many of the measured reviews the model was trained on, selected by or learned words from."""

LEFT_OUT_TAG = "evaluation.left_out"
"""How many other reviews were left out because the model has learned from them so."""

UNLABELLED_TAG = "evaluation.left_out_labels"
"""How many more were left out because their label stands for no class of the model (``--label LABEL=``)."""


def record_evaluation(
    uri: str,
    run_id: str,
    name: str,
    digest: str,
    metrics: Mapping[str, float],
    files: Sequence[Path],
    folder: Path,
    learned: int | None = None,
    left_out: int = 0,
    left_out_labels: int = 0,
) -> str:
    """Record metrics under ``eval/`` with the page, and return the id of the run.

    Args:
        uri: MLflow store.
        run_id: The run that trained the model; MLflow shows the figures beside its logged model, too.
        name: What the reviews are.
        digest: Hash of the reviews.
        metrics: Name to value; what is undefined is left out.
        files: The page and its files.
        folder: The folder that holds them.
        learned: Reviews among them that the model has learned from; None: unknown.
        left_out: Others that were left out for that.
        left_out_labels: Others that were left out for their label.

    Raises:
        TrackingError: The store knows no such run, or cannot be written.
    """
    client = open_client(uri)
    trained = get_run(client, uri, run_id, "name the store that it was recorded in (--tracking-uri URI), or --no-log")
    now_ms = int(time.time() * 1000)
    with recording(uri, "or leave it: --no-log"):
        model = find_model(client, trained)
        known = {LEARNED_TAG: "unknown" if learned is None else str(learned), LEFT_OUT_TAG: str(left_out)}
        known |= {EVALUATED_TAG: run_id, "evaluation.data": name, UNLABELLED_TAG: str(left_out_labels)}
        tags = {**known, "mlflow.source.type": "LOCAL", KEY_TAG: f"{run_id}-{digest}"}
        place = trained.info.experiment_id
        begun = [run for run in search_by_key(client, place, tags[KEY_TAG]) if run.info.status == "RUNNING"]
        title = f"evaluation of {trained.info.run_name} on {name}"
        # One that was cut off, as by a store that went away, is done again.
        run = begun[0] if begun else client.create_run(place, tags=tags, run_name=title)
        evaluated = run.info.run_id
        short = Path(name).name
        client.log_inputs(evaluated, [DatasetInput(Dataset(short, digest, "local", name), tags=[])])
        points = [
            Metric(f"eval/{key}", value, now_ms, 0, None if model is None else model.model_id, short, digest)
            for key, value in metrics.items()
            if math.isfinite(value)
        ]
        client.log_batch(evaluated, metrics=points)
        client.set_terminated(evaluated, "FINISHED")
    attach_files(uri, evaluated, files, folder, "evaluation")
    return str(evaluated)
