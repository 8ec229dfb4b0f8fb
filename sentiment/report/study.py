"""A study on record: from stored results to its table and figure, with one command.

    python -m sentiment.report.study experiments/transformer_vs_rnn                       # write them again
    python -m sentiment.report.study experiments/transformer_vs_rnn --collect multirun/DIR  # take results in first

A study's folder holds ``results/`` (what became of each job, without paths of the machine), ``README.md`` (question,
command, answer, and the table between two markers), ``table.csv`` and ``figure.png``. Only the answer is written by
hand.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from sentiment.errors import SentimentError
from sentiment.report.comparison import write_comparison
from sentiment.report.ranking import rank
from sentiment.tracking.result_file import RESULT_FILE, ResultRecord, read_results, write_result

MARKERS = ("<!-- table: made by sentiment.report.study -->", "<!-- end of table -->")

PATH_KEYS = ("data.path", "data.validation_path", "data.test_path", "data.cache_dir", "tracking.")
"""Settings that tell where files lie on a machine: they change no result and are not stored."""


class StudyError(SentimentError):
    """A study's folder has no results, or its README no place for the table."""


@dataclass(frozen=True)
class Row:
    """The runs of one model over several seeds.

    Attributes:
        model: Name of the model.
        seeds: Seeds, in order.
        validation: Validation accuracy of each seed's selected checkpoint.
        test: Test accuracy of each seed's selected checkpoint.
        parameters: Trainable parameters.
        minutes: Wall time of fitting and testing, of each seed.
        epochs: Passes over the training data of the longest run.
    """

    model: str
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    test: tuple[float, ...]
    parameters: int
    minutes: tuple[float, ...]
    epochs: float


def collect(sweep_dir: Path, study_dir: Path) -> None:
    """Copy the finished jobs' results of a multirun into a study's folder."""
    for record in read_results(sweep_dir):
        if record.status == "FINISHED":
            kept = {key: value for key, value in record.params.items() if not key.startswith(PATH_KEYS)}
            overrides = tuple(item for item in record.overrides if not item.startswith(PATH_KEYS))
            tags = {key: value for key, value in record.tags.items() if key != "data.description"}
            name = f"{record.model}_seed{record.params['seed']}"
            stored = replace(record, name=name, params=kept, overrides=overrides, tags=tags, run_id=None)
            write_result(study_dir / "results" / name, stored)


def summarise(records: Sequence[ResultRecord]) -> list[Row]:
    """Gather the runs of each model; the best mean validation accuracy first."""
    rows = []
    for model in dict.fromkeys(record.model for record in records):
        runs = sorted((record for record in records if record.model == model), key=lambda run: int(run.params["seed"]))
        rows.append(
            Row(
                model=model,
                seeds=tuple(int(run.params["seed"]) for run in runs),
                validation=tuple(run.metrics["val/accuracy"] for run in runs),
                test=tuple(run.metrics["test/accuracy"] for run in runs),
                parameters=max(run.parameters or 0 for run in runs),
                minutes=tuple((run.seconds or math.nan) / 60 for run in runs),
                epochs=max(run.epochs or math.nan for run in runs),
            )
        )
    return sorted(rows, key=lambda row: -mean(row.validation))


def write_table(rows: Sequence[Row], file: Path) -> None:
    """Write one line a run, numbers in full."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["model", "seed", "val/accuracy", "test/accuracy", "parameters", "minutes"])
        for row in rows:
            for seed, validation, test, minutes in zip(row.seeds, row.validation, row.test, row.minutes, strict=True):
                writer.writerow([row.model, seed, validation, test, row.parameters, round(minutes, 2)])


def format_table(rows: Sequence[Row], records: Sequence[ResultRecord]) -> str:
    """Write the table as Markdown, with what it was made with beneath it."""
    lines = [
        "| model | seeds | validation accuracy | test accuracy | parameters | minutes a run | epochs |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.model} | {', '.join(map(str, row.seeds))} | {_spread(row.validation)} | {_spread(row.test)} "
        f"| {row.parameters:,} | {', '.join(f'{minutes:.0f}' for minutes in row.minutes)} | {row.epochs:g} |"
        for row in rows
    ]
    facts = {name: sorted({run.tags.get(name, "unknown") for run in records}) for name in ("git.commit", "hardware")}
    lines += ["", f"Commit {', '.join(facts['git.commit'])}; {', '.join(facts['hardware'])}."]
    lines += ["Accuracies in percent: mean over the seeds ± standard deviation (each seed)."]
    return "\n".join(lines)


def write_study(study_dir: Path) -> None:
    """Write table and figure of a study from its stored results.

    Raises:
        StudyError: There are no results, or README.md has no markers.
    """
    records = read_results(study_dir / "results")
    if not records:
        raise StudyError(
            f"{study_dir}/results holds no {RESULT_FILE}; take the jobs of a multirun in with --collect multirun/DIR"
        )
    rows = summarise(records)
    write_table(rows, study_dir / "table.csv")
    labelled = [replace(record, overrides=(f"seed={record.params['seed']}",)) for record in records]
    write_comparison(rank(labelled, "val/accuracy", "maximize"), study_dir / "figure.png")
    readme = study_dir / "README.md"
    text = readme.read_text(encoding="utf-8")
    if not all(marker in text for marker in MARKERS):
        raise StudyError(f"{readme} has no place for the table; add the lines {MARKERS[0]} and {MARKERS[1]}")
    before, _, rest = text.partition(MARKERS[0])
    after = rest.partition(MARKERS[1])[2]
    table = format_table(rows, records)
    readme.write_text(f"{before}{MARKERS[0]}\n\n{table}\n\n{MARKERS[1]}{after}", encoding="utf-8")


def _spread(values: Sequence[float]) -> str:
    each = ", ".join(f"{100 * value:.2f}" for value in values)
    return f"{100 * mean(values):.2f} ± {100 * stdev(values):.2f} ({each})" if len(values) > 1 else each


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write a study's table and figure from its stored results.")
    parser.add_argument("study_dir", type=Path, help="folder of the study")
    parser.add_argument("--collect", type=Path, metavar="MULTIRUN", help="take the results of this multirun in first")
    options = parser.parse_args(arguments)
    if options.collect:
        collect(options.collect, options.study_dir)
    write_study(options.study_dir)


if __name__ == "__main__":
    from sentiment.exits import install_exits

    install_exits()
    main()
