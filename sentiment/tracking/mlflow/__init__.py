"""All that knows MLflow: opening a store, writing and reading runs, models and the registry.

Importing mlflow takes seconds, so the modules here are imported when a run starts or a store is asked for.
"""

import os

# At import, mlflow starts a thread that asks the network how to send usage statistics. An embedded store has no
# business on the network; who wants to send them sets the variable to false.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # bars of milliseconds for local copies
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # it would print amid what training says
# mlflow by itself tries a request for minutes: one that is not answered is made again later, by whoever delivers.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
REQUEST_SECONDS = 30
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
