"""``python -m sentiment study``: a study on record, from stored results to its tables and figures."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.errors import SentimentError

if TYPE_CHECKING:
    from sentiment.report.record.store import StudyPart

SUMMARY = "write the tables and figures of a study in experiments/ from its stored results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study_dir", type=Path, help="folder of the study, e.g. experiments/pooling")
    parser.add_argument(
        "--collect",
        action="append",
        default=[],
        metavar="PART=MULTIRUN",
        type=read_part_option,
        help="take in the results of this multirun first, as this part of the study; may be given several times",
    )


def read_part_option(text: str) -> tuple[str, Path]:
    """Read ``PART=FOLDER``."""
    name, separator, folder = text.partition("=")
    if not separator or not re.fullmatch(r"\w+", name) or not folder:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not PART=MULTIRUN, e.g. transformer=multirun/pooling_transformer"
        )
    return name, Path(folder)


def run(options: argparse.Namespace) -> None:
    """Take results in where asked to, then write the study's tables and figures."""
    from sentiment.report.record.readme import write_study
    from sentiment.report.record.store import store_part

    if not (options.study_dir / "README.md").is_file():
        raise SentimentError(
            f"{options.study_dir} holds no README.md, so it is no study\n"
            "  -> write one with the question, and the lines <!-- part: NAME --> and <!-- end of NAME --> for each part"
        )
    for name, sweep_dir in options.collect:
        print(store_part(options.study_dir, collect_part(name, sweep_dir)))
    for file in write_study(options.study_dir):
        print(file)


def collect_part(name: str, sweep_dir: Path) -> StudyPart:
    """Read what became of a sweep's runs, and the command that started it, without paths of this machine."""
    from sentiment.report.record.store import FOLDER, StudyPart, is_stored
    from sentiment.report.sweep.collect import collect_sweep
    from sentiment.tracking.result_file import read_results

    if not sweep_dir.is_dir():
        raise SentimentError(f"there is no folder {sweep_dir}\n  -> give the folder of a multirun, as it was printed")
    table = collect_sweep(sweep_dir)
    words = shlex.split(table.command or "")
    command = shlex.join(re.sub(r"^(data\.\w*path|data\.cache_dir)=.*", rf"\1={FOLDER}", word) for word in words)
    records = tuple(record for record in read_results(sweep_dir) if is_stored(record))
    return StudyPart(name, command, table.log_scaled, records)
