"""A sweep as one table, and its forms: terminal, CSV, page, MLflow, the best trial."""
