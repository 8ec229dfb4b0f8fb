"""All that knows MLflow: opening a store, writing and reading runs, models and the registry.

Importing mlflow takes seconds, so the modules here are imported when a run starts or a store is asked for.
"""

import os

# At import, mlflow starts a thread that asks the network how to send usage statistics. An embedded store has no
# business on the network; who wants to send them sets the variable to false.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # bars of milliseconds for local copies
