"""Records runs in MLflow and TensorBoard, and in their own folders; the only place that imports mlflow."""
