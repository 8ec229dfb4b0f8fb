"""Compose, check, train, evaluate and record: ``python run.py -m model=transformer,rnn``.

One call of `main` is one run; Hydra calls it once for every job of a multirun. Only light packages are imported at the
top, so that ``--help``, tab completion and a configuration error answer at once.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from sentiment.exits import install_exits

if __name__ == "__main__":
    install_exits()  # before the other imports: a broken extension ends one of them, and is explained too

import hydra
from omegaconf import DictConfig

from sentiment.config.command_line import check_command_line
from sentiment.config.extension import register_extension_options
from sentiment.config.home import register_resolvers
from sentiment.config.identity import simplify
from sentiment.config.run_context import read_run_context, take_answer_file
from sentiment.credentials import hide_passwords
from sentiment.job import adopt, find_missing, identify_code, identify_data, run_job
from sentiment.search import register
from sentiment.search.application import application_of, searchable
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, list_search_points

CONFIG_DIR = Path(__file__).resolve().parent / "conf"

TRUSTED_TARGETS = ["sentiment.report.sweep.callback.SweepCallback"]
"""All that the configuration may construct by itself; Hydra refuses any other `_target_` outside its own plugins."""

register_resolvers()
register_extension_options()
register()


@hydra.main(config_path=str(CONFIG_DIR), config_name="config", execution_whitelist=TRUSTED_TARGETS)
@searchable(
    identify_data=identify_data,
    identify_code=identify_code,
    adopt=adopt,
    simplify=simplify,
    preload=["sentiment.job.imported"],
)
def main(config: DictConfig) -> float | tuple[float, ...]:
    """Run one job and return its objective, or its objectives, to the sweeper."""
    run = read_run_context(config)
    answer = take_answer_file("run") if run.job_number is None else None
    if answer is not None:
        answer.write_text(str(run.output_dir), encoding="utf-8")
    values = run_job(run)
    return values[0] if len(values) == 1 else values


if __name__ == "__main__":
    sys.argv[1:] = hide_passwords(sys.argv[1:])
    search_points = partial(list_search_points, application=application_of(main))
    searches = {STUDY_SWEEPER: search_points}
    check_command_line(sys.argv[1:], CONFIG_DIR, "config", searches=searches, find_more=find_missing)
    main()
