"""All that knows MLflow: opening a store, writing and reading runs, models and the registry."""
