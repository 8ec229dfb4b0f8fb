"""Compose, check, train, evaluate and record: ``python run.py -m model=transformer,rnn``.

One call of `main` is one run; Hydra calls it once for every job of a multirun. Only light packages are imported at the
top, so that ``--help``, tab completion and a configuration error answer at once.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.exits import install_exits

if __name__ == "__main__":
    install_exits()  # before the other imports: a broken extension ends one of them, and is explained too

import hydra
from omegaconf import DictConfig

from sentiment.config.command_line import check_command_line
from sentiment.config.extension_options import register_extension_options
from sentiment.config.home import PROJECT_DIR, register_resolvers
from sentiment.config.job import Job, read_job
from sentiment.errors import RunPruned
from sentiment.search import register
from sentiment.search.command_line import STUDY_SWEEPER, list_search_points
from sentiment.search.current import current_trial
from sentiment.search.data_identity import identify_data

if TYPE_CHECKING:
    from sentiment.search.trial import RunningTrial

log = logging.getLogger(__name__)

CONFIG_DIR = Path(__file__).resolve().parent / "conf"

TRUSTED_TARGETS = ["sentiment.report.sweep_callback.SweepCallback"]
"""All that the configuration may construct by itself; Hydra refuses any other `_target_` outside its own plugins."""

register_resolvers()
register_extension_options()
register(identify_data=identify_data, is_checked=True)


@hydra.main(config_path="conf", config_name="config", execution_whitelist=TRUSTED_TARGETS)
def main(config: DictConfig) -> float | tuple[float, ...]:
    """Run one job and return its objective, or its objectives, to the sweeper."""
    job = read_job(config)
    trial = current_trial()
    outcome = None if trial is None else read_earlier(job)
    if outcome is None:
        outcome = train(job, trial)
    if trial is not None:
        trial.describe(outcome)
    values = tuple(outcome[name] for name in job.settings.objectives)
    return values[0] if len(values) == 1 else values


def train(job: Job, trial: RunningTrial | None) -> dict[str, float]:
    """Train, evaluate and record; gives the numbers that a search may look at."""
    from sentiment.data.build import build_corpus
    from sentiment.search.reporter import watch_training
    from sentiment.tracking.recorder import RunContext, open_recorder
    from sentiment.training.device import name_device
    from sentiment.training.reporter import Reporters
    from sentiment.training.result import describe_outcome
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
        recorder.describe({"device": name_device(job.settings)})
        # The recorder first: the validation that ends a trial early is recorded too.
        reporter = recorder if trial is None else Reporters([recorder, watch_training(trial, job.settings)])
        result = train_and_test(job.settings, corpus, job.output_dir, reporter)
        recorder.finished(result)
    return describe_outcome(result)


def read_earlier(job: Job) -> dict[str, float] | None:
    """Read the numbers of a job that ended, but whose process was killed before it told the study.

    Raises:
        RunPruned: The study had ended it early.
    """
    from sentiment.tracking.flatten import flatten
    from sentiment.tracking.result_file import read_ended

    record = read_ended(job.output_dir, flatten(job.settings))
    if record is not None and record.status == "PRUNED":
        raise RunPruned(record.reason or "pruned")
    return None if record is None else record.describe_outcome()


if __name__ == "__main__":
    check_command_line(sys.argv[1:], CONFIG_DIR, "config", searches={STUDY_SWEEPER: list_search_points})
    main()
