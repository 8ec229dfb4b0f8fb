"""A job that computes nothing but is composed and recorded like a training run."""

from __future__ import annotations

import hydra
from marks import mark_start
from omegaconf import DictConfig

from sentiment.config.home import register_resolvers
from sentiment.config.run_context import read_run_context
from sentiment.search import register

register_resolvers()


@hydra.main(
    config_path="../../../conf",
    config_name="config",
    execution_whitelist=["sentiment.report.sweep.callback.SweepCallback"],
)
def main(config: DictConfig) -> float:
    """Record one validation."""
    from sentiment.tracking.recorder import open_recorder

    context = read_run_context(config)
    mark_start(context.output_dir)
    with open_recorder(context) as recorder:
        recorder.validated({"val/accuracy": 0.5}, step=1, epoch=1.0)
    return context.settings.optimizer.lr


if __name__ == "__main__":
    register()
    main()
