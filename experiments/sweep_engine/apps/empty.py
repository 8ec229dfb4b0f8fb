"""A job that computes nothing but is composed and recorded like a training run."""

from __future__ import annotations

import time
from pathlib import Path

import hydra
from omegaconf import DictConfig

from sentiment.config.home import PROJECT_DIR, register_resolvers
from sentiment.config.job import read_job
from sentiment.search import register

register_resolvers()


@hydra.main(
    config_path="../../../conf",
    config_name="config",
    execution_whitelist=["sentiment.report.sweep.callback.SweepCallback"],
)
def main(config: DictConfig) -> float:
    """Record one validation."""
    from sentiment.tracking.recorder import RunContext, open_recorder

    job = read_job(config)
    Path(job.output_dir, "started.txt").write_text(f"{time.time()}\n")
    context = RunContext(
        overrides=job.overrides,
        output_dir=job.output_dir,
        project_dir=PROJECT_DIR,
        sweep_dir=job.sweep_dir,
        job_number=job.number,
        resolved_yaml=job.resolved_yaml,
    )
    with open_recorder(job.settings, context) as recorder:
        recorder.validated({"val/accuracy": 0.5}, step=1, epoch=1.0)
    return job.settings.optimizer.lr


if __name__ == "__main__":
    register(is_checked=True)
    main()
