"""Find out where a stored run is wrong: its predictions, the texts behind them, and explanations of the worst ones.

An explanation has attributions, and for a Transformer its attention, made small enough to look at: how much each token
receives, layer by layer and head by head. Attention says where a layer looks, not why a decision falls (Jain & Wallace
2019): the page shows it beside the attributions, which do answer for the decision.

Shapes: N reviews, K classes; L layers, H heads, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from sentiment.config.option import find_option
from sentiment.data.splits import Part
from sentiment.data.texts import HeldOut, read_split_texts, relocate_data
from sentiment.errors import SentimentError
from sentiment.models.attribution import Attribution, attend, attribute, find_hindrance
from sentiment.models.bundle import Predictor
from sentiment.models.transformer import TextClassificationTransformer
from sentiment.report.errors.tables import ErrorTables, LabelledPredictions, WrongReview, tabulate_errors
from sentiment.tracking.params import read_settings
from sentiment.tracking.result_file import DEBUG, FINGERPRINT_TAG

if TYPE_CHECKING:
    from sentiment.tracking.runs import StoredRun

LARGEST_MAP = 64
"""Most tokens T of a review whose T x T map is still readable."""

MAP_NUMBERS = 60_000
"""Most numbers of all maps of a review: a network of many heads would make the page heavy."""


@dataclass(frozen=True)
class Explanation:
    """Why a model took a review for what it is not."""

    attribution: Attribution  # how much each word speaks for the predicted class
    attention: AttentionView | None  # where a Transformer looked; None for other models


@dataclass(frozen=True)
class RunErrors:
    """Where one run is wrong."""

    name: str  # the run's name
    run_id: str | None  # MLflow run; None where MLflow was off
    split: HeldOut | Literal["given"]  # the reviews that were looked at
    source: str  # where the predictions are from, in words
    max_tokens: int | None  # most tokens that the model sees of a review; None: all
    tables: ErrorTables  # the tables
    # One for each of the tables' wrong reviews; empty where none were asked for, or can be given.
    explanations: tuple[Explanation, ...]


def analyse_run(
    run: StoredRun,
    *,
    split: HeldOut | None = None,
    data_path: Path | None = None,
    shown: int = 12,
    explain: bool = True,
) -> RunErrors:
    """Find out where a run is wrong.

    Args:
        run: A finished run.
        split: ``test`` reads the predictions that the run stored; ``validation`` predicts with its model. None: test
            where the run was tested, else validation.
        data_path: Where the run's data lies now, if it moved.
        shown: Most wrong reviews to list.
        explain: Explain the listed reviews: attributions, and for a Transformer its attention.

    Raises:
        TrackingError: The run lacks the predictions or the model.
        DataError: Its data cannot be read, or is another by now.
        SentimentError: Stored predictions and texts are of different reviews.
    """
    if run.record.is_try:
        raise SentimentError(
            f"The run was made with debug={run.record.params[DEBUG]}, on a few reviews: its errors say nothing.",
            "train it without debug",
        )
    settings = read_settings(run.record.params)
    split = split or ("test" if settings.trainer.test else "validation")
    data = settings.data if data_path is None else relocate_data(settings.data, data_path)
    # What is missing is said before the data is read, which may take long.
    stored = run.read_test_predictions() if split == "test" else None
    predictor = Predictor.load(run.bundle)
    reviews, class_names = read_split_texts(data, split, _read_fingerprint(run))
    if stored is None:
        probabilities, source = predictor.predict(reviews.texts).probabilities, "predicted now, with the stored model"
        precision = settings.trainer.precision
        if precision != "32-true" and find_option(settings.model).fitter is None:  # which reads no precision
            source += f" at 32-true; the run's own figures are of {precision}"
    else:
        _require_same_reviews(stored.labels, reviews, run.folder)
        probabilities, source = stored.probabilities, "as the run stored them"
    name = run.record.name
    found = find_errors(predictor, reviews, probabilities, class_names, shown, name, split, source, explain=explain)
    return replace(found, run_id=run.record.run_id)


def find_errors(
    predictor: Predictor,
    reviews: Part,
    probabilities: npt.NDArray[np.float32],
    class_names: tuple[str, ...],
    shown: int,
    name: str,
    split: HeldOut | Literal["given"],
    source: str,
    *,
    explain: bool,
) -> RunErrors:
    """Tabulate where (N, K) probabilities are wrong, and weigh the words of the mistakes that are shown.

    The source says so where they cannot be weighed. What else is asked for is as in `RunErrors`.
    """
    labelled = LabelledPredictions(
        texts=reviews.texts,
        labels=reviews.labels,
        probabilities=probabilities,
        lengths=np.array([len(ids) for ids in predictor.tokenizer.encode(reviews.texts)], dtype=np.int64),
        class_names=class_names,
        max_tokens=predictor.cut.max_tokens,
        rows=reviews.rows,
    )
    tables = tabulate_errors(labelled, shown)
    wrong = tables.wrong_reviews if explain else ()
    if explain and (hindrance := find_hindrance(predictor, [review.text for review in wrong])):
        source, wrong = f"{source}; no words are coloured, as {hindrance}", ()
    explanations = tuple(_explain(predictor, review, class_names) for review in wrong)
    return RunErrors(name, None, split, source, predictor.cut.max_tokens, tables, explanations)


def _explain(predictor: Predictor, review: WrongReview, class_names: Sequence[str]) -> Explanation:
    """Explain a prediction as it stands: at even odds, the same model elsewhere may have answered otherwise."""
    [attribution] = attribute(predictor, [review.text], target=class_names.index(review.predicted))
    if not isinstance(predictor.network, TextClassificationTransformer):
        return Explanation(attribution, None)
    tokens, weights = attend(predictor, review.text)
    return Explanation(attribution, view_attention(tokens, np.asarray(weights)))


def _read_fingerprint(run: StoredRun) -> str:
    fingerprint = run.record.tags.get(FINGERPRINT_TAG)
    if fingerprint is None:
        raise SentimentError(
            f"The run {run.record.name!r} has no tag {FINGERPRINT_TAG}: it ended before its data was read, or was "
            "recorded by other means.",
            "choose a finished run of this project",
        )
    return fingerprint


def _require_same_reviews(labels: npt.NDArray[np.int64], reviews: Part, folder: Path) -> None:
    if np.array_equal(labels, reviews.labels):
        return
    differing = (
        f"{len(labels):,} stored, {len(reviews.labels):,} read"
        if len(labels) != len(reviews.labels)
        else f"{int((labels != reviews.labels).sum()):,} of {len(labels):,} labels differ"
    )
    raise SentimentError(
        f"The test predictions of {folder} are not of the test reviews that its settings lead to ({differing}).",
        "the file was replaced or the code that splits changed: run it again, or look at --split validation",
    )


@dataclass(frozen=True)
class View:
    """One way to look at a review's attention."""

    name: str  # ``all layers (rollout)``, ``layer 1, all heads``, ``layer 1, head 2``
    received: npt.NDArray[np.float64]  # (T,) share of all attention that each token receives; they add up to one
    # (T, T) attention from each token (row) to each (column); None where it is too long.
    weights: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class AttentionView:
    """The attention of a Transformer over one review."""

    tokens: tuple[str, ...]  # T tokens, as the vocabulary spells them
    views: tuple[View, ...]  # the rollout first, then each layer's mean over heads with its heads behind it


