"""Record runs in their own folders, MLflow and TensorBoard, and read them back; nothing else imports mlflow."""
