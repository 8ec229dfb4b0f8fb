"""A trained model on reviews of any origin: the metrics of a run, each with an interval, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from sentiment.data.fingerprint import UNTOLD
from sentiment.data.texts import LabelledReviews
from sentiment.errors import DataError
from sentiment.format import format_metric
from sentiment.models.bundle import Predictor
from sentiment.report.draw.table import open_console, open_table
from sentiment.report.errors.analysis import RunErrors, find_errors
from sentiment.report.statistics import Estimate, share_of
from sentiment.training.metrics import SplitMetrics

RESAMPLES = 300

CALIBRATION = "ece"

STOOD = "stood in the model's own training, validation or pretraining"


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on some reviews."""

    metrics: Mapping[str, Estimate]  # the metrics of a run's test, by name without split; see `bootstrap`
    errors: RunErrors  # where it is wrong
    reviews: LabelledReviews  # those that were measured
    # How many of them the model has learned from (`Predictor.learned`); None: its bundle does not tell all.
    learned: int | None
    left_out: int  # how many others were left out because it has learned from them
    notes: Sequence[str]  # what a reader of the figures has to know of the reviews, also on those two


def evaluate(
    predictor: Predictor,
    reviews: LabelledReviews,
    name: str,
    *,
    shown: int = 12,
    explain: bool = True,
    with_learned: bool = False,
) -> Evaluation:
    """Predict and measure.

    Args:
        predictor: The model.
        reviews: The reviews.
        name: What both are, for people.
        shown: Most mistakes to list.
        explain: Weigh their words.
        with_learned: Measure also the reviews that the model has learned from.

    Raises:
        DataError: It has learned from all of them, and those are left out.
    """
    known = predictor.find_learned(reviews.texts)
    learned, left_out = int(known.sum()), 0
    if learned and not with_learned:
        reviews, learned, left_out = reviews.take(np.flatnonzero(~known)), 0, learned
        if not reviews.texts:
            raise DataError(
                f"{reviews.name}: all of its {left_out:,} reviews {STOOD}.",
                "give reviews that it has not seen; with --data, the data settings of its run. --with-learned "
                "measures these all the same",
            )
    answers = predictor.predict(reviews.texts)
    probabilities, labels = answers.probabilities, reviews.labels
    classes, is_told = predictor.class_names, UNTOLD not in predictor.learned
    notes = _list_notes(reviews, learned, left_out, is_told=is_told)
    source = "; ".join(["made now", *notes])
    errors = find_errors(predictor, reviews, probabilities, classes, shown, name, "given", source, explain=explain)
    found = bootstrap(labels, probabilities, -answers.log_probabilities[np.arange(len(labels)), labels])
    return Evaluation(found, errors, reviews, learned if is_told else None, left_out, notes)


def _list_notes(reviews: LabelledReviews, learned: int, left_out: int, *, is_told: bool) -> list[str]:
    """Say which reviews were left out, and which the model knows from its training."""
    notes = {
        f"{reviews.left_out:,} others were left out by --label": reviews.left_out,
        f"{left_out:,} others {STOOD} and were left out": left_out,
        f"{learned:,} {STOOD}, so that the figures flatter it": learned,
        "whether the model has learned from more is unknown, as its bundle does not tell all of them": not is_told,
    }
    return [note for note, holds in notes.items() if holds]


def bootstrap(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float32], losses: npt.NDArray[np.float32]
) -> dict[str, Estimate]:
    """Measure (N,) labels, (N, K) probabilities and (N,) losses, and how much that hangs on which reviews there were.

    The intervals are those of a bootstrap over the reviews, but for two: accuracy has Wilson's, as wherever a share is
    told, and the calibration error none, since resampling adds to it what is no fault of the model. Nor has one what is
    the same in all resamples, as where no review is wrong: what the reviews lack, they cannot tell.
    """
    generator = np.random.default_rng(0)
    values = measure_all(labels, probabilities, losses)
    accuracy = share_of(probabilities.argmax(axis=1) == labels)
    known = {"accuracy": (accuracy.low, accuracy.high), CALIBRATION: (np.nan, np.nan)}
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(RESAMPLES):
        rows = generator.integers(len(labels), size=len(labels))
        for name, value in measure_all(labels[rows], probabilities[rows], losses[rows], is_resample=True).items():
            drawn[name].append(value)
    intervals = {}
    for name, value in values.items():
        defined = [one for one in drawn[name] if np.isfinite(one)]
        low, high = np.percentile(defined, [2.5, 97.5]) if defined and np.isfinite(value) else (np.nan, np.nan)
        low, high = known.get(name, (low, high) if low < high else (np.nan, np.nan))
        intervals[name] = Estimate(value, float(low), float(high), len(labels))
    return intervals


def measure_all(
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float32],
    losses: npt.NDArray[np.float32],
    *,
    is_resample: bool = False,
) -> dict[str, float]:
    """Return the metrics that a run has of its test split, by the same code; `is_resample`: see `SplitMetrics`.

    The losses are from the logits, as the run's are: a probability of 0 as a float32 does not tell how small it is.
    """
    metrics = SplitMetrics(probabilities.shape[1], "", calibration=True, is_resample=is_resample)
    metrics.update(torch.from_numpy(probabilities), torch.from_numpy(labels), torch.from_numpy(losses).mean())
    return {name: float(value) for name, value in metrics.compute().items()}


def print_metrics(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print the metrics with their intervals, and under them what a reader has to know."""
    table = open_table("metric")
    for heading in ("value", "95 % from", "to"):
        table.add_column(heading, justify="right")
    for name, interval in evaluation.metrics.items():
        ends = ["-" if np.isnan(end) else format_metric(name, end) for end in (interval.low, interval.high)]
        table.add_row(name, format_metric(name, interval.value), *ends)
    console = console or open_console()
    console.print(table)
    if any(np.isnan(interval.low) for interval in evaluation.metrics.values()):
        console.print("-: no interval, as every resample of these reviews gives the same, or adds to it (ece).")
    for note in evaluation.notes:
        console.print(f"Attention: {note}.", highlight=False)
