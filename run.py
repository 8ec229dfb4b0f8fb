"""Compose, check, train, evaluate and record: ``python run.py -m model=transformer,rnn``.

One call of `main` is one run; Hydra calls it once for every job of a multirun. Only light packages are imported at the
top, so that ``--help``, tab completion and a configuration error answer at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from sentiment.config.command_line import check_command_line
from sentiment.config.home import PROJECT_DIR, register_resolvers
from sentiment.config.job import read_job
from sentiment.exits import install_exits

log = logging.getLogger(__name__)

CONFIG_DIR = Path(__file__).resolve().parent / "conf"

TRUSTED_TARGETS = ["sentiment.report.sweep_callback.SweepCallback"]
"""All that the configuration may construct by itself; Hydra refuses any other `_target_` outside its own plugins."""

register_resolvers()


@hydra.main(config_path="conf", config_name="config", execution_whitelist=TRUSTED_TARGETS)
def main(config: DictConfig) -> float:
    """Run one job and return its objective to the sweeper."""
    job = read_job(config)

    from sentiment.data.build import build_corpus
    from sentiment.tracking.recorder import RunContext, open_recorder
    from sentiment.training.device import name_device
    from sentiment.training.run import train_and_test

    context = RunContext(
        overrides=job.overrides,
        output_dir=job.output_dir,
        project_dir=PROJECT_DIR,
        sweep_dir=job.sweep_dir,
        job_number=job.number,
        resolved_yaml=job.resolved_yaml,
    )
    with open_recorder(job.settings, context) as recorder:
        corpus = build_corpus(job.settings.data)
        log.info("%s", corpus.description)
        recorder.describe({"data.fingerprint": corpus.fingerprint, "data.description": corpus.description})
        recorder.describe({"device": name_device(job.settings.trainer)})
        result = train_and_test(job.settings, corpus, job.output_dir, recorder)
        recorder.finished(result)
    return result.metrics[job.settings.objective]


if __name__ == "__main__":
    install_exits()
    check_command_line(sys.argv[1:], CONFIG_DIR, "config")
    main()
