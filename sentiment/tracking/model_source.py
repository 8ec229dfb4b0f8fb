"""Find the files of a trained model by what people type: a folder, a run, or a registered version."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.errors import ModelFileError, TrackingError
from sentiment.paths import expand_home
from sentiment.tracking.outbox import BUNDLE_SETTINGS
from sentiment.tracking.result_file import RESULT_FILE, RUN_ID, read_result_of
from sentiment.tracking.runs import (
    BUNDLE_DIR,
    StoredRun,
    find_folder,
    find_latest_run,
    find_stored_run,
)
from sentiment.training.result import BEST_FILE, CHECKPOINTS, LONGER_FILE

if TYPE_CHECKING:
    from sentiment.models.bundle import Predictor

REGISTRY_URI = re.compile(r"(?:models:/)?(?P<name>[^/@:]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))?")

RUN_URI = re.compile(r"runs:/(?P<run_id>[0-9a-f]{32})/model")
LOGGED_URI = re.compile(r"models:/(?P<model_id>m-[0-9a-f]{32})")
"""How MLflow writes the model of a run, and a logged model, whatever run it is of."""


@dataclass(frozen=True)
class ModelSource:
    """The files of a model: its bundle's folder, and a checkpoint where that one's weights replace the bundle's.

    `run_id` is the MLflow run whose model it is, and `store` has it; None where there is none. `is_try`: that run was
    a try (debug).
    """

    description: str
    bundle: Path
    checkpoint: Path | None = None
    run_id: str | None = None
    store: str | None = None
    version: str | None = None  # what always names it, of a registered one
    is_try: bool = False
    is_beside: bool = False  # a folder or file of the model was named, and the run of the record beside it was not

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"{self.description}, which is a try (debug) and no result" if self.is_try else self.description

    def load(self, device: str = "cpu") -> Predictor:
        """Read the model.

        Raises:
            ModelFileError: A file is missing, damaged or of another network.
        """
        from sentiment.models.bundle import Predictor  # torch takes a second, which a name that is none saves
        from sentiment.models.checkpoint import load_checkpoint

        if self.checkpoint is None:
            return Predictor.load(self.bundle, device)
        return load_checkpoint(self.checkpoint, self.bundle, device)


def find_model_source(name: str | None, multirun_dir: Path, tracking_uri: str) -> ModelSource:
    """Find a model in a folder of runs and sweeps, or in an MLflow store.

    Args:
        name: A run (folder, ``NAME/NUMBER``, MLflow run id), a bundle's folder, a checkpoint, or a registered model
            (``imdb`` for its champion, ``imdb@ALIAS``, ``imdb/3``, each with or without ``models:/``), or what MLflow
            itself calls a run's model (``runs:/ID/model``, ``models:/m-ID``); None: the latest finished run.
        multirun_dir: The folder.
        tracking_uri: The store, with its registry.

    Raises:
        TrackingError: There is no such run or model.
        ModelFileError: It is of a kind that cannot be read without running code.
    """
    if name is None:
        return _of_run(find_latest_run(multirun_dir))
    if logged := LOGGED_URI.fullmatch(name):
        return _of_logged(logged["model_id"], tracking_uri)
    if of_run := RUN_URI.fullmatch(name):
        name = of_run["run_id"]
    path = expand_home(name)
    if path.suffix == ".ckpt":
        return _of_checkpoint(path)
    if path.is_file():
        raise ModelFileError(
            f"{path} is a single file. Files of pickled models (.pt, .pkl, .joblib) are not read: loading them can run "
            "code of whoever wrote them.",
            "give the folder of a run or of a bundle (weights.safetensors, settings.json, tokenizer.json)",
        )
    if (path / BUNDLE_SETTINGS).is_file():
        place = path.absolute()
        return _beside(_read_run(place.parent), f"bundle {path}", path, is_its=place.name == BUNDLE_DIR)
    registered = REGISTRY_URI.fullmatch(name)
    if name.startswith("models:/"):
        return _of_registry(name, registered, tracking_uri)
    try:
        return _of_run(find_stored_run(name, multirun_dir, tracking_uri))
    except TrackingError as error:
        if registered is None or RUN_ID.fullmatch(name) or find_folder(name, multirun_dir) is not None:
            raise
        try:
            return _of_registry(name, registered, tracking_uri)
        except TrackingError as second:
            problem = f"{error.problem} Neither is it a registered model: {second.problem}"
            raise TrackingError(problem, "; or ".join(filter(None, [error.remedy, second.remedy]))) from error


def _beside(
    run: StoredRun | None, name: str, bundle: Path, checkpoint: Path | None = None, *, is_its: bool
) -> ModelSource:
    """Return the source of files in the folder of a run; `is_its`: they are its model, once it has finished."""
    if run is None:
        return ModelSource(name, bundle, checkpoint)
    found = ModelSource(name, bundle, checkpoint, is_try=run.record.is_try)
    is_logged = is_its and run.record.status == "FINISHED"
    return replace(found, run_id=run.record.run_id, store=run.store, is_beside=True) if is_logged else found


def _of_run(run: StoredRun) -> ModelSource:
    name, record = f"{run.record.name} ({run.folder})", run.record
    return ModelSource(name, run.bundle, run_id=record.run_id, store=run.store, is_try=record.is_try)


def _read_run(folder: Path) -> StoredRun | None:
    """Read the run in a folder; a damaged record tells nothing."""
    try:
        record = read_result_of(folder)
    except TrackingError:
        return None
    return None if record is None else StoredRun(record, folder)


def _of_checkpoint(file: Path) -> ModelSource:
    if not file.is_file():
        raise TrackingError(f"There is no checkpoint {file}.", "see multirun/.../checkpoints/")
    for folder in file.absolute().parents:
        if (folder / RESULT_FILE).is_file():
            run = _read_run(folder)
            is_over = run is None or run.record.status == "FINISHED"  # else the bundle may be of a run before it
            if is_over and file.name == BEST_FILE and file.with_name(LONGER_FILE).exists():
                raise ModelFileError(
                    f"{file} may be of a longer run, which trains on in {folder} or was killed when it began to.",
                    f"give the finished run: --model {folder}",
                )
            if is_over and (folder / BUNDLE_DIR / BUNDLE_SETTINGS).is_file():
                is_its = file.absolute() == folder / CHECKPOINTS / BEST_FILE
                return _beside(run, f"checkpoint {file}", folder / BUNDLE_DIR, file, is_its=is_its)
            lacking = f"{file} holds weights only, and its tokenizer is not there"
            if is_over:
                raise ModelFileError(f"{lacking}: {folder / BUNDLE_DIR} is gone.", f"name the run: --model {folder}")
            raise ModelFileError(
                f"{lacking} yet: the run in {folder} is not over.",
                "let the run finish with the same command, which writes them",
            )
    raise ModelFileError(
        f"{file} holds weights only; settings and tokenizer lie in the folder of its run, and no folder above it has "
        f"a {RESULT_FILE}.",
        "give the checkpoint in its place, or the run: --model RUN",
    )


def _of_logged(model_id: str, tracking_uri: str) -> ModelSource:
    from sentiment.tracking.mlflow.read import fetch_logged_bundle

    name, (record, bundle) = f"models:/{model_id}", fetch_logged_bundle(tracking_uri, model_id)
    if record is None:
        return ModelSource(name, bundle, version=name)
    source = ModelSource(f"{record.name} ({name})", bundle, version=name, is_try=record.is_try)
    return replace(source, run_id=record.run_id, store=tracking_uri)


def _of_registry(name: str, parts: re.Match[str] | None, tracking_uri: str) -> ModelSource:
    if parts is None:
        raise TrackingError(
            f"{name} names no registered model.", "write models:/NAME@ALIAS, models:/NAME/VERSION or NAME"
        )
    from sentiment.tracking.mlflow.registry import CHAMPION, fetch_registered

    model, alias = parts["name"], parts["alias"] or CHAMPION
    found, bundle = fetch_registered(tracking_uri, model, alias, parts["version"])
    title, version = f"{model}, version {found.version}", f"models:/{model}/{found.version}"
    return ModelSource(title, bundle, run_id=found.run_id or None, store=tracking_uri, version=version)