def view_attention(tokens: Sequence[str], weights: npt.NDArray[np.floating]) -> AttentionView:
    """Sum (L, H, T, T) attention weights, of which each row adds up to one, by the T tokens."""
    layers, heads, length, _ = weights.shape
    assert length == len(tokens), f"{len(tokens)} tokens, but attention over {length}"
    shows_maps = length <= LARGEST_MAP and length**2 * (layers * (heads + 1) + 1) <= MAP_NUMBERS
    views = [_view("all layers (rollout)", roll_out(weights), shows_maps)]
    for layer in range(layers):
        views.append(_view(f"layer {layer + 1}, all heads", weights[layer].mean(axis=0), shows_maps))
        if heads > 1:
            names = [f"layer {layer + 1}, head {head + 1}" for head in range(heads)]
            views += [_view(name, weights[layer, head], shows_maps) for head, name in enumerate(names)]
    return AttentionView(tuple(tokens), tuple(views))


def roll_out(weights: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Follow attention through all layers to the tokens of the input.

    Attention rollout (Abnar & Zuidema 2020): a layer passes on half of what attention mixes (the mean over its heads)
    and half of what the residual connection carries past it; the layers' matrices are multiplied.

    Args:
        weights: (L, H, T, T) attention weights.

    Returns:
        (T, T): how much of each token's last state (row) comes from each token of the input (column).
    """
    identity = np.eye(weights.shape[-1])
    rolled = identity
    for layer in weights.mean(axis=1, dtype=np.float64):  # (T, T)
        rolled = (0.5 * layer + 0.5 * identity) @ rolled
    return rolled


def _view(name: str, weights: npt.NDArray[np.floating], shows_map: bool) -> View:
    received = weights.mean(axis=0, dtype=np.float64)  # over the tokens that attend
    return View(name, received, weights.astype(np.float64) if shows_map else None)
