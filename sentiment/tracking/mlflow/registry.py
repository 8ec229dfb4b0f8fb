"""MLflow's model registry, and evaluations of models that were trained before.

The best model of each data set has the alias ``champion``, for whoever serves it:
``mlflow.pyfunc.load_model("models:/NAME@champion")`` always loads it. A challenger takes its place only if it is better
on validation, on the same data: figures of other data say nothing about who is better. An evaluation is a run of its
own, linked with the model and the reviews.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, LoggedModel, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from sentiment.config.objective import Direction
from sentiment.errors import TrackingError, explaining
from sentiment.format import format_metric, tell_apart
from sentiment.tracking.mlflow.read import NO_MODEL, fetch_bundle, find_model
from sentiment.tracking.mlflow.store import find_run, get_run, open_client, quiet, reading, recording, sqlite_file
from sentiment.tracking.mlflow.write import KEY_TAG, attach_files, search_by_key
from sentiment.tracking.result_file import EVALUATED_TAG, FINGERPRINT_TAG, KNOWN_TAGS, NONE_KNOWN, is_try

CHAMPION = "champion"
"""Alias of the model that a registered name stands for."""

CHALLENGER = "challenger"

OBJECTIVE_TAG, VALUE_TAG, DIRECTION_TAG = "objective", "value", "direction"
STUDY_TAG = "study"
KNOWN_TAG = KNOWN_TAGS["validation"]

LOCK_TIMEOUT_SECONDS = 60.0

SHOWN_VERSIONS = 8
"""Versions that an error lists, the latest ones."""

LEARNED_TAG = "evaluation.learned"
"""How many of the measured reviews the model was trained on, selected by or learned words from."""

LEFT_OUT_TAG = "evaluation.left_out"
"""How many other reviews were left out because the model has learned from them so."""

UNLABELLED_TAG = "evaluation.left_out_labels"
"""How many more were left out because their label stands for no class of the model (``--label LABEL=``)."""


class RegistryError(TrackingError):
    """A model cannot be registered."""


@dataclass(frozen=True)
class Registration:
    """A version of a registered model, and why it has its alias; not `is_new`: it was registered before."""

    name: str
    version: int
    alias: str
    reason: str
    is_new: bool


def register_champion(
    uri: str,
    name: str,
    run_id: str,
    *,
    objective: str,
    value: float,
    direction: Direction,
    study: str = "",
    force: bool = False,
) -> Registration:
    """Register a run's model, as the champion if it is the first or better than the present one, else as challenger.

    One whose start or teachers know validation reviews is a challenger: its figure says nothing about who is better.
    Registering a run again makes no second version and judges it again. Commands on one SQLite store take turns under
    a file lock beside it, so of any number of registrations at once the best ends as champion. A tracking server has
    no such lock: of two registrations within the same moment, the later one's alias stands, though both versions are
    there; registering either again puts it right.

    Args:
        uri: Tracking URI of the store, which holds the registry, too.
        name: Registered model.
        run_id: Run that logged the model.
        objective: Metric on validation that decides.
        value: Its value for this run.
        direction: Which way is better.
        study: Where the run comes from.
        force: Make it the champion whatever the present one is, and whatever its figure is of.

    Raises:
        RegistryError: The run, its model or its data fingerprint is missing, or name or value cannot be used, or the
            champion's cannot be read.
        TrackingError: The store cannot be read or written.
    """
    if not name or set(name) & set("/:@'"):  # the registry itself cannot look for a name with a quote
        raise RegistryError(
            f"{name!r} is no name for a registered model: it must not be empty or hold / : @ '.",
            "choose another: --register-as NAME",
        )
    if not objective.startswith("val/") or not math.isfinite(value):
        raise RegistryError(
            f"A model cannot be registered by {objective} = {value}: the champion is chosen by a finite figure on "
            "validation.",
            "register a run of a study whose first objective is one (val/accuracy), or none: --no-register",
        )
    client = open_client(uri)
    with reading(uri), quiet(), _hold_registry(uri):
        model, data = _require_model(client, uri, run_id)
        tags = {OBJECTIVE_TAG: objective, VALUE_TAG: repr(value), DIRECTION_TAG: direction}
        tags |= {**data, STUDY_TAG: study}
        champion = find_version(client, name, CHAMPION)
        version, is_new = _take_version(client, uri, name, run_id, model, tags)
        alias, reason = _choose_alias(champion, version, tags, force=force)
        _set_alias(client, name, int(version.version), alias)
    return Registration(name, int(version.version), alias, reason, is_new)


def find_version(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Find the version that has an alias; None where no version has it, or the model is not registered at all."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # A missing alias is an invalid parameter to MLflow's own stores, a missing model a missing resource.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def fetch_registered(uri: str, name: str, alias: str, version: str | None) -> tuple[ModelVersion, Path]:
    """Return a version of a registered model, and the folder of its bundle, see `fetch_bundle`.

    Args:
        uri: Tracking URI of the store, which holds the registry, too.
        name: Registered model.
        alias: Alias of the version, e.g. `CHAMPION`.
        version: Its number, which comes before the alias; None: that of the alias.

    Raises:
        RegistryError: There is no such model or version.
        TrackingError: The store cannot be read.
        ModelFileError: It is no model of this project.
    """
    client = open_client(uri)
    try:
        found = client.get_model_version(name, version) if version else client.get_model_version_by_alias(name, alias)
        location = client.get_model_version_download_uri(name, found.version)
    except MlflowException as error:
        with reading(uri):
            remedy = _suggest_names(client, name)
        raise RegistryError(
            f"{uri} has no model {name}, {f'version {version}' if version else alias}: {error.message}", remedy
        ) from error
    with reading(uri):
        if location.startswith("models:/"):  # a version of a logged model
            location = client.get_logged_model(location.removeprefix("models:/")).artifact_location
        return found, fetch_bundle(uri, location)


def _suggest_names(client: MlflowClient, name: str) -> str:
    """Return what there is: versions and aliases of the model, or else the models."""
    known = sorted(found.name for found in client.search_registered_models())
    if name not in known:
        return f"registered are {', '.join(known)}" if known else "register one: python -m sentiment best STUDY"
    versions = sorted((int(found.version) for found in client.search_model_versions(f"name = '{name}'")), reverse=True)
    if not versions:
        return f"{name} has no version: register one, python -m sentiment best STUDY --register-as {name}"
    aliases = client.get_registered_model(name).aliases.items()
    names = [f"{name}@{alias} (version {number})" for alias, number in aliases]
    names += [f"{name}/{version}" for version in versions[:SHOWN_VERSIONS]]
    return f"name what it has: {', '.join(names)}"


@contextmanager
def _hold_registry(uri: str) -> Iterator[None]:
    database = sqlite_file(uri)
    lock = nullcontext() if database is None else FileLock(f"{database}.registry.lock", timeout=LOCK_TIMEOUT_SECONDS)
    problem = f"Another command has held the registry for {LOCK_TIMEOUT_SECONDS:.0f} seconds"
    with explaining(problem, "wait for it to end, then run this one again", RegistryError, Timeout), lock:
        yield


def _require_model(client: MlflowClient, uri: str, run_id: str) -> tuple[LoggedModel, dict[str, str]]:
    """Find the model that a run logged last, and the tags of the data that it was judged on."""
    run = find_run(client, run_id)
    if run is None:
        raise RegistryError(
            f"There is no run {run_id} in {uri}.",
            "name the store that it was recorded in with --tracking-uri; a run without MLflow cannot be registered",
        )
    if is_try(run.data.params):
        raise RegistryError(
            f"The run {run.info.run_name!r} ({run_id}) is a try (debug), and its model no result.",
            "train it without debug",
        )
    model = find_model(client, run)
    if model is None:
        raise RegistryError(f"The run {run.info.run_name!r} ({run_id}) has no model in MLflow.", NO_MODEL)
    fingerprint = run.data.tags.get(FINGERPRINT_TAG)
    if fingerprint is None:
        raise RegistryError(
            f"The run {run.info.run_name!r} ({run_id}) has no data fingerprint, so it cannot be held against others.",
            "run it again with this version",
        )
    return model, {tag: run.data.tags[tag] for tag in (FINGERPRINT_TAG, KNOWN_TAG) if tag in run.data.tags}


def _take_version(
    client: MlflowClient, uri: str, name: str, run_id: str, model: LoggedModel, tags: Mapping[str, str]
) -> tuple[ModelVersion, bool]:
    """Find the version of this very model, or make one."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    # A server finds the files of models:/ID by itself; without one, MLflow would ask its global tracking URI for them.
    source = model.model_uri if uri.startswith(("http://", "https://")) else model.artifact_location
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.run_id == run_id and version.source == source:
            for key, text in tags.items():
                client.set_model_version_tag(name, version.version, key, text)
            return version, False
    return client.create_model_version(name, source, run_id, tags=dict(tags), model_id=model.model_id), True


