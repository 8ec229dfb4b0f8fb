"""Log the trained model in MLflow's own format: no pickle, and nothing of mlflow's global state."""

from __future__ import annotations

import ast
import math
import re
import tempfile
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric

import sentiment
from sentiment.config.option import Option
from sentiment.models.bundle import read_option
from sentiment.tracking.mlflow.store import Store, quiet

with warnings.catch_warnings():  # mlflow's own types warn about each other while they are imported
    warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

MODEL_NAME = "model"

PREDICTION_LIBRARIES = ("mlflow", "torch", "tokenizers", "safetensors", "pydantic", "hydra-core", "numpy", "pandas")
"""What prediction imports; their installed versions become the model's requirements."""


def log_model(
    store: Store,
    run_id: str,
    bundle: Path,
    class_names: Sequence[str],
    tags: Mapping[str, str] | None = None,
) -> str:
    """Log a bundle as the model of a run, and return its id.

    ``mlflow.pyfunc.load_model(f"runs:/{run_id}/model")`` loads it.

    The model holds the bundle (weights, settings, tokenizer), a copy of this package and its requirements, so that
    it predicts where neither this checkout nor its configuration is. It is written by ``mlflow.pyfunc.save_model``
    and uploaded with an explicit client, because ``mlflow.pyfunc.log_model`` goes by the active run and the global
    tracking URI.

    Args:
        store: Open store.
        run_id: Run that trained the model.
        bundle: Folder written by `sentiment.models.bundle`.
        class_names: The K class names.
        tags: Tags of the model.
    """
    client = store.client
    logged = client.create_logged_model(
        store.experiment_id, name=MODEL_NAME, source_run_id=run_id, tags=dict(tags or {})
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / MODEL_NAME
            _save(path, Model(logged.artifact_location, run_id, model_id=logged.model_id), bundle, class_names)
            client.log_model_artifacts(logged.model_id, str(path))
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])  # its run knows each that is READY
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def link_metrics(client: MlflowClient, run_id: str, model_id: str, metrics: Sequence[Metric]) -> None:
    """Show points of a run that were measured on its model beside that; those that are there stay as they are."""
    # The same time stamp and step: MLflow adds the link to the model and no second point to the run. What is undefined
    # stays at the run: beside a model, MLflow would show 0.
    finite = [metric for metric in metrics if math.isfinite(metric.value)]
    client.log_batch(run_id, metrics=[Metric(m.key, m.value, m.timestamp, m.step, model_id) for m in finite])


def _save(path: Path, model: Model, bundle: Path, class_names: Sequence[str]) -> None:
    # A column of texts in; the label and a probability for each of the K classes out.
    probabilities = [ColSpec("float", f"probability_{name}") for name in class_names]
    outputs = Schema([ColSpec("string", "label"), *probabilities])
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pandas, at how mlflow reads the example's columns
        mlflow.pyfunc.save_model(
            str(path),
            mlflow_model=model,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"bundle": str(bundle), "code": str(_pack_code(path.with_name("code.zip"), read_option(bundle)))},
            signature=ModelSignature(Schema([ColSpec("string", "text")]), outputs),
            input_example=pd.DataFrame({"text": ["A great film, but far too long."]}),
            pip_requirements=requirements(),  # named, because inferring them loads the model in another process
        )


def _pack_code(file: Path, option: Option) -> Path:
    """Pack this package into one archive, which Python imports from: a server takes files one by one.

    Of the extensions only what the model needs goes along: the others may need what only this place has installed.
    """
    package = Path(sentiment.__file__).parent
    extensions = package / "extensions"
    needed = _list_needed(extensions, option)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(package.rglob("*.py")):
            if not source.is_relative_to(extensions) or source.relative_to(extensions).parts[0] in needed:
                archive.write(source, source.relative_to(package.parent))
    return file


def _list_needed(extensions: Path, option: Option) -> set[str]:
    """Return the files and folders among the extensions that an option needs: its own, parts, and what these import."""
    entries = {entry.name for entry in extensions.iterdir()}
    own = "" if option.module is None else option.module.rpartition(".")[2]
    needed = set[str]()
    unread = {entry for entry in entries if entry.startswith("_") or entry.removesuffix(".py") == own}
    while unread:
        needed |= unread
        files = [file for name in unread for file in (extensions / name, *(extensions / name).rglob("*.py"))]
        imports = {word for file in files if file.is_file() for word in _list_imports(file)}
        unread = {entry for entry in entries - needed if entry.removesuffix(".py") in imports}
    return needed


def _list_imports(file: Path) -> set[str]:
    """Return the words of a file's imports, ``import_module`` included; what cannot be parsed imports nothing."""
    try:
        nodes = ast.walk(ast.parse(file.read_bytes()))
    except (SyntaxError, ValueError):
        return set()
    lines = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)]
    return {word for line in lines if "import" in line for word in re.findall(r"\w+", line)}


def requirements() -> list[str]:
    """Pin what prediction needs; a local build such as ``2.13.0+cpu`` is called by the release it was built from."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in PREDICTION_LIBRARIES]
