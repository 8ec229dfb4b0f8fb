"""Get the bundle out of a model that was logged or registered in MLflow, without letting MLflow load the model.

``mlflow.pyfunc.load_model`` runs code that lies in the model, and for many flavours it unpickles. A bundle is weights
and settings only, so that part alone is downloaded, and read by this package's own code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.artifacts
from mlflow.models import Model

from sentiment.errors import ModelFileError
from sentiment.tracking.mlflow.client import quiet

MLMODEL_FILE = "MLmodel"


def fetch_bundle(uri: str, location: str, folder: Path) -> Path:
    """Download the bundle of a logged model.

    Args:
        uri: Tracking URI of the store, for models that lie on its server.
        location: Place of the model's files.
        folder: Where to put the bundle.

    Returns:
        The bundle's folder.

    Raises:
        ModelFileError: It is no model of this project.
    """
    described = download(uri, f"{location}/{MLMODEL_FILE}", folder)
    return download(uri, f"{location}/{_find_bundle(described, location)}", folder)


def download(uri: str, place: str, folder: Path) -> Path:
    """Download a file or folder of the store; MLflow's global state and the environment have no say."""
    with quiet():
        found = mlflow.artifacts.download_artifacts(
            artifact_uri=place, dst_path=str(folder), tracking_uri=uri, registry_uri=uri
        )
    return Path(found)


def _find_bundle(mlmodel: Path, location: str) -> str:
    flavors: dict[str, Any] = Model.load(str(mlmodel)).flavors
    artifacts = flavors.get("python_function", {}).get("artifacts") or {}
    path = artifacts.get("bundle", {}).get("path")
    if not isinstance(path, str):
        raise ModelFileError(
            f"The model at {location} is none of this project's: its flavours are {', '.join(sorted(flavors))}, and it "
            "has no bundle. Other flavours are loaded by running or unpickling what lies in them, which can run any "
            "code, so they are refused.\n"
            "  -> name a model that a run of this project logged; mlflow.pyfunc.load_model loads others, if you trust "
            "their source"
        )
    return path
