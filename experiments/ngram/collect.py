# python experiments/ngram/collect.py multirun/DIR ... : writes results.csv from the sweeps' folders
"""Collects the validation figures of every setting that was tried; the test split is left out."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sentiment.tracking.result_file import ResultRecord, read_results

SETTINGS = ("max_n", "min_frequency", "keep_unknown", "classifier", "cost", "smoothing", "interpolation")
FIGURES = ("accuracy", "f1", "auroc", "loss")


def tabulate(record: ResultRecord) -> list[str]:
    """Give one row: settings, validation figures, weights, seconds."""
    settings = [record.params[f"model.{name}"] for name in SETTINGS]
    figures = [f"{record.metrics[f'val/{name}']:.4f}" for name in FIGURES]
    return [*settings, *figures, str(record.parameters), f"{record.seconds:.0f}"]


def main() -> None:
    """Write one row a setting: a setting that stands in several sweeps gave equal figures in all of them."""
    records = [record for folder in sys.argv[1:] for record in read_results(Path(folder))]
    rows = {tuple(row[:-1]): row for row in (tabulate(record) for record in records if record.status == "FINISHED")}
    with Path(__file__).with_name("results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*SETTINGS, *(f"val/{name}" for name in FIGURES), "parameters", "seconds"])
        accuracy = len(SETTINGS)
        writer.writerows(sorted(rows.values(), key=lambda row: (-float(row[accuracy]), row)))


if __name__ == "__main__":
    main()
