"""Collect the validation figures of every setting that was tried; the test split is left out.

python experiments/ngram/collect.py multirun/DIR ...   # writes results.csv from the folders of sweeps
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from sentiment.tracking.result_file import ResultRecord, read_results

SETTINGS = ("max_n", "min_frequency", "keep_unknown", "classifier", "cost", "smoothing", "interpolation")
FIGURES = ("accuracy", "f1", "auroc", "loss")


def tabulate(record: ResultRecord) -> list[str]:
    """Return one row: settings, validation figures, weights, seconds."""
    settings = [record.params[f"model.{name}"] for name in SETTINGS]
    figures = [f"{record.metrics[f'val/{name}']:.4f}" for name in FIGURES]
    return [*settings, *figures, str(record.parameters), f"{record.seconds:.0f}"]


def main() -> None:
    """Write one row a setting: a setting that stands in several sweeps gave equal figures in all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweeps", nargs="+", type=Path, help="folders of sweeps")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results.csv"))
    options = parser.parse_args()
    found = [read_results(folder) for folder in options.sweeps]
    if damaged := [one for _, several in found for one in several]:
        parser.error("\n".join(damaged))
    records = [record for several, _ in found for record in several if record.status == "FINISHED"]
    rows = {tuple(row[:-1]): row for row in [tabulate(record) for record in records]}
    if not rows:
        parser.error("no run in these folders has ended well")
    ranked = sorted(rows.values(), key=lambda row: (-float(row[len(SETTINGS)]), row))  # by accuracy
    with options.results.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*SETTINGS, *(f"val/{name}" for name in FIGURES), "parameters", "seconds"])
        writer.writerows(ranked)


if __name__ == "__main__":
    main()
