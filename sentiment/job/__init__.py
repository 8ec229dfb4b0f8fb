"""Run one job: train, evaluate and record, and tell the trial that it belongs to, if there is one.

The only place that knows both this application (training, tracking, its data) and the sweep engine's trial: training
knows neither MLflow nor Optuna, and the engine knows neither training nor MLflow.
"""

from sentiment.job.identity import adopt, find_missing, identify_code, identify_data
from sentiment.job.run import run_job
from sentiment.process import prepare_process

__all__ = ["adopt", "find_missing", "identify_code", "identify_data", "run_job"]

prepare_process()  # here: jobs come to this package on whichever machine they run, and before they import torch
