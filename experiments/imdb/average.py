"""Average the probabilities of runs on the reviews that they were selected on: do networks know what others do not?

    python experiments/imdb/average.py FOLDER RUN RUN ...

FOLDER holds the reviews; each RUN is the folder of a run on them with the default split.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from sentiment.api import load_run
from sentiment.config.command_line import compose_settings
from sentiment.data.build import build_source, fingerprint_data, split_of
from sentiment.data.splits import split_reviews
from sentiment.tracking.result_file import FINGERPRINT_TAG


def main() -> None:
    """Print the accuracy of each run, of each pair, and of all together, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="folder of the reviews")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    options = parser.parse_args()
    data = compose_settings(["data=imdb", f"data.path={options.path}"]).data.model_copy(update={"train_limit": None})
    runs = {str(run): load_run(run) for run in options.runs}
    for name, run in runs.items():
        if run.record.tags.get(FINGERPRINT_TAG) != fingerprint_data(data):
            parser.error(f"{name} was trained on another split of the reviews, so it may know these ones")
    validation = split_reviews(build_source(data).load(), **split_of(data)).validation
    probabilities = {name: run.predict(validation.texts).probabilities for name, run in runs.items()}
    print(f"| mean of | accuracy on {len(validation.texts):,} reviews |\n|---|---|")
    for size in sorted({1, min(2, len(runs)), len(runs)}):
        for names in combinations(runs, size):
            mean = np.mean([probabilities[name] for name in names], axis=0)
            print(f"| {', '.join(names)} | {100 * np.mean(mean.argmax(axis=1) == validation.labels):.2f} % |")


if __name__ == "__main__":
    main()