def _choose_alias(
    champion: ModelVersion | None, version: ModelVersion, tags: Mapping[str, str], *, force: bool
) -> tuple[str, str]:
    """Return the alias, and the reason for it."""
    if champion is not None and int(champion.version) == int(version.version):
        return CHAMPION, "it is the champion already"
    known = tags.get(KNOWN_TAG, NONE_KNOWN)
    if known != NONE_KNOWN and not force:
        return CHALLENGER, (
            f"its start or teachers know validation reviews, or may ({known}), so its figure is not that of reviews "
            "that were never seen; --force makes it the champion"
        )
    if champion is None:
        return CHAMPION, "there was no champion yet"
    holder = f"version {champion.version}"
    if force:
        return CHAMPION, f"forced in place of {holder}"
    for tag, what in ((FINGERPRINT_TAG, "data"), (OBJECTIVE_TAG, "objective")):
        theirs = champion.tags.get(tag, "unknown")
        if theirs != tags[tag]:
            return CHALLENGER, (
                f"{holder}, the champion, was judged on another {what} ({theirs[:12]}, this one {tags[tag][:12]}), so "
                "nobody knows which is better; --force replaces it, --register-as keeps the two apart"
            )
    known = champion.tags.get(KNOWN_TAG, NONE_KNOWN)
    if known != NONE_KNOWN:
        return CHALLENGER, (
            f"start or teachers of {holder}, the champion, know validation reviews, or may ({known}), so nobody knows "
            "which is better; --force replaces it, --register-as keeps the two apart"
        )
    mine, objective = float(tags[VALUE_TAG]), tags[OBJECTIVE_TAG]
    problem, remedy = f"The tag {VALUE_TAG} of {holder} is no number", "correct it in MLflow, or replace it: --force"
    with explaining(problem, remedy, RegistryError, ValueError):
        theirs_value = float(champion.tags.get(VALUE_TAG, "nan"))
    if mine == theirs_value:
        told = f"{holder} has {objective} {format_metric(objective, mine)}, too"
        return CHALLENGER, f"the champion stays, because this one is equal, not better: {told}"
    shown, held = tell_apart((mine, theirs_value), partial(format_metric, objective), repr)
    is_better = mine > theirs_value if tags[DIRECTION_TAG] == "maximize" else mine < theirs_value
    if is_better:
        return CHAMPION, f"it is better: {objective} {shown}, {holder} has {held}"
    return CHALLENGER, f"the champion stays, because this one is not better: {objective} {shown}, {holder} has {held}"


def _set_alias(client: MlflowClient, name: str, version: int, alias: str) -> None:
    client.set_registered_model_alias(name, alias, str(version))
    if alias == CHAMPION:
        challenger = find_version(client, name, CHALLENGER)
        if challenger is not None and int(challenger.version) == version:
            client.delete_registered_model_alias(name, CHALLENGER)


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
