"""MLflow's own server behind a password: ``python guarded_mlflow.py PORT FOLDER USER PASSWORD``."""

from __future__ import annotations

import base64
import os
import sys

from werkzeug.serving import run_simple

port, folder, user, password = sys.argv[1:]
os.environ["_MLFLOW_SERVER_FILE_STORE"] = f"sqlite:///{folder}/server.db"
os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = "mlflow-artifacts:/"
os.environ["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = f"{folder}/artifacts"
os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"

from mlflow.server import app  # noqa: E402 - it reads the environment

EXPECTED = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def guarded(environ, start_response):
    if environ.get("HTTP_AUTHORIZATION") == EXPECTED or environ["PATH_INFO"] == "/health":
        return app(environ, start_response)
    start_response("401 Unauthorized", [("WWW-Authenticate", "Basic")])
    return [b"who are you?"]


run_simple("127.0.0.1", int(port), guarded, threaded=True)
